"""Brings unsold units to the parts of a split sale that run dry.

Owns the rule what is moved, and the rounds. How a move is done is in `seckill.control.moves`.
"""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from django.db import connection

from seckill.control import moves
from seckill.control.moves import ControlOf
from seckill.control.part_rows import parts_of
from seckill.errors import Refused, ServiceAway
from seckill.formats.outcomes import MAX_UNITS
from seckill.lane.phase import Phase
from seckill.models import Activity, Move
from seckill.postgres.moves import on_the_way as read_on_the_way
from seckill.postgres.through_django import postgres_errors

# Units left of each item in each part: {activity: {item: units}}.
Lefts = Mapping[int, Mapping[int, int]]
# Seconds that a part keeps units which cannot be divided, before another one gets its turn.
LONE_S = 3.0
# A part in one of these phases sells nothing more, unless an operator acts.
ENDED = (Phase.CLOSED, Phase.SOLD_OUT, Phase.FINISHED)


@dataclass(frozen=True)
class Transfer:
    """What to move: units of one item from one part to another."""

    source: int
    target: int
    item: int
    units: int
    # Whether the parts have too few units to divide them.
    lone: bool = False


def transfers(lefts: Lefts) -> list[Transfer]:
    """What to move so that no part runs dry while another has units.

    A part gets its equal share if it has less than half of it. Each item is moved by one transfer
    at most, from the part that has most: the next round sees what it did.
    """
    found = []
    for item in sorted({item for items in lefts.values() for item in items}):
        # Of equals the first gives and the last gets, whoever asks.
        sides = sorted((items[item], part) for part, items in lefts.items() if item in items)
        if len(sides) < 2:
            continue
        (least, poor), (most, rich) = sides[0], sides[-1]
        total = sum(units for units, _ in sides)
        share = total / len(sides)
        if 2 * least >= share:
            continue
        units = min(int(share - least), int(most - share), MAX_UNITS)
        if units:
            found.append(Transfer(rich, poor, item, units))
        elif not least:
            found.append(Transfer(rich, poor, item, 1, lone=True))
    return found


@dataclass
class Round:
    """What one round did. `waits` says in words what could not be done now."""

    moved: list[Move] = field(default_factory=list)
    waits: list[str] = field(default_factory=list)
    # Whether every part was seen, has ended, and nothing is on its way.
    over: bool = False


class Balancer:
    """Rounds for one sale. `watching`: rounds follow each other, so units that cannot be divided
    stay a while where they are.
    """

    def __init__(
        self,
        head: int,
        control_of: ControlOf,
        actor: str,
        *,
        watching: bool = False,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self._head, self._control_of, self._actor = head, control_of, actor
        self._watching, self._now = watching, now
        # When the last unit of an item was moved that could not be divided.
        self._lone: dict[int, float] = {}

    def round(self) -> Round:
        """End what is on its way, then move what is needed. Raises PostgresAway."""
        done = Round()
        for move in moves.open_moves(self._head):
            self._carry_out(move, done)
        seen, ended = self._look(done)
        for transfer in transfers(seen):
            if transfer.lone and not self._is_due(transfer.item):
                continue
            move = moves.plan(
                self._head,
                transfer.source,
                transfer.target,
                {transfer.item: transfer.units},
                self._actor,
            )
            self._carry_out(move, done)
        done.over = ended and not done.moved and not done.waits
        return done

    def _carry_out(self, move: Move, done: Round) -> None:
        why = moves.attempt(move, self._control_of)
        if why:
            done.waits.append(why)
        else:
            done.moved.append(move)

    def _look(self, done: Round) -> tuple[dict[int, dict[int, int]], bool]:
        """The units left in each part that can sell, and whether all parts have ended."""
        with postgres_errors():
            rows = parts_of(self._head)
        seen, ended = {}, True
        for row in rows:
            try:
                lane = self._control_of(row.lane, self._actor, None).status()
            except ServiceAway as away:
                done.waits.append(f"lane {row.lane}, activity {row.pk}: {away}")
                continue
            status = lane.activities.get(row.pk)
            if status is None or lane.fence is not None:
                why = "is fenced" if lane.fence else "has not loaded it"
                done.waits.append(f"lane {row.lane}, activity {row.pk}: the lane {why}")
                continue
            phase = status.phase(lane.now_ms)
            ended = ended and phase in ENDED and not status.holds.held
            if phase not in (Phase.CLOSED, Phase.FINISHED):
                seen[row.pk] = {number: item.left for number, item in status.items.items()}
        return seen, ended

    def _is_due(self, item: int) -> bool:
        """Whether it is time for another part to get the last units of an item."""
        now = self._now()
        if self._watching and now < self._lone.get(item, -LONE_S) + LONE_S:
            return False
        self._lone[item] = now
        return True


def on_the_way(head: int) -> int:
    """Units that are on sale in no part, since a move has not ended. Raises PostgresAway."""
    with postgres_errors(), connection.cursor() as cursor:
        return sum(each.units for each in read_on_the_way(cursor, head))


def rows_of(head: int) -> list[Activity]:
    """The parts of a sale. Raises Refused if it is not split, PostgresAway."""
    with postgres_errors():
        rows = parts_of(head)
    if not rows:
        raise Refused(f"activity {head} is not split; activity split --lanes A,B splits it")
    return rows

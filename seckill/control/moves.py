"""Moves of unsold units from one part of a split sale to another.

Owns the order: the move is planned in PostgreSQL, its units are taken from one part, then added to
the other. Both are acts in the journal, each with the move's own key, so whoever ends a move after
a crash does nothing twice. A crash in between leaves the units on sale in neither.
"""

import hashlib
from collections.abc import Callable, Mapping
from typing import Any

from django.utils.translation import gettext as _

from seckill.control.control import Act, Control, Once
from seckill.errors import Refused, ServiceAway, TooFew
from seckill.models import Activity, Move
from seckill.postgres.moves import GIVE, TAKE, key_of
from seckill.postgres.through_django import postgres_errors

State = Move.State
OPEN = (State.PLANNED, State.TAKEN)
# Control for a lane, on behalf of an actor. Raises RedisAway.
ControlOf = Callable[[str, str, Once | None], Control]


def open_moves(head: int) -> list[Move]:
    """The moves of a sale that have not ended, in their order. Raises PostgresAway."""
    with postgres_errors():
        return list(Move.objects.filter(head=head, state__in=OPEN).order_by("pk"))


def plan(head: int, source: int, target: int, units: Mapping[int, int], actor: str) -> Move:
    """Write down a move before anything is moved. Raises PostgresAway."""
    with postgres_errors():
        return Move.objects.create(
            actor=actor[:150],
            head=head,
            source=source,
            target=target,
            units={str(item): number for item, number in units.items()},
        )


def units_of(move: Move) -> dict[int, int]:
    """What a move brings: {item: units}."""
    return {int(item): int(units) for item, units in move.units.items()}


def carry_out(move: Move, control_of: ControlOf) -> Move:
    """Do what is left of a move. Safe to repeat, also beside somebody who does the same.

    Raises Refused, RedisAway or PostgresAway; the move then stands where it was. If fewer units are
    left than planned, it takes what there is.
    """
    with postgres_errors():
        move.refresh_from_db()
        lanes = dict(
            Activity.objects.filter(pk__in=(move.source, move.target)).values_list("pk", "lane")
        )
    if move.state == State.PLANNED:
        _take(move, lanes[move.source], control_of)
    if move.state == State.TAKEN:
        control = control_of(lanes[move.target], move.actor, _once(move, GIVE))
        if move.target not in control.status().activities:
            # The first units of a new part. It has its own key: no act has this one twice.
            control_of(lanes[move.target], move.actor, None).sync_from_db(move.target)
        control.add_stock(move.target, units_of(move))
        _reached(move, State.TAKEN, State.GIVEN)
    return move


def attempt(move: Move, control_of: ControlOf) -> str:
    """Do what is left of a move; returns why some of it waits, in words, "" if it has ended."""
    try:
        carry_out(move, control_of)
    except (Refused, ServiceAway) as why:
        return f"{told(move)}: {why}"
    return ""


def _take(move: Move, lane: str, control_of: ControlOf) -> None:
    while units := units_of(move):
        control = control_of(lane, move.actor, _once(move, TAKE))
        try:
            done = control.take_stock(move.source, units)
        except TooFew:
            # They were sold meanwhile. Refused, so the move's key is free again.
            items = control.status().activities[move.source].items
            left = {item: min(n, items[item].left) for item, n in units.items() if item in items}
            _shrink(move, {item: number for item, number in left.items() if number})
        else:
            # What was taken counts, not what was planned: somebody else may have done it.
            _reached(move, State.PLANNED, State.TAKEN, units=_taken(done))
            return
    _reached(move, State.PLANNED, State.DROPPED)


def _shrink(move: Move, units: Mapping[int, int]) -> None:
    """Plan fewer units."""
    shown = {str(item): number for item, number in units.items()}
    with postgres_errors():
        changed = Move.objects.filter(pk=move.pk, state=State.PLANNED, units=move.units)
        changed.update(units=shown)
        move.refresh_from_db()


def _taken(done: Act) -> dict[str, int]:
    """{item: units} of an act that took stock. The row of a lost answer has what was asked for."""
    return {
        item: int(left.removeprefix("-")) if isinstance(left, str) else done.old[item] - left
        for item, left in done.new.items()
    }


def _reached(move: Move, before: str, after: str, **more: Any) -> None:
    with postgres_errors():
        Move.objects.filter(pk=move.pk, state=before).update(state=after, **more)
        move.refresh_from_db()


def _once(move: Move, step: str) -> Once:
    # The units are not part of it: a move may shrink between two tries.
    key = key_of(move.pk, step)
    return Once(key, hashlib.sha256(key.encode()).hexdigest())


def told(move: Move) -> str:
    """A move in words, for people."""
    units = ", ".join(f"{item}: {number:,}" for item, number in move.units.items())
    names = {
        State.PLANNED: _("move %(move)s of %(units)s from activity %(a)s to %(b)s is planned"),
        State.TAKEN: _("move %(move)s of %(units)s from activity %(a)s to %(b)s is on its way"),
        State.GIVEN: _("moved %(units)s from activity %(a)s to %(b)s (move %(move)s)"),
        State.DROPPED: _("move %(move)s from activity %(a)s to %(b)s found nothing left"),
    }
    return names[State(move.state)] % {
        "move": move.pk, "units": units, "a": move.source, "b": move.target,
    }  # fmt: skip

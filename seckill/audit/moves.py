"""The audit of moves between the parts of split sales: what is on its way, and lost acts.

A move says how far it is, and the journal has both of its acts. Whether the units are right is
shown by each lane's own check: loaded is what PostgreSQL allocated, and loaded = left + sold.
"""

from dataclasses import dataclass

from django.db import connection

from seckill.audit.checks import FROM_KAFKA, NEVER_LOST, Checks, Finding
from seckill.lane.keys import Lane
from seckill.postgres.moves import OnTheWay, lost_act, on_the_way_of_lane


@dataclass(frozen=True)
class Moves:
    """What a snapshot of PostgreSQL says of a lane's moves."""

    on_the_way: list[OnTheWay]
    lost: tuple[int, str] | None


def read(lane: Lane) -> Moves:
    """The moves of a lane, in the caller's snapshot."""
    with connection.cursor() as cursor:
        return Moves(on_the_way_of_lane(cursor, lane), lost_act(cursor, lane))


def checks(moves: Moves) -> Checks:
    """PostgreSQL has not lost an act of a move."""
    if moves.lost is None:
        yield None
        return
    move, state = moves.lost
    yield Finding(
        NEVER_LOST,
        f"move {move}",
        f"it is {state}, and the journal has not all of its acts: PostgreSQL has lost one",
        FROM_KAFKA,
    )


def notes(moves: Moves) -> list[str]:
    """What is on its way, in words."""
    return [
        f"{each.units:,} units of activity {each.head} are on their way from activity "
        f"{each.source} to {each.target} (move {each.move}), on sale in neither: manage.py "
        f"activity balance {each.head} brings them"
        for each in moves.on_the_way
    ]

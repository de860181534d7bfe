"""Reads what the moves of split sales say, and whether the journal has their acts. No Django.

`seckill.control.moves` owns how units are moved.
"""

from dataclasses import dataclass

from seckill.lane.keys import Lane
from seckill.postgres.lanes import Cursor, of_lane

# The keys of a move's two acts in the journal. A row that is not applied may still have been done.
TAKE, GIVE = "take", "give"
_DONE = """EXISTS (SELECT 1 FROM seckill_stockchange AS c WHERE c.actor = m.actor
    AND c.idempotency_key = 'move-' || m.id || '-{step}' AND c.state = 'applied')"""
_TAKEN, _GIVEN = _DONE.format(step=TAKE), _DONE.format(step=GIVE)
ON_THE_WAY = f"""
SELECT m.id, m.head, m.source, m.target,
    (SELECT sum(u.value::bigint) FROM jsonb_each_text(m.units) AS u)::bigint
FROM seckill_move AS m
WHERE m.state IN ('planned', 'taken') AND {{where}}
    AND (m.state = 'taken' OR {_TAKEN}) AND NOT {_GIVEN}
ORDER BY m.id
"""
LOST = f"""
SELECT m.id, m.state FROM seckill_move AS m
WHERE {{where}} AND ((m.state IN ('taken', 'given') AND NOT {_TAKEN})
    OR (m.state = 'given' AND NOT {_GIVEN}))
ORDER BY m.id LIMIT 1
"""


@dataclass(frozen=True)
class OnTheWay:
    """Units that were taken from one part of a sale and are not on sale in the other yet."""

    move: int
    head: int
    source: int
    target: int
    units: int


def key_of(move: int, step: str) -> str:
    """The key in the journal of a move's act: TAKE or GIVE."""
    return f"move-{move}-{step}"


def on_the_way(cursor: Cursor, head: int) -> list[OnTheWay]:
    """The moves of a sale whose units are on sale nowhere now."""
    cursor.execute(ON_THE_WAY.format(where="m.head = %s"), (head,))
    return [OnTheWay(*row) for row in cursor.fetchall()]


def on_the_way_of_lane(cursor: Cursor, lane: Lane) -> list[OnTheWay]:
    """The same of all sales that have a part in this lane, where units come from or go to it."""
    cursor.execute(ON_THE_WAY.format(where=_either(lane)))
    return [OnTheWay(*row) for row in cursor.fetchall()]


def lost_act(cursor: Cursor, lane: Lane) -> tuple[int, str] | None:
    """A move of this lane, and its state, that says more than the journal; None if none does."""
    cursor.execute(LOST.format(where=_either(lane)))
    return cursor.fetchone()


def _either(lane: Lane) -> str:
    return f"({of_lane(lane, 'm.source')} OR {of_lane(lane, 'm.target')})"

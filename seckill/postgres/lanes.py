"""Which rows of PostgreSQL are a lane's: those of its activities. One place, as SQL and in Python.

An activity without a row is lane main's: before there were lanes every activity was. Records and
settlements name their activity, so they need no lane of their own. No Django: consumers use it too.
"""

from collections.abc import Iterable
from typing import Any, Protocol

from seckill.formats.lanes import MAIN, check_lane_name
from seckill.lane.keys import Lane

STRANGER = """
SELECT id, lane FROM seckill_activity WHERE id = ANY(%s::bigint[]) AND lane <> %s
ORDER BY id LIMIT 1
"""


class Cursor(Protocol):
    """What the cursors of psycopg and Django have in common."""

    def execute(self, query: Any, params: Any = None) -> Any:
        """Run a statement."""

    def fetchone(self) -> Any:
        """A row of its answer, or None."""

    def fetchall(self) -> list[Any]:
        """All rows of its answer."""


def of_lane(lane: Lane, column: str) -> str:
    """SQL: whether the activity in this column, which is not NULL, is the lane's."""
    if lane.name == MAIN:
        return f"{column} NOT IN (SELECT id FROM seckill_activity WHERE lane <> '{MAIN}')"
    name = check_lane_name(lane.name)
    return f"{column} IN (SELECT id FROM seckill_activity WHERE lane = '{name}')"


def lanes_of(cursor: Cursor) -> dict[int, str]:
    """{activity: its lane} of all that are not lane main's."""
    cursor.execute("SELECT id, lane FROM seckill_activity WHERE lane <> %s", (MAIN,))
    return dict(cursor.fetchall())


def stranger(cursor: Cursor, lane: Lane, loaded: Iterable[int]) -> str:
    """An activity that a lane's Redis holds although it is another lane's, in words; "" for none.

    Its units would be sold in both. One without a row is none: PostgreSQL may have lost it.
    """
    cursor.execute(STRANGER, (sorted(loaded), lane.name))
    found = cursor.fetchone()
    if found is None:
        return ""
    return (
        f"activity {found[0]} is of lane {found[1]}, and the Redis of lane {lane.name} holds it "
        "too: its units could be sold in both"
    )

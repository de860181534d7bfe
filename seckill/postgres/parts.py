"""Reads from PostgreSQL which activities are parts of one sale. No Django: doors use it too.

The rule which part serves a user is in `seckill.formats.parts`.
"""

from seckill.formats.parts import Routes
from seckill.postgres.lanes import Cursor

ROUTES = "SELECT id, lane, part_of, part FROM seckill_activity"
# Those of one activity, and of all split sales.
ROUTES_OF = f"""{ROUTES} WHERE id = %(id)s
    OR part_of = (SELECT part_of FROM seckill_activity WHERE id = %(id)s)"""
SPLIT_ROUTES = f"{ROUTES} WHERE part_of IS NOT NULL"


def read_routes(cursor: Cursor) -> Routes:
    """Where the requests of every activity go, as PostgreSQL knows it now.

    The parts of a sale never change once it is split, and it is split before its first request.
    """
    cursor.execute(ROUTES)
    return Routes(cursor.fetchall())

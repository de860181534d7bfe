"""Whether `seckill_record` is partitioned, its partitions, and how PostgreSQL says that one lacks.

A season is a partition: the orders of one topic, or of several in the first one. Reads only; owns
the names that `seckill.seasons` gives. No Django: log workers use it too.
"""

import re
from dataclasses import dataclass

import psycopg

from seckill.errors import PostgresRefuses
from seckill.postgres.access import connect, postgres_errors
from seckill.postgres.lanes import Cursor

TABLE = "seckill_record"
# Today's table, once it is the first partition.
FIRST = f"{TABLE}_first"
# The end of the name of the identity's constraint: of the table, and of each partition.
STORED_ONCE = "_stored_once"
# CHECKs: which topics the table has while it becomes the first partition; no row at all.
SOURCES_CHECK = "record_of_first_season"
ARCHIVED_CHECK = "record_of_archived_season"
# Seconds to wait for an answer of PostgreSQL.
ANSWER_S = 10

PARTITIONED = f"SELECT relkind = 'p' FROM pg_class WHERE oid = '{TABLE}'::regclass"
SEASONS = f"""
SELECT c.relname, pg_get_expr(c.relpartbound, c.oid), greatest(c.reltuples, 0)::bigint,
    pg_total_relation_size(c.oid), EXISTS (SELECT FROM pg_constraint AS k
        WHERE k.conrelid = c.oid AND k.conname = '{ARCHIVED_CHECK}')
FROM pg_inherits AS i JOIN pg_class AS c ON c.oid = i.inhrelid
WHERE i.inhparent = '{TABLE}'::regclass ORDER BY c.oid
"""
_SOURCE = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")


@dataclass(frozen=True)
class Season:
    """A partition. `rows` is PostgreSQL's estimate. `archived`: it refuses every row."""

    name: str
    sources: tuple[str, ...]
    rows: int
    size: int
    archived: bool


class NoSeason(PostgresRefuses):
    """Transient: the orders of a topic have no partition yet. Whoever makes it ends the wait."""

    def __init__(self, source: str) -> None:
        super().__init__(
            f"{TABLE} is partitioned and has no partition for topic {source or '(a new one)'}; "
            "manage.py seasons begin makes it"
        )


def is_partitioned(cursor: Cursor) -> bool:
    """Whether somebody has chosen partitions."""
    cursor.execute(PARTITIONED)
    row = cursor.fetchone()
    return bool(row and row[0])


def read_seasons(cursor: Cursor) -> list[Season]:
    """All partitions, the oldest first; none of a table that has none."""
    cursor.execute(SEASONS)
    return [
        Season(name, tuple(_SOURCE.findall(bound)), rows, size, archived)
        for name, bound, rows, size, archived in cursor.fetchall()
    ]


def season_of(cursor: Cursor, source: str) -> Season | None:
    """The partition of a topic's orders."""
    return next((each for each in read_seasons(cursor) if source in each.sources), None)


def refuse_without_season(dsn: str, source: str) -> None:
    """Raises NoSeason if a topic's orders could not be stored now, PostgresAway."""
    with postgres_errors(), connect(dsn, ANSWER_S, ANSWER_S) as connection:
        cursor = connection.cursor()
        if is_partitioned(cursor) and season_of(cursor, source) is None:
            raise NoSeason(source)


def refuse_if_without(wrong: psycopg.Error) -> None:
    """Raises NoSeason if PostgreSQL has refused a row because its topic has no partition.

    PostgreSQL has no code of its own for that: it is a CHECK without a name, of the whole table.
    """
    if not isinstance(wrong, psycopg.errors.CheckViolation) or wrong.diag.table_name != TABLE:
        return
    if wrong.diag.constraint_name in (None, SOURCES_CHECK):
        named = _SOURCE.search(wrong.diag.message_detail or "")
        raise NoSeason(named[0] if named else "") from None

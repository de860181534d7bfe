"""Moves the id sequence of a table past its rows, after a failover or a restore.

Drawing ids one by one needs no right that storing does not need anyway.
"""

import logging

import psycopg

from seckill.process.events import event

log = logging.getLogger(__name__)

SKIP_IDS = """
SELECT count(nextval(s.name)) FROM (
    SELECT pg_get_serial_sequence('{table}', 'id')::regclass AS name,
        generate_series(nextval(pg_get_serial_sequence('{table}', 'id')::regclass),
            (SELECT max(id) FROM {table}))) AS s
"""
# The sequence after the rows: who draws an id while this looks makes it higher.
BEHIND = """
SELECT (SELECT coalesce(max(id), 0) FROM {table})
    > coalesce(pg_sequence_last_value(pg_get_serial_sequence('{table}', 'id')::regclass), 0)
"""


def is_behind(twice: psycopg.errors.UniqueViolation) -> bool:
    """Whether it is an id that was drawn a second time."""
    return (twice.diag.constraint_name or "").endswith("_pkey")


def skip_ids_if_behind(cursor: psycopg.Cursor, table: str) -> None:
    """The same before any id was drawn."""
    row = cursor.execute(BEHIND.format(table=table)).fetchone()
    if row and row[0]:
        skip_ids(cursor, table)


def skip_ids(cursor: psycopg.Cursor, table: str) -> None:
    """Draw ids until they are new."""
    skipped = cursor.execute(SKIP_IDS.format(table=table)).fetchone()
    log.warning(
        "the ids of %s were behind its rows (a failover, or rows that were restored); "
        "%d were skipped, storing goes on",
        table,
        skipped[0] if skipped else 0,
        extra=event("ids-skipped"),
    )

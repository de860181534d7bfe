"""Records into PostgreSQL: one transaction stores a batch and counts it into the inventory.

Owns the SQL of the log worker and its one connection. What was stored before is known by the
record's identity and counted once. A batch goes straight into the table; only where PostgreSQL
finds a record of it there already, the new ones are picked out by way of a temporary table.
"""

from collections import Counter
from collections.abc import Mapping, Sequence

import psycopg
from psycopg.abc import RV, PQGen

from seckill.copy_rows import COLUMNS, packed
from seckill.errors import PostgresAway
from seckill.records import WireRecord

# Seconds to wait for a connection.
CONNECT_TIMEOUT_S = 5
# Seconds without an answer after which the connection counts as lost. A line that has died without
# a word (a firewall, a host that lost its power) would else be waited for for ever.
ANSWER_LIMIT_S = 60.0
# Seconds between two looks at whether the wait is over.
LOOK_S = 0.1
# (activity, item).
Item = tuple[int, int]
_NAMES = ", ".join(f'"{column}"' for column in COLUMNS)
COPY_RECORDS = f"COPY seckill_record ({_NAMES}) FROM STDIN (FORMAT BINARY)"
CREATE_BATCH = (
    "CREATE TEMPORARY TABLE IF NOT EXISTS batch ("
    + ", ".join(f'"{column}" {kind}' for column, kind in COLUMNS.items())
    + ") ON COMMIT DELETE ROWS"
)
COPY_BATCH = f"COPY batch ({_NAMES}) FROM STDIN (FORMAT BINARY)"
STORE_NEW_ONES = f"""
WITH stored AS (
    INSERT INTO seckill_record ({_NAMES}) SELECT {_NAMES} FROM batch
    ON CONFLICT DO NOTHING RETURNING activity_id, item_id, quantity
)
SELECT activity_id, item_id, sum(quantity)::bigint, count(*) FROM stored GROUP BY 1, 2
"""
COUNT_SOLD = """
INSERT INTO seckill_item AS item (activity_id, item_id, sold) VALUES (%s, %s, %s)
ON CONFLICT (activity_id, item_id) DO UPDATE SET sold = item.sold + EXCLUDED.sold
"""
# What PostgreSQL says when it cannot do it now and may later. The rest is poison or a bug.
TRANSIENT = (
    psycopg.OperationalError,
    psycopg.InterfaceError,
    psycopg.errors.ReadOnlySqlTransaction,
    psycopg.errors.InsufficientResources,
    psycopg.errors.OperatorIntervention,
    psycopg.errors.TransactionRollback,
    psycopg.errors.SystemError,
)


class _Line(psycopg.Connection):
    """A connection that does not wait for ever."""

    answer_limit_s = ANSWER_LIMIT_S

    def wait(self, gen: PQGen[RV], interval: float = LOOK_S, timeout: float | None = None) -> RV:
        """As psycopg's; without an answer in time the connection is closed: OperationalError."""
        try:
            return super().wait(gen, interval, timeout or self.answer_limit_s)
        except psycopg.errors._WaitTimeout:
            self.close()
            raise psycopg.OperationalError(
                f"no answer in {timeout or self.answer_limit_s:.0f} s"
            ) from None


class Storage:
    """One connection, made when it is needed and again when it was lost."""

    def __init__(self, dsn: str, answer_limit_s: float = ANSWER_LIMIT_S) -> None:
        self._dsn = dsn
        self._answer_limit_s = answer_limit_s
        self._connection: _Line | None = None

    def store(self, records: Sequence[WireRecord]) -> int:
        """Store records and count their units; how many were new.

        Raises PostgresAway: whether it was committed is not known, and a repeat is harmless.
        Raises psycopg.errors.DataError for a value that PostgreSQL refuses; nothing is stored.
        """
        try:
            connection = self._connect()
            try:
                with connection.transaction(), connection.cursor() as cursor:
                    _copy(cursor, COPY_RECORDS, records)
                    units: Counter[Item] = Counter()
                    for record in records:
                        units[record.activity_id, record.item_id] += record.quantity
                    _count_sold(cursor, units)
                    return len(records)
            except psycopg.errors.UniqueViolation:
                # Some of it is stored already: another worker, or one that died before its trim.
                with connection.transaction(), connection.cursor() as cursor:
                    cursor.execute(CREATE_BATCH)
                    _copy(cursor, COPY_BATCH, records)
                    stored = cursor.execute(STORE_NEW_ONES).fetchall()
                    _count_sold(cursor, {(activity, item): n for activity, item, n, _ in stored})
                    return sum(count for *_, count in stored)
        except TRANSIENT as away:
            self.close()
            raise PostgresAway(str(away).strip().splitlines()[0]) from None

    def check(self) -> None:
        """Raises PostgresAway unless PostgreSQL answers and has our tables."""
        try:
            self._connect().execute("SELECT 1 FROM seckill_record LIMIT 1")
        except TRANSIENT as away:
            self.close()
            raise PostgresAway(str(away).strip().splitlines()[0]) from None
        except psycopg.errors.UndefinedTable:
            self.close()
            raise PostgresAway("it has no tables of ours; run manage.py migrate") from None

    def close(self) -> None:
        """Close the connection."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _connect(self) -> psycopg.Connection:
        if self._connection is None or self._connection.closed:
            self._connection = _Line.connect(
                self._dsn, autocommit=True, connect_timeout=CONNECT_TIMEOUT_S
            )
            self._connection.answer_limit_s = self._answer_limit_s
        return self._connection


def _copy(cursor: psycopg.Cursor, statement: str, records: Sequence[WireRecord]) -> None:
    with cursor.copy(statement) as copy:
        copy.write(packed(records))


def _count_sold(cursor: psycopg.Cursor, units: Mapping[Item, int]) -> None:
    """Always in one order: two workers must not wait for each other in a circle."""
    cursor.executemany(COUNT_SOLD, [(*item, count) for item, count in sorted(units.items())])

"""The events that follow a cursor, read from the rows of orders, settlements and late payments.

Owns their SQL and their order. A cursor is the last id of each of the three tables. Ids become
visible out of order: a transaction may draw 5 and commit after the one that drew 6. So nothing
beyond a barrier is read. A barrier is the highest ids that are visible, and after that the
transactions that write one of the tables. Whoever drew a lower id and has not ended is among
them, since PostgreSQL locks a table for a writer before it draws an id, until the transaction ends.
Once they have ended, all rows up to these ids are there.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple

import psycopg

from seckill.events.cloud_event import PAYMENT_LATE, Event
from seckill.formats.record import ACCEPTED
from seckill.lane.keys import Lane
from seckill.postgres.lanes import of_lane

# Rows of each table that are read at once.
ROWS = 2_000
HIGHEST = """
SELECT (SELECT coalesce(max(id), 0) FROM seckill_record),
    (SELECT coalesce(max(id), 0) FROM seckill_settlement),
    (SELECT coalesce(max(id), 0) FROM seckill_latepayment)
"""
# The transactions that write. Not those that write something else: an audit may take minutes.
WRITING = """
SELECT virtualtransaction FROM pg_locks
WHERE locktype = 'relation' AND mode = 'RowExclusiveLock'
AND relation IN ('seckill_record'::regclass, 'seckill_settlement'::regclass,
    'seckill_latepayment'::regclass)
AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
"""
ONE_MOMENT = "SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY"
# One event tells of all items of an order that one transaction stored together: those rows have one
# xmin. `head` is the first of them, `first` the first row of the order.
ROWS_OF = """
SELECT r.id, o.head, o.first, r.source::text, r.partition, r."offset", r.user_id, r.activity_id,
    r.ts, o.items, o.units, {{mine}}, {more}
FROM (SELECT *, xmin AS stored_by FROM {table} WHERE id > %s AND id <= %s
      ORDER BY id LIMIT %s) AS r
CROSS JOIN LATERAL (
    SELECT min(s.id) AS first, min(s.id) FILTER (WHERE s.xmin = r.stored_by) AS head,
        array_agg(s.item_id ORDER BY s.item_id) FILTER (WHERE s.xmin = r.stored_by) AS items,
        array_agg(s.quantity ORDER BY s.item_id) FILTER (WHERE s.xmin = r.stored_by) AS units
    FROM {table} AS s WHERE s.source = r.source AND s.partition = r.partition
    AND s."offset" = r."offset") AS o
{joined}ORDER BY r.id
"""
RECORDS = ROWS_OF.format(
    table="seckill_record",
    more="r.request_id, (extract(epoch FROM r.due) * 1000)::bigint",
    joined="",
)
ACCEPTED_ROW = """CROSS JOIN LATERAL (
    SELECT min(a.id) AS id, min(a.request_id) AS request_id
    FROM seckill_record AS a WHERE a.source = r.source AND a.partition = r.partition
    AND a."offset" = r."offset") AS accepted
"""
SETTLEMENTS = ROWS_OF.format(
    table="seckill_settlement",
    more="accepted.request_id, r.reference, r.kind, coalesce(accepted.id, 0)",
    joined=ACCEPTED_ROW,
)
LATE_PAYMENTS = f"""
SELECT r.id, r.source::text, r.partition, r."offset", r.user_id, r.activity_id, r.ts,
    {{mine}}, r.settle_source || ':' || r.settle_partition || ':' || r.settle_offset,
    r.reference, accepted.request_id, coalesce(accepted.id, 0)
FROM (SELECT * FROM seckill_latepayment WHERE id > %s AND id <= %s ORDER BY id LIMIT %s) AS r
{ACCEPTED_ROW}ORDER BY r.id
"""


class Cursor(NamedTuple):
    """The last row of each table of which an event was published."""

    record: int = 0
    settlement: int = 0
    late_payment: int = 0


@dataclass(frozen=True, slots=True)
class Row:
    """A row, and the event that it begins; None: the event began with an earlier row.

    `needs`: the row of an order that comes before it; 0: none.
    """

    id: int
    at: datetime
    event: Event | None
    needs: int = 0


@dataclass(frozen=True)
class Chunk:
    """Events in the order of their publication, and the cursor once they are published."""

    events: list[Event]
    cursor: Cursor


class Feed:
    """Reads on from a cursor, and tells of a lane's orders alone: other rows are passed over. Keeps
    nothing but the barrier. The connection is the caller's.
    """

    def __init__(self, rows: int = ROWS, lane: Lane | None = None) -> None:
        self._rows = rows
        mine = of_lane(lane or Lane(), "r.activity_id")
        self._tables = tuple((sql.format(mine=mine), row_of) for sql, row_of in TABLES)
        self._barrier: tuple[Cursor, frozenset[str]] | None = None

    def next(self, connection: psycopg.Connection, cursor: Cursor) -> Chunk | None:
        """The next events; None: there are none, or what is running must end first.

        The connection is in autocommit mode. Raises psycopg.Error.
        """
        if self._barrier is None or not _beyond(self._barrier[0], cursor):
            highest = highest_rows(connection)
            if not _beyond(highest, cursor):
                return None
            self._barrier = highest, writing(connection)
        highest, running = self._barrier
        # Those that have ended are seen by any later look.
        if running and not running.isdisjoint(writing(connection)):
            return None
        with connection.transaction():
            connection.execute(ONE_MOMENT)
            tables = [
                [row_of(row) for row in connection.execute(sql, (done, last, self._rows))]
                for (sql, row_of), done, last in zip(self._tables, cursor, highest, strict=True)
            ]
        full = Cursor(*(len(rows) == self._rows for rows in tables))
        chunk = merged(cursor, tables, more=full)
        if chunk.cursor == cursor:
            # A settlement was stored with an order that is above the barrier: take the next one.
            self._barrier = None
        return chunk

    def behind(self, connection: psycopg.Connection, cursor: Cursor) -> int:
        """About how many rows follow the cursor. Raises psycopg.Error."""
        highest = highest_rows(connection)
        return sum(max(0, last - done) for last, done in zip(highest, cursor, strict=True))


def highest_rows(connection: psycopg.Connection) -> Cursor:
    """The last visible row of each table."""
    row = connection.execute(HIGHEST).fetchone()
    assert row is not None
    return Cursor(*row)


def writing(connection: psycopg.Connection) -> frozenset[str]:
    """The transactions that write one of the tables now."""
    return frozenset(name for (name,) in connection.execute(WRITING))


def merged(cursor: Cursor, tables: Sequence[Sequence[Row]], more: Cursor) -> Chunk:
    """The tables of a cursor as one sequence, in the order in which Redis decided.

    Each table has that order. Between them their times have it, to the second; of one second orders
    come first, and late payments last. Always: an order before what became of it.
    `more`: whether a table has more rows than these; then nothing later than its last one is told.
    """
    done = cursor
    events: list[Event] = []
    for row, table in _in_turn(cursor, tables, more):
        done = done._replace(**{Cursor._fields[table]: row.id})
        if row.event is not None:
            events.append(row.event)
    return Chunk(events, done)


def _in_turn(
    cursor: Cursor, tables: Sequence[Sequence[Row]], more: Cursor
) -> Iterator[tuple[Row, int]]:
    """Each row with the number of its table."""
    at, last = [0] * len(tables), cursor.record
    while True:
        heads = [
            rows[next_] if next_ < len(rows) else None
            for rows, next_ in zip(tables, at, strict=True)
        ]
        if any(head is None and unread for head, unread in zip(heads, more, strict=True)):
            return
        ready = [
            (row.at, table, row)
            for table, row in enumerate(heads)
            if row is not None and row.needs <= last
        ]
        if not ready:
            return
        _, table, row = min(ready, key=lambda found: found[:2])
        yield row, table
        at[table] += 1
        if table == 0:
            last = row.id


def _beyond(highest: Cursor, cursor: Cursor) -> bool:
    return any(last > done for last, done in zip(highest, cursor, strict=True))


def _accepted(row: Sequence[Any]) -> Row:
    *common, request_id, due = row
    return _row(common, ACCEPTED, request_id=request_id or None, pay_until=due)


def _settled(row: Sequence[Any]) -> Row:
    *common, request_id, reference, kind, order = row
    return _row(common, kind, order, request_id=request_id or None, reference=reference)


def _row(common: Sequence[Any], kind: str, needs: int = 0, **more: Any) -> Row:
    number, head, first, *place, user, activity, at, items, units, mine = common
    if number != head or not mine:
        return Row(number, at, None, needs)
    part = None if head == first else items[0]
    source, partition, offset = place
    event = Event(
        *(kind, (source, partition, offset), user, activity),
        *(dict(zip(items, units, strict=True)), at),
        part=part,
        **more,
    )
    return Row(number, at, event, needs)


def _late(row: Sequence[Any]) -> Row:
    number, *place, user, activity, at, mine, payment, reference, request_id, order = row
    if not mine:
        return Row(number, at, None, order)
    source, partition, offset = place
    event = Event(
        *(PAYMENT_LATE, (source, partition, offset), user, activity, {}, at),
        request_id=request_id or None,
        reference=reference,
        payment=payment,
    )
    return Row(number, at, event, order)


# The tables of a cursor, and what makes a `Row` of a row of each.
TABLES = ((RECORDS, _accepted), (SETTLEMENTS, _settled), (LATE_PAYMENTS, _late))

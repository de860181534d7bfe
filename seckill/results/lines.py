"""The order lines of given requests: as rows, as records that wait in Redis, as dead records.

Owns the reads. An accepted record is in the list, or was stored or parked since: read the list
first, then PostgreSQL, and none is missed.
"""

from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import redis
from django.db import connection

from seckill.dead_letters.records import Kind
from seckill.formats.record import ACCEPTED, WireRecord, readable
from seckill.lane import record_list
from seckill.lane.keys import Lane

# A longer list is not read for a question: that would cost the sale.
LONGEST_LIST = 50_000

# How a hold ended; HELD as long as it has not.
HELD = "held"
COLUMNS = (
    'id, source::text, partition, "offset", item_id, activity_id, user_id, quantity, request_id,'
    " CASE WHEN due IS NOT NULL THEN coalesce((SELECT s.kind FROM seckill_settlement AS s"
    " WHERE s.source = r.source AND s.partition = r.partition"
    f""" AND s."offset" = r."offset" AND s.item_id = r.item_id), '{HELD}') END"""
)
ROWS_BY_PLACE = f"""
SELECT {COLUMNS} FROM seckill_record AS r
JOIN unnest(%s::uuid[], %s::int[], %s::bigint[]) AS asked(source, partition, "offset")
USING (source, partition, "offset")
"""
ROWS_BY_REQUEST = f"SELECT {COLUMNS} FROM seckill_record AS r WHERE request_id = ANY(%s) LIMIT %s"
DEAD_BY_PLACE = """
SELECT kind, raw FROM seckill_deadrecord
JOIN unnest(%s::uuid[], %s::int[], %s::bigint[]) AS asked(source, partition, "offset")
USING (source, partition, "offset")
"""
DEAD_BY_REQUEST = """
SELECT raw FROM seckill_deadrecord WHERE kind = %s AND request_id = ANY(%s) LIMIT %s
"""
# Lines that one answer has at most: request ids are the senders' own, and may be everybody's.
MOST_LINES = 50_000

Place = tuple[str, int, int]


@dataclass(frozen=True)
class Line:
    """One accepted item. `where`: stored (a row, with its id), waiting (in Redis) or parked.

    `hold`: HELD, or how the hold ended, as far as its place says; None: it was sold at once.
    """

    source: str
    partition: int
    offset: int
    item_id: int
    activity_id: int
    user_id: int
    quantity: int
    request_id: str | None
    hold: str | None
    where: str
    order_id: int | None = None

    @property
    def place(self) -> Place:
        """The message that it comes from."""
        return self.source, self.partition, self.offset


_NAMES = [name for name in Line.__dataclass_fields__ if name not in ("where", "order_id")]
_OF_RECORD = [name for name in _NAMES if name != "hold"]


def in_list(
    client: "redis.Redis", lane: Lane, places: Collection[Place], requests: Collection[str]
) -> Iterator[Line]:
    """Lines that wait in Redis, some twice. Raises RedisAway."""
    for record in _orders(record_list.readable(client, lane)):
        place = (record.source, record.partition, record.offset)
        if place in places or record.request_id in requests:
            yield _line(record, "waiting")


def stored(places: Collection[Place], requests: Collection[str]) -> Iterator[Line]:
    """Lines that are rows. Some come twice, if both their place and their request are asked for."""
    with connection.cursor() as cursor:
        rows: list[Any] = []
        if places:
            cursor.execute(ROWS_BY_PLACE, _columns(places))
            rows += cursor.fetchall()
        if requests:
            cursor.execute(ROWS_BY_REQUEST, [list(requests), MOST_LINES])
            rows += cursor.fetchall()
    for number, *values in rows:
        yield Line(**dict(zip(_NAMES, values, strict=True)), where="stored", order_id=number)


def parked(places: Collection[Place]) -> Iterator[Line | Place]:
    """Accepted lines that could not become rows. A place alone: its decision does not count."""
    if not places:
        return
    with connection.cursor() as cursor:
        cursor.execute(DEAD_BY_PLACE, _columns(places))
        rows = cursor.fetchall()
    for kind, raw in rows:
        for record in _orders(readable([bytes(raw)])):
            line = _line(record, "parked")
            yield line if kind == Kind.REFUSED else line.place


def parked_requests(requests: Collection[str]) -> Iterator[Line]:
    """The same by request id."""
    with connection.cursor() as cursor:
        cursor.execute(DEAD_BY_REQUEST, [str(Kind.REFUSED), list(requests), MOST_LINES])
        rows = cursor.fetchall()
    for record in _orders(readable(bytes(raw) for (raw,) in rows)):
        yield _line(record, "parked")


def _orders(records: Iterable[WireRecord]) -> Iterator[WireRecord]:
    """The board says what became of a hold, before its settlement is stored."""
    return (record for record in records if record.kind == ACCEPTED)


def _line(record: WireRecord, where: str) -> Line:
    hold = None if record.due is None else HELD
    return Line(**{name: getattr(record, name) for name in _OF_RECORD}, hold=hold, where=where)


def _columns(places: Collection[Place]) -> list[list[Any]]:
    return [list(column) for column in zip(*places, strict=True)]

"""What is sold, counted from the records: in the list, as rows, and as dead records.

Owns the one exact way to count during a sale: read the positions at a moment T, then the list, then
PostgreSQL. Every record accepted before T has an offset below its partition's position at T. It is
still in the list, or was trimmed meanwhile and is in PostgreSQL, as a row or as a dead record. Dead
records are accepted orders: their units are never given back.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

import redis
from django.db import connection

from seckill.errors import Poison
from seckill.formats.record import parse, same_identity, source_id
from seckill.lane.client import redis_errors
from seckill.lane.keys import Lane
from seckill.lane.record_list import scan

# Examples of wrong records that are kept. The rest is only counted.
EXAMPLES = 10
# Rows fetched at once.
FETCHED = 10_000
# Memory for sums over all records (100 bytes each) before PostgreSQL uses its disk.
WORK_MEMORY = "128MB"

COLUMNS = 'source, partition, "offset", item_id, activity_id, user_id, quantity, request_id'


# What COPY would take for the end of a value, or for an escape. PostgreSQL stores no NUL.
_ESCAPED = str.maketrans({"\\": r"\\", "\t": r"\t", "\n": r"\n", "\r": r"\r", "\0": None})


@dataclass
class Waiting:
    """Records in the list below the positions, as rows for COPY, 110 bytes each."""

    positions: Mapping[str, int] = field(default_factory=dict)
    rows: list[bytes] = field(default_factory=list)
    # Texts that are not records, as (text, reason): the first few, and the number of all.
    unreadable: list[tuple[bytes, str]] = field(default_factory=list)
    unreadable_count: int = 0


def positions_by_partition(positions: Mapping[str, int]) -> dict[tuple[UUID, int], int]:
    """Positions as Redis names them, as {(source, partition): offset}."""
    result = {}
    for name, offset in positions.items():
        source, _, partition = name.rpartition(":")
        result[UUID(source), int(partition)] = offset
    return result


def waiting(client: "redis.Redis", lane: Lane, positions: Mapping[str, int]) -> Waiting:
    """The list's records below the positions, and those of partitions without a position.

    Raises RedisAway.
    """
    limits = positions_by_partition(positions)
    found = Waiting(positions)
    with redis_errors():
        for chunk in scan(client, lane):
            found.rows.append(_rows(chunk, limits, found))
    return found


def _rows(chunk: Iterable[bytes], limits: Mapping[tuple[UUID, int], int], found: Waiting) -> bytes:
    rows = []
    for raw in chunk:
        try:
            record = parse(raw)
        except Poison as poison:
            found.unreadable_count += 1
            if len(found.unreadable) < EXAMPLES:
                found.unreadable.append((raw, str(poison)))
            continue
        limit = limits.get((source_id(record.source), record.partition))
        if limit is None or record.offset < limit:
            rows.append(
                f"{record.source}\t{record.partition}\t{record.offset}\t{record.item_id}"
                f"\t{record.activity_id}\t{record.user_id}\t{record.quantity}"
                f"\t{_text(record.request_id)}\t{hash(record)}\n"
            )
    return "".join(rows).encode()


def _text(value: str | None) -> str:
    """A text, or nothing, as COPY reads it."""
    return r"\N" if value is None else value.translate(_ESCAPED)


def stage(found: Waiting) -> None:
    """Copy waiting and dead records into this transaction's temporary table `waiting`.

    Each record is there once. A dead record that is also in the list, with another text, is the
    same record.

    Each count below is one statement and so sees one snapshot of PostgreSQL: a record that the log
    worker commits meanwhile is either stored or waiting, never both and never neither.
    """
    with connection.cursor() as cursor:
        cursor.execute(f"SET LOCAL work_mem = '{WORK_MEMORY}'")
        for table, more in (("listed", "digest bigint"), ("waiting", "differs boolean")):
            cursor.execute(
                f"CREATE TEMPORARY TABLE IF NOT EXISTS {table} (source uuid, partition int,"
                ' "offset" bigint, item_id bigint, activity_id bigint, user_id bigint,'
                f" quantity bigint, request_id text, {more}) ON COMMIT DROP"
            )
            cursor.execute(f"TRUNCATE {table}")
        with cursor.copy("COPY listed FROM STDIN") as copy:
            for rows in found.rows:
                copy.write(rows)
        limits, arguments = limits_sql(found.positions)
        cursor.execute(
            f"INSERT INTO listed SELECT {COLUMNS}, NULL FROM seckill_deadrecord AS d"
            f" LEFT JOIN {limits} USING (source, partition)"
            " WHERE kind = 'refused' AND source IS NOT NULL"
            ' AND (p.next IS NULL OR d."offset" < p.next)',
            arguments,
        )
        cursor.execute(
            'INSERT INTO waiting SELECT source, partition, "offset", item_id, min(activity_id),'
            " min(user_id), min(quantity), min(request_id),"
            " coalesce(min(digest) <> max(digest), false)"
            " OR (min(activity_id), min(user_id), min(quantity), min(coalesce(request_id, '')))"
            " <> (max(activity_id), max(user_id), max(quantity), max(coalesce(request_id, '')))"
            ' FROM listed GROUP BY source, partition, "offset", item_id'
        )
        cursor.execute("ANALYZE waiting")


def accepted_sql(positions: Mapping[str, int]) -> tuple[str, list[Any]]:
    """SQL for all records accepted before T, stored or waiting, each once; and its arguments."""
    limits, arguments = limits_sql(positions)
    return (
        f"SELECT {COLUMNS} FROM seckill_record r LEFT JOIN {limits} USING (source, partition)"
        ' WHERE p.next IS NULL OR r."offset" < p.next'
        f" UNION ALL SELECT {COLUMNS} FROM waiting w"
        f" WHERE NOT EXISTS (SELECT 1 FROM seckill_record r WHERE {same_identity('r', 'w')})",
        arguments,
    )


def limits_sql(positions: Mapping[str, int]) -> tuple[str, list[Any]]:
    """SQL for the positions as a table p (source, partition, next); and its arguments."""
    limits = positions_by_partition(positions)
    return (
        "unnest(%s::uuid[], %s::int[], %s::bigint[]) AS p(source, partition, next)",
        [
            [source for source, _ in limits],
            [partition for _, partition in limits],
            list(limits.values()),
        ],
    )


def units_by_item(
    positions: Mapping[str, int], activity_id: int | None = None
) -> dict[tuple[int, int], int]:
    """{(activity, item): units} accepted before T, for all activities or for one.

    Call `stage` first, in the same transaction.
    """
    accepted, arguments = accepted_sql(positions)
    one = ""
    if activity_id is not None:
        one = " WHERE activity_id = %s"
        arguments.append(activity_id)
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT activity_id, item_id, sum(quantity)::bigint"
            f" FROM ({accepted}) AS accepted{one} GROUP BY activity_id, item_id",
            arguments,
        )
        return {(activity, item): units for activity, item, units in cursor.fetchall()}


def totals(activity_id: int, positions: Mapping[str, int]) -> tuple[int, int, int]:
    """(requests, units, records) of an activity accepted before T. Call `stage` first."""
    accepted, arguments = accepted_sql(positions)
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT count(*), coalesce(sum(units), 0)::bigint, coalesce(sum(records), 0)::bigint"
            " FROM (SELECT sum(quantity) AS units, count(*) AS records"
            f" FROM ({accepted}) AS accepted WHERE activity_id = %s"
            ' GROUP BY source, partition, "offset") AS requests',
            [*arguments, activity_id],
        )
        requests, units, records = cursor.fetchone()
        return requests, units, records


def units_by_user(activity_id: int, positions: Mapping[str, int]) -> dict[int, int]:
    """{user: units} of an activity accepted before T. Call `stage` first, in one transaction."""
    accepted, arguments = accepted_sql(positions)
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT user_id, sum(quantity)::bigint"
            f" FROM ({accepted}) AS accepted WHERE activity_id = %s GROUP BY user_id",
            [*arguments, activity_id],
        )
        return dict(cursor.fetchall())


@dataclass(frozen=True)
class Click:
    """The accepted request with this id, of this user, and where it was decided."""

    user_id: int
    request_id: str
    source: str
    partition: int
    offset: int


def clicks_of(activity_id: int, positions: Mapping[str, int]) -> Iterator[Click]:
    """The clicks of an activity accepted before T, each once. Call `stage` first, in one
    transaction, and read them to the end within it.
    """
    accepted, arguments = accepted_sql(positions)
    with connection.chunked_cursor() as cursor:
        cursor.execute(
            "SELECT DISTINCT ON (user_id, request_id)"
            ' user_id, request_id, source::text, partition, "offset"'
            f" FROM ({accepted}) AS accepted WHERE activity_id = %s AND request_id <> ''"
            ' ORDER BY user_id, request_id, source, partition, "offset"',
            [*arguments, activity_id],
        )
        while rows := cursor.fetchmany(FETCHED):
            for row in rows:
                yield Click(*row)

"""What is sold, counted from the entries of the list, from rows, and from dead records.

Owns the one exact way to count during a sale: read the positions at a moment T, then the list, then
PostgreSQL. Every record accepted before T has an offset below its partition's position at T. It is
still in the list, or was trimmed meanwhile and is in PostgreSQL, as a row or as a dead record. Dead
records are accepted orders: their units are never given back. Settlements of holds are found in the
same way (see `seckill.postgres.settled`), and what they gave back is not sold.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

import redis
from django.db import connection

from seckill.errors import Poison
from seckill.formats.record import (
    ACCEPTED,
    CANCELLED,
    NOT_ACCEPTED,
    WireRecord,
    parse,
    same_identity,
    source_id,
)
from seckill.lane.client import redis_errors
from seckill.lane.keys import Lane
from seckill.lane.record_list import scan
from seckill.postgres import settled
from seckill.postgres.access import NO_LIMITS
from seckill.postgres.lanes import of_lane
from seckill.postgres.limits import limits_sql, positions_by_partition

# Examples of wrong records that are kept. The rest is only counted.
EXAMPLES = 10
# Rows fetched at once.
FETCHED = 10_000
# Memory for sums over all records (100 bytes each) before PostgreSQL uses its disk.
WORK_MEMORY = "128MB"

COLUMNS = 'source, partition, "offset", item_id, activity_id, user_id, quantity, request_id'
DEAD = (
    'SELECT raw, source::text, partition, "offset", item_id, activity_id, user_id, quantity,'
    " request_id, entry FROM seckill_deadrecord WHERE kind = 'refused' AND source IS NOT NULL"
    " AND {mine}"
)

ANY_ARCHIVED = "SELECT EXISTS (SELECT FROM seckill_activity WHERE archived_at IS NOT NULL)"
FORGET_ARCHIVED = (
    "DELETE FROM {} WHERE activity_id IN"
    " (SELECT id FROM seckill_activity WHERE archived_at IS NOT NULL)"
)

# NULL, as COPY reads it.
NOTHING = r"\N"
# What COPY would take for the end of a value, or for an escape. PostgreSQL stores no NUL.
_ESCAPED = str.maketrans({"\\": r"\\", "\t": r"\t", "\n": r"\n", "\r": r"\r", "\0": None})


@dataclass
class Waiting:
    """Entries of the list below the positions, as rows for COPY, 110 bytes each."""

    positions: Mapping[str, int] = field(default_factory=dict)
    lane: Lane = field(default_factory=Lane)
    # Records, and what became of holds.
    rows: list[bytes] = field(default_factory=list)
    ended: list[bytes] = field(default_factory=list)
    # Texts that are not records, as (text, reason): the first few, and the number of all.
    unreadable: list[tuple[bytes, str]] = field(default_factory=list)
    unreadable_count: int = 0


def waiting(client: "redis.Redis", lane: Lane, positions: Mapping[str, int]) -> Waiting:
    """The list's entries below the positions, and those of partitions without a position.

    `positions` are those of requests and of settle messages. Raises RedisAway.
    """
    limits = positions_by_partition(positions)
    found = Waiting(positions, lane)
    with redis_errors():
        for chunk in scan(client, lane):
            _sort(_readable(chunk, found), limits, found)
    return found


def _readable(chunk: Iterable[bytes], found: Waiting) -> Iterator[WireRecord]:
    for raw in chunk:
        try:
            yield parse(raw)
        except Poison as poison:
            found.unreadable_count += 1
            if len(found.unreadable) < EXAMPLES:
                found.unreadable.append((raw, str(poison)))


def _sort(
    records: Iterable[WireRecord],
    limits: Mapping[tuple[UUID, int], int],
    found: Waiting,
    digest: str = "",
) -> None:
    """Add the records, and what became of holds, as far as they lie below the limits."""
    rows, ended = [], []
    for record in records:
        limit = limits.get((source_id(record.source), record.partition))
        if limit is not None and record.offset >= limit:
            continue
        if record.status in NOT_ACCEPTED:
            by = record.settled_by
            # A settle partition without a position at T had settled nothing then.
            if by is None or not limits or by[2] < limits.get((source_id(by[0]), by[1]), 0):
                ended.append(_ended_row(record))
            continue
        rows.append(_row(record, digest or str(hash(record))))
    found.rows.append("".join(rows).encode())
    found.ended.append("".join(ended).encode())


def _row(record: WireRecord, digest: str) -> str:
    return (
        f"{record.source}\t{record.partition}\t{record.offset}\t{record.item_id}"
        f"\t{record.activity_id}\t{record.user_id}\t{record.quantity}"
        f"\t{_text(record.request_id)}\t{NOTHING if record.due is None else record.due}"
        f"\t{digest}\n"
    )


def _ended_row(record: WireRecord) -> str:
    by = record.settled_by or (NOTHING,) * 3
    return (
        f"{record.source}\t{record.partition}\t{record.offset}\t{record.item_id}"
        f"\t{record.activity_id}\t{record.user_id}\t{record.quantity}\t{record.kind}"
        f"\t{by[0]}\t{by[1]}\t{by[2]}\t{NOTHING if record.forgiven is None else record.forgiven}\n"
    )


def _dead(cursor: Any, lane: Lane) -> Iterator[WireRecord]:
    """The dead records of a lane that count, from their columns: their text alone has the rest."""
    cursor.execute(DEAD.format(mine=of_lane(lane, "activity_id")))
    for raw, *place, activity, user, quantity, request_id, entry in cursor.fetchall():
        due = by = forgiven = None
        try:
            record = parse(bytes(raw))
            due, by, forgiven = record.due, record.settled_by, record.forgiven
        except Poison:
            # It was readable when it was kept.
            pass
        yield WireRecord(
            user_id=user, activity_id=activity, item_id=place[3], quantity=quantity, cost_ms=0,
            status="success" if entry == ACCEPTED else entry, timestamp=0,
            source=place[0], partition=place[1], offset=place[2], version=0,
            request_id=request_id, due=due, settled_by=by, forgiven=forgiven,
        )  # fmt: skip


def _text(value: str | None) -> str:
    """A text, or nothing, as COPY reads it."""
    return NOTHING if value is None else value.translate(_ESCAPED)


def stage(found: Waiting) -> None:
    """Copy waiting and dead records into this transaction's temporary table `waiting`, and what
    became of holds into `settling` (late payments stay in `ended`).

    Each record is there once. A dead record that is also in the list, with another text, is the
    same record. The transaction has no limit of time from here on, for a count takes long.

    Each count below is one statement and so sees one snapshot of PostgreSQL: a record that the log
    worker commits meanwhile is either stored or waiting, never both and never neither.
    """
    dead = Waiting(lane=found.lane)
    limits = positions_by_partition(found.positions)
    with connection.cursor() as cursor:
        cursor.execute(f"SET LOCAL work_mem = '{WORK_MEMORY}'")
        cursor.execute(NO_LIMITS)
        for table, more in (("listed", "digest bigint"), ("waiting", "differs boolean")):
            cursor.execute(
                f"CREATE TEMPORARY TABLE IF NOT EXISTS {table} (source uuid, partition int,"
                ' "offset" bigint, item_id bigint, activity_id bigint, user_id bigint,'
                f" quantity bigint, request_id text, due bigint, {more}) ON COMMIT DROP"
            )
            cursor.execute(f"TRUNCATE {table}")
        for table, more in (("ended", ""), ("settling", ", differs boolean")):
            cursor.execute(settled.CREATE.format(table, more))
            cursor.execute(f"TRUNCATE {table}")
        # A dead record has no digest: a replayed one has another text, and is the same record.
        _sort(_dead(cursor, found.lane), limits, dead, digest=NOTHING)
        for table, parts in (
            ("listed", found.rows + dead.rows),
            ("ended", found.ended + dead.ended),
        ):
            with cursor.copy(f"COPY {table} FROM STDIN") as copy:
                for rows in parts:
                    copy.write(rows)
        cursor.execute(ANY_ARCHIVED)
        if cursor.fetchone()[0]:
            # Their orders are elsewhere. What comes again becomes a dead record, and is none.
            for table in ("listed", "ended"):
                cursor.execute(FORGET_ARCHIVED.format(table))
        cursor.execute(
            'INSERT INTO waiting SELECT source, partition, "offset", item_id, min(activity_id),'
            " min(user_id), min(quantity), min(request_id), min(due),"
            " coalesce(min(digest) <> max(digest), false)"
            " OR (min(activity_id), min(user_id), min(quantity), min(coalesce(request_id, '')))"
            " <> (max(activity_id), max(user_id), max(quantity), max(coalesce(request_id, '')))"
            ' FROM listed GROUP BY source, partition, "offset", item_id'
        )
        cursor.execute(settled.GATHER)
        cursor.execute("ANALYZE waiting")
        cursor.execute("ANALYZE settling")


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


def units_by_item(
    positions: Mapping[str, int], activity_id: int | None = None
) -> dict[tuple[int, int], int]:
    """{(activity, item): units} accepted before T and not given back, for all activities or one.

    Call `stage` first, in the same transaction.
    """
    accepted, arguments = accepted_sql(positions)
    returned, more = settled.returned_sql(positions)
    arguments += more
    one = ""
    if activity_id is not None:
        one = " WHERE activity_id = %s"
        arguments.append(activity_id)
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT activity_id, item_id, sum(quantity)::bigint"
            f" FROM (SELECT activity_id, item_id, quantity FROM ({accepted}) AS accepted"
            f" UNION ALL SELECT activity_id, item_id, -quantity FROM ({returned}) AS returned)"
            f" AS sold{one} GROUP BY activity_id, item_id",
            arguments,
        )
        return {(activity, item): units for activity, item, units in cursor.fetchall()}


def totals(activity_id: int, positions: Mapping[str, int]) -> tuple[int, int, int]:
    """(requests, units, records) of an activity accepted before T, whatever became of them.

    Call `stage` first.
    """
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


def units_by_user(
    activity_id: int, positions: Mapping[str, int], *, expired_gives_back: bool = False
) -> dict[int, int]:
    """{user: units} of an activity accepted before T that count against the limit of each.

    What a user gave back does not count, nor what expired and was forgiven. `expired_gives_back` is
    for expired holds of which nobody knows it. Call `stage` first, in one transaction.
    """
    sql, arguments = by_user_sql(positions)
    units = "least" if expired_gives_back else "most"
    with connection.cursor() as cursor:
        cursor.execute(
            f"SELECT user_id, {units} FROM ({sql}) AS bought"
            f" WHERE activity_id = %s AND {units} > 0",
            [*arguments, activity_id],
        )
        return dict(cursor.fetchall())


def by_user_sql(positions: Mapping[str, int]) -> tuple[str, list[Any]]:
    """SQL for (activity_id, user_id, least, most): units that count against limits, at least and at
    most, of who has some at most; and its arguments.

    The two differ by expired holds of which nobody knows whether they were forgiven.
    """
    accepted, arguments = accepted_sql(positions)
    returned, more = settled.returned_sql(positions)
    return (
        "SELECT activity_id, user_id, sum(least)::bigint AS least, sum(most)::bigint AS most FROM ("
        "SELECT activity_id, user_id, quantity AS least, quantity AS most"
        f" FROM ({accepted}) AS accepted"
        " UNION ALL SELECT activity_id, user_id,"
        " CASE WHEN coalesce(forgiven, true) THEN -quantity ELSE 0 END,"
        f" CASE WHEN coalesce(forgiven, kind = '{CANCELLED}') THEN -quantity ELSE 0 END"
        f" FROM ({returned}) AS returned"
        ") AS counted GROUP BY activity_id, user_id HAVING sum(most) > 0",
        arguments + more,
    )


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

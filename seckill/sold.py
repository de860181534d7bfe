"""What is sold, counted from the records themselves: the list, and PostgreSQL.

Owns the one exact way to count while a sale runs: take the positions at a moment T, then the list,
then PostgreSQL. Every record that was accepted before T has an offset below its partition's
position at T, and stands in the list or, when it was trimmed meanwhile, in PostgreSQL.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

import redis
from django.db import connection

from seckill.errors import Poison
from seckill.keys import Lane
from seckill.records import WireRecord, parse, scan

Identity = tuple[UUID, int, int, int]


@dataclass
class Waiting:
    """Records of the list that were accepted before T, each once."""

    records: dict[Identity, WireRecord] = field(default_factory=dict)
    # Texts that are no records: (text, reason).
    unreadable: list[tuple[bytes, str]] = field(default_factory=list)
    # Records that stand in the list twice with different texts.
    conflicting: list[WireRecord] = field(default_factory=list)


def positions_by_partition(positions: Mapping[str, int]) -> dict[tuple[UUID, int], int]:
    """Positions as Redis names them, by source and partition."""
    result = {}
    for name, offset in positions.items():
        source, _, partition = name.rpartition(":")
        result[UUID(source), int(partition)] = offset
    return result


def waiting(client: "redis.Redis", lane: Lane, positions: Mapping[str, int]) -> Waiting:
    """The list's records below the positions, those of partitions without a position included."""
    limits = positions_by_partition(positions)
    found = Waiting()
    for raw in scan(client, lane):
        try:
            record = parse(raw)
        except Poison as poison:
            found.unreadable.append((raw, str(poison)))
            continue
        limit = limits.get((record.source, record.partition))
        if limit is not None and record.offset >= limit:
            continue
        known = found.records.setdefault(record.identity, record)
        if known != record:
            found.conflicting.append(record)
    return found


def stage(found: Waiting) -> None:
    """Copy what waits into a temporary table of this transaction, for the counts below.

    Each count is one statement, so that it sees one snapshot of PostgreSQL: a record that the log
    worker commits meanwhile is either stored for it or waiting, and never both or neither.
    """
    with connection.cursor() as cursor:
        cursor.execute(
            "CREATE TEMPORARY TABLE IF NOT EXISTS waiting (source uuid, partition int,"
            ' "offset" bigint, item_id bigint, activity_id bigint, user_id bigint, quantity bigint)'
            " ON COMMIT DROP"
        )
        cursor.execute("TRUNCATE waiting")
        with cursor.copy("COPY waiting FROM STDIN") as copy:
            for record in found.records.values():
                copy.write_row(
                    (
                        record.source,
                        record.partition,
                        record.offset,
                        record.item_id,
                        record.activity_id,
                        record.user_id,
                        record.quantity,
                    )
                )
        cursor.execute("ANALYZE waiting")


def accepted_sql(positions: Mapping[str, int]) -> tuple[str, list[Any]]:
    """SQL of all records accepted before T, stored or waiting, each once; and its arguments."""
    limits = positions_by_partition(positions)
    below = (
        "NOT EXISTS (SELECT 1 FROM unnest(%s::uuid[], %s::int[], %s::bigint[])"
        " AS p(source, partition, next) WHERE p.source = r.source"
        ' AND p.partition = r.partition AND r."offset" >= p.next)'
    )
    arguments: list[Any] = [
        [source for source, _ in limits],
        [partition for _, partition in limits],
        list(limits.values()),
    ]
    same = (
        "r.source = w.source AND r.partition = w.partition"
        ' AND r."offset" = w."offset" AND r.item_id = w.item_id'
    )
    columns = 'activity_id, item_id, user_id, quantity, source, partition, "offset"'
    return (
        f"SELECT {columns} FROM seckill_record r WHERE {below}"
        f" UNION ALL SELECT {columns} FROM waiting w"
        f" WHERE NOT EXISTS (SELECT 1 FROM seckill_record r WHERE {same})",
        arguments,
    )


def units_by_item(positions: Mapping[str, int]) -> dict[tuple[int, int], int]:
    """{(activity, item): units} accepted before T. `stage` comes first, in one transaction."""
    accepted, arguments = accepted_sql(positions)
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT activity_id, item_id, sum(quantity)::bigint"
            f" FROM ({accepted}) AS accepted GROUP BY activity_id, item_id",
            arguments,
        )
        return {(activity, item): units for activity, item, units in cursor.fetchall()}


def totals(activity_id: int, positions: Mapping[str, int]) -> tuple[int, int, int]:
    """(requests, units, records) of one activity accepted before T. `stage` comes first."""
    accepted, arguments = accepted_sql(positions)
    with connection.cursor() as cursor:
        cursor.execute(
            'SELECT count(DISTINCT (source, partition, "offset")),'
            " coalesce(sum(quantity), 0)::bigint, count(*)"
            f" FROM ({accepted}) AS accepted WHERE activity_id = %s",
            [*arguments, activity_id],
        )
        requests, units, records = cursor.fetchone()
        return requests, units, records


def units_by_user(activity_id: int, positions: Mapping[str, int]) -> dict[int, int]:
    """{user: units} of one activity accepted before T. `stage` comes first, in one transaction."""
    accepted, arguments = accepted_sql(positions)
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT user_id, sum(quantity)::bigint"
            f" FROM ({accepted}) AS accepted WHERE activity_id = %s GROUP BY user_id",
            [*arguments, activity_id],
        )
        return dict(cursor.fetchall())

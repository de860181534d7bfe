"""What became of holds, counted from the settlements: in the list, as rows, and as dead records.

Owns the SQL. Call `sold.stage` first, in the same transaction. `positions` are those of requests
and of settle messages at a moment T: what a message settled before T counts. An expiry has no
message: one that comes after T counts as well. Who needs an exact count compares Redis's counter
of expired holds before and after.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from django.db import connection

from seckill.formats.record import CANCELLED, EXPIRED, PAID, TOO_LATE
from seckill.lane.clicks import Place
from seckill.lane.held import Hold
from seckill.lane.keys import Lane, position_field
from seckill.postgres.lanes import of_lane
from seckill.postgres.limits import limits_sql

# Rows fetched at once.
FETCHED = 10_000
COLUMNS = (
    'source, partition, "offset", item_id, activity_id, user_id, quantity, kind,'
    " settle_source, settle_partition, settle_offset, forgiven"
)
CREATE = (
    "CREATE TEMPORARY TABLE IF NOT EXISTS {} (source uuid, partition int,"
    ' "offset" bigint, item_id bigint, activity_id bigint, user_id bigint, quantity bigint,'
    " kind text, settle_source uuid, settle_partition int, settle_offset bigint,"
    " forgiven boolean{}) ON COMMIT DROP"
)
# The staged settlements, each once: by the identity of the record that each settles.
GATHER = f"""
INSERT INTO settling SELECT source, partition, "offset", item_id, min(activity_id), min(user_id),
    min(quantity), min(kind), (array_agg(settle_source))[1], min(settle_partition),
    min(settle_offset), bool_or(forgiven), count(DISTINCT (activity_id, user_id, quantity, kind,
        settle_source, settle_partition, settle_offset)) > 1 OR count(DISTINCT forgiven) > 1
FROM ended WHERE kind <> '{TOO_LATE}' GROUP BY source, partition, "offset", item_id
"""
SAME = (
    "s.source = w.source AND s.partition = w.partition"
    ' AND s."offset" = w."offset" AND s.item_id = w.item_id'
)
COUNTS = """
SELECT activity_id, kind, count(DISTINCT (source, partition, "offset")),
    coalesce(sum(quantity), 0)::bigint
FROM ({settled}) AS settled GROUP BY 1, 2
"""
LATE = f"""
SELECT activity_id, count(*) FROM (
    SELECT activity_id, settle_source, settle_partition, settle_offset FROM seckill_latepayment
    UNION SELECT activity_id, settle_source, settle_partition, settle_offset FROM ended
    WHERE kind = '{TOO_LATE}') AS late
LEFT JOIN {{limits}} ON p.source = settle_source AND p.partition = settle_partition
WHERE {{before}} GROUP BY 1
"""
ENDS = """
SELECT settle_source::text, settle_partition, max(settle_offset) + 1 FROM (
    SELECT settle_source, settle_partition, settle_offset, activity_id FROM seckill_settlement
    UNION ALL SELECT settle_source, settle_partition, settle_offset, activity_id
    FROM seckill_latepayment
    UNION ALL SELECT settle_source, settle_partition, settle_offset, activity_id FROM ended
    ) AS messages
WHERE settle_source IS NOT NULL AND {mine} GROUP BY 1, 2
"""
HOLDS = f"""
SELECT source::text, partition, "offset", max(due_ms), min(user_id),
    array_agg(item_id ORDER BY item_id), array_agg(quantity ORDER BY item_id)
FROM (
    SELECT source, partition, "offset", item_id, user_id, quantity, activity_id,
        (extract(epoch FROM due) * 1000)::bigint AS due_ms
    FROM seckill_record WHERE due IS NOT NULL AND activity_id = %(activity)s
    UNION ALL
    SELECT source, partition, "offset", item_id, user_id, quantity, activity_id, due
    FROM waiting AS w WHERE due IS NOT NULL AND activity_id = %(activity)s
    AND NOT EXISTS (SELECT 1 FROM seckill_record AS s WHERE {SAME})
) AS w WHERE NOT EXISTS (SELECT 1 FROM seckill_settlement AS s WHERE {SAME})
AND NOT EXISTS (SELECT 1 FROM settling AS s WHERE {SAME})
GROUP BY 1, 2, 3 ORDER BY 1, 2, 3
"""


@dataclass(frozen=True)
class Ended:
    """What became of an activity's holds. `late`: payments that came after the end of one."""

    paid: int = 0
    expired: int = 0
    cancelled: int = 0
    units_paid: int = 0
    units_returned: int = 0
    late: int = 0

    @property
    def holds(self) -> int:
        """All that are settled."""
        return self.paid + self.expired + self.cancelled


def _before_t(positions: Mapping[str, int]) -> str:
    """Whether a message was settled before T. A settle partition without a position then had none:
    its first message must not give units back twice. Without any positions everything counts.
    """
    return "s.settle_offset < m.next" if positions else "true"


def settled_sql(positions: Mapping[str, int]) -> tuple[str, list[Any]]:
    """SQL for all settlements before T, stored or waiting, each once; and its arguments."""
    limits, arguments = limits_sql(positions)
    before = (
        f"LEFT JOIN {limits} ON p.source = s.source AND p.partition = s.partition"
        f" LEFT JOIN {limits.replace(' p(', ' m(')}"
        " ON m.source = s.settle_source AND m.partition = s.settle_partition"
        ' WHERE (p.next IS NULL OR s."offset" < p.next)'
        f" AND (s.settle_offset IS NULL OR {_before_t(positions)})"
    )
    names = ", ".join(f"s.{name}" for name in COLUMNS.split(", "))
    return (
        f"SELECT {names} FROM seckill_settlement AS s {before}"
        f" UNION ALL SELECT {names} FROM settling AS s {before}"
        " AND NOT EXISTS (SELECT 1 FROM seckill_settlement AS w WHERE " + SAME + ")",
        [*arguments, *arguments] * 2,
    )


def returned_sql(positions: Mapping[str, int]) -> tuple[str, list[Any]]:
    """SQL for the settlements before T that gave units back; and its arguments."""
    settled, arguments = settled_sql(positions)
    return (
        f"SELECT * FROM ({settled}) AS settled WHERE kind IN ('{EXPIRED}', '{CANCELLED}')",
        arguments,
    )


def returned_by_item(positions: Mapping[str, int]) -> dict[tuple[int, int], int]:
    """{(activity, item): units} that came back before T."""
    returned, arguments = returned_sql(positions)
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT activity_id, item_id, sum(quantity)::bigint"
            f" FROM ({returned}) AS returned GROUP BY activity_id, item_id",
            arguments,
        )
        return {(activity, item): units for activity, item, units in cursor.fetchall()}


def ended(positions: Mapping[str, int]) -> dict[int, Ended]:
    """What became of holds before T, by activity."""
    found: dict[int, dict[str, int]] = {}
    settled, arguments = settled_sql(positions)
    limits, late_arguments = limits_sql(positions)
    with connection.cursor() as cursor:
        cursor.execute(COUNTS.format(settled=settled), arguments)
        for activity, kind, holds, units in cursor.fetchall():
            counts = found.setdefault(activity, {})
            counts[kind] = holds
            name = "units_paid" if kind == PAID else "units_returned"
            counts[name] = counts.get(name, 0) + units
        before = "settle_offset < p.next" if positions else "true"
        cursor.execute(LATE.format(limits=limits, before=before), late_arguments)
        for activity, number in cursor.fetchall():
            found.setdefault(activity, {})["late"] = number
    return {activity: Ended(**counts) for activity, counts in found.items()}


def settle_ends(lane: Lane) -> dict[str, int]:
    """{source:partition of a lane's settle topic: the offset after the last one that left an
    entry}.
    """
    with connection.cursor() as cursor:
        cursor.execute(ENDS.format(mine=of_lane(lane, "activity_id")))
        return {position_field(source, part): end for source, part, end in cursor.fetchall()}


def holds_of(activity_id: int) -> Iterator[Hold]:
    """The holds of an activity that nobody has settled, each once, ordered by their places.

    Read them to the end.
    """
    with connection.chunked_cursor() as cursor:
        cursor.execute(HOLDS, {"activity": activity_id})
        while rows := cursor.fetchmany(FETCHED):
            for source, part, offset, due_ms, user, items, units in rows:
                bought = dict(zip(items, units, strict=True))
                yield Hold(Place(source, part, offset), due_ms, user, bought)


def count_held(activity_id: int) -> int:
    """How many holds of an activity nobody has settled."""
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT count(*) FROM ({HOLDS}) AS held", {"activity": activity_id})
        return int(cursor.fetchone()[0])


def settled_offsets(source: str, partition: int) -> dict[int, str]:
    """{offset of the hold: how it ended} in one partition of requests."""
    with connection.cursor() as cursor:
        cursor.execute(
            'SELECT DISTINCT "offset", kind FROM seckill_settlement'
            " WHERE source = %(source)s AND partition = %(partition)s"
            ' UNION SELECT "offset", kind FROM settling'
            " WHERE source = %(source)s AND partition = %(partition)s",
            {"source": source, "partition": partition},
        )
        return dict(cursor.fetchall())

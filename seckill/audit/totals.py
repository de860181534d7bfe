"""The audit's SQL: sums over stored and waiting records in one snapshot of PostgreSQL.

It reads the stored records once, in the order of their index, and the waiting records once: a
million orders take seconds.
"""

from collections import defaultdict
from dataclasses import dataclass

from django.db import connection, transaction

from seckill.audit.checks import Totals
from seckill.formats.record import CANCELLED, EXPIRED, same_content, same_identity
from seckill.lane.keys import Lane
from seckill.postgres import settled
from seckill.postgres.lanes import of_lane
from seckill.postgres.limits import limits_sql

# Marks the first record of each request in the order of the unique index, to count requests.
FIRST = (
    '"offset" IS DISTINCT FROM lag("offset")'
    ' OVER (PARTITION BY source, partition ORDER BY "offset") AS first'
)
STORED = f"""
SELECT source, partition, activity_id, item_id,
       coalesce(sum(quantity) FILTER (WHERE below), 0)::bigint, count(*) FILTER (WHERE below),
       count(*) FILTER (WHERE below AND first), sum(quantity)::bigint, count(*)
FROM (SELECT r.*, p.next IS NULL OR r."offset" < p.next AS below
      FROM (SELECT source, partition, "offset", activity_id, item_id, quantity, {FIRST}
            FROM seckill_record WHERE {{mine}}) r
      LEFT JOIN {{limits}} USING (source, partition)) AS stored
GROUP BY source, partition, activity_id, item_id
"""
WAITING = f"""
SELECT source, partition, activity_id, item_id, sum(quantity)::bigint, count(*),
       count(*) FILTER (WHERE first AND NOT request_stored)
FROM (SELECT w.*, {FIRST}, EXISTS (
          SELECT 1 FROM seckill_record r WHERE r.source = w.source AND r.partition = w.partition
          AND r."offset" = w."offset") AS request_stored
      FROM waiting w
      WHERE NOT EXISTS (SELECT 1 FROM seckill_record r WHERE {same_identity("r", "w")})) AS fresh
GROUP BY source, partition, activity_id, item_id
"""
# Records that are in two places with different contents.
DIFFERING = f"""
SELECT w.source, w.partition, w."offset", w.item_id, count(*) OVER ()
FROM waiting w LEFT JOIN seckill_record r ON {same_identity("r", "w")}
WHERE w.differs OR (r.id IS NOT NULL AND NOT {same_content("r", "w")})
ORDER BY 1, 2, 3, 4 LIMIT 1
"""
UNIQUE = """
SELECT count(*) FROM pg_constraint WHERE conname = 'record_stored_once' AND contype = 'u'
AND conrelid = 'seckill_record'::regclass
"""
INVENTORY = """
SELECT activity_id, item_id, allocation, sold, returned FROM seckill_item WHERE {mine}
AND activity_id NOT IN (SELECT id FROM seckill_activity WHERE archived_at IS NOT NULL)
"""
ARCHIVED = """
SELECT archived_in, count(*) FROM seckill_activity WHERE archived_at IS NOT NULL AND lane = %s
GROUP BY 1 ORDER BY min(archived_at)
"""
RETURNED = """
SELECT source::text, partition, activity_id, item_id, sum(quantity)::bigint
FROM ({returned}) AS returned WHERE {mine} GROUP BY 1, 2, 3, 4
"""
STORED_RETURNED = f"""
SELECT activity_id, item_id, sum(quantity)::bigint FROM seckill_settlement
WHERE kind IN ('{EXPIRED}', '{CANCELLED}') AND {{mine}} GROUP BY 1, 2
"""


@dataclass(frozen=True)
class Sums:
    """One item in one partition: what was accepted before T, and everything that is stored."""

    source: str
    partition: int
    activity_id: int
    item_id: int
    units: int
    records: int
    requests: int
    stored_units: int = 0
    stored_records: int = 0


@dataclass(frozen=True)
class Counts:
    """Everything that was counted."""

    sums: list[Sums]
    # (source, partition, activity, item, units) that came back before T; and all that are stored.
    returned: list[tuple[str, int, int, int, int]]
    stored_returned: dict[tuple[int, int], int]
    inventory: dict[tuple[int, int], tuple[int, int, int]]
    differing: str
    stored_once: bool

    def without(self, places: set[str]) -> Totals:
        """The totals without these partitions (source:partition), accepted only after T."""
        units: dict[tuple[int, int], int] = defaultdict(int)
        stored: dict[tuple[int, int], int] = defaultdict(int)
        records: dict[int, int] = defaultdict(int)
        requests: dict[int, int] = defaultdict(int)
        for part in self.sums:
            item = part.activity_id, part.item_id
            stored[item] += part.stored_units
            if f"{part.source}:{part.partition}" not in places and part.records:
                units[item] += part.units
                records[part.activity_id] += part.records
                requests[part.activity_id] += part.requests
        returned: dict[tuple[int, int], int] = defaultdict(int)
        for source, partition, activity_id, item_id, number in self.returned:
            if f"{source}:{partition}" not in places:
                returned[activity_id, item_id] += number
        return Totals(
            units=dict(units),
            returned=dict(returned),
            stored_returned=self.stored_returned,
            records=dict(records),
            requests=dict(requests),
            stored=sum(part.stored_records for part in self.sums),
            inventory=self.inventory,
            stored_by_item=dict(stored),
            differing=self.differing,
            stored_once=self.stored_once,
        )


def count(positions: dict[str, int], lane: Lane) -> Counts:
    """Count everything of a lane. Call `sold.stage` first, in the same `snapshot`."""
    limits, arguments = limits_sql(positions)
    mine = of_lane(lane, "activity_id")
    with connection.cursor() as cursor:
        cursor.execute(STORED.format(limits=limits, mine=mine), arguments)
        sums = [Sums(str(source), *rest) for source, *rest in cursor.fetchall()]
        cursor.execute(WAITING)
        sums += [Sums(str(source), *rest) for source, *rest in cursor.fetchall()]
        cursor.execute(DIFFERING)
        differing = cursor.fetchone()
        cursor.execute(INVENTORY.format(mine=mine))
        inventory = {(activity, item): tuple(rest) for activity, item, *rest in cursor.fetchall()}
        sql, arguments = settled.returned_sql(positions)
        cursor.execute(RETURNED.format(returned=sql, mine=mine), arguments)
        returned = cursor.fetchall()
        cursor.execute(STORED_RETURNED.format(mine=mine))
        stored_returned = {(activity, item): units for activity, item, units in cursor.fetchall()}
        cursor.execute(UNIQUE)
        stored_once = cursor.fetchone()[0] == 1
    text = ""
    if differing:
        source, partition, offset, item, number = differing
        text = f"{source}:{partition}:{offset}, item {item} (and {number - 1} more)"
    return Counts(sums, returned, stored_returned, inventory, text, stored_once)


def archived(lane: Lane) -> list[tuple[str, int]]:
    """Where the orders of a lane's archived activities are, and how many activities each has."""
    with connection.cursor() as cursor:
        cursor.execute(ARCHIVED, [lane.name])
        return list(cursor.fetchall())


def begun_acts(lane: Lane) -> list[int]:
    """The activity of each act in a lane that has begun and not ended: running, or cut off."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT activity_id FROM seckill_stockchange WHERE state = 'started' AND "
            + of_lane(lane, "activity_id")
        )
        return [activity_id for (activity_id,) in cursor.fetchall()]


def locked_activities(activities: set[int]) -> set[int]:
    """Which of the activities an operator's act has locked at this moment."""
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("SELECT id FROM seckill_activity WHERE id = ANY(%s)", [list(activities)])
        known = {pk for (pk,) in cursor.fetchall()}
        cursor.execute(
            "SELECT id FROM seckill_activity WHERE id = ANY(%s) FOR SHARE SKIP LOCKED",
            [list(activities)],
        )
        return known - {pk for (pk,) in cursor.fetchall()}

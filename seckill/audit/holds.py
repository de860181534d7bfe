"""The audit of holds: the five invariants of what is held, paid, expired and given back.

Owns the reads and the checks. Like the whole audit it compares one moment T. A settlement by
message has a position, so it counts exactly. An expiry has none: those that came while the audit
looked are known by Redis's counters, read again afterwards, and nothing is a finding that they
explain.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import redis
from django.db import connection

from seckill.audit.checks import (
    FROM_KAFKA,
    KAFKA_KNOWS,
    LOOK_AT_THE_PLAN,
    NEVER_DROPPED,
    NEVER_LOST,
    NEVER_OVERSOLD,
    NEVER_TWICE,
    Finding,
)
from seckill.lane import board
from seckill.lane.client import read_together, redis_errors
from seckill.lane.held import look_through
from seckill.lane.keys import BOARD_STRING, Lane
from seckill.lane.status import LaneStatus
from seckill.postgres import settled
from seckill.postgres.lanes import of_lane
from seckill.postgres.settled import Ended

# Holds and settlements that are compared one by one.
SAMPLE = 1_000
# A hold that is due for so long, although the settlers have read all since: nobody expires it.
OVERDUE_MS = 60_000
HELD = """
SELECT activity_id, count(DISTINCT (source, partition, "offset")) FROM (
    SELECT activity_id, source, partition, "offset" FROM seckill_record AS r
    LEFT JOIN {limits} USING (source, partition)
    WHERE due IS NOT NULL AND (p.next IS NULL OR r."offset" < p.next)
    UNION ALL SELECT activity_id, source, partition, "offset" FROM waiting
    WHERE due IS NOT NULL) AS held GROUP BY 1
"""
# The order of a settlement. What lies before T is the same for both: they have one place.
OF_ORDER = """r.source = s.source AND r.partition = s.partition AND r."offset" = s."offset"
    AND r.item_id = s.item_id AND r.user_id = s.user_id AND r.activity_id = s.activity_id
    AND r.quantity = s.quantity"""
WAITING_BY_IDENTITY = (
    'CREATE INDEX IF NOT EXISTS waiting_identity ON waiting (source, partition, "offset")'
)
# Each looked up by its identity. Joined with all accepted orders as one, PostgreSQL may read all of
# them for each settlement: minutes for 30,000 holds.
ALONE = f"""
SELECT s.source || ':' || s.partition || ':' || s."offset" || ', item ' || s.item_id
FROM ({{settled}}) AS s
WHERE NOT EXISTS (SELECT 1 FROM seckill_record AS r WHERE {OF_ORDER})
AND NOT EXISTS (SELECT 1 FROM waiting AS r WHERE {OF_ORDER}) AND {{mine}} LIMIT 1
"""
DIFFERING = f"""
SELECT w.source || ':' || w.partition || ':' || w."offset" || ', item ' || w.item_id
FROM settling AS w LEFT JOIN seckill_settlement AS s ON {settled.SAME}
WHERE w.differs OR (s.id IS NOT NULL AND (s.kind, s.user_id, s.activity_id, s.quantity,
    s.settle_source, s.settle_partition, s.settle_offset) IS DISTINCT FROM (w.kind, w.user_id,
    w.activity_id, w.quantity, w.settle_source, w.settle_partition, w.settle_offset))
    OR s.forgiven <> w.forgiven LIMIT 1
"""
SOME = """
SELECT source::text, partition, "offset", kind FROM ({settled}) AS settled WHERE {mine}
ORDER BY "offset" %% 7919, source, partition, "offset" LIMIT %s
"""
ONCE = """
SELECT count(*) FROM pg_constraint WHERE conname IN ('hold_settled_once', 'late_payment_once')
AND contype = 'u'
"""


@dataclass(frozen=True)
class Proved:
    """What the entries of the list and PostgreSQL say of holds before T."""

    # Requests that were held, and how they ended, by activity.
    held: dict[int, int] = field(default_factory=dict)
    ended: dict[int, Ended] = field(default_factory=dict)
    # A settlement that settles no accepted order; one that exists twice, with two contents. Or "".
    alone: str = ""
    differing: str = ""
    settled_once: bool = True
    # (source, partition, offset) -> kind, of some settlements.
    some: dict[tuple[str, int, int], str] = field(default_factory=dict)
    # What Redis says of them and of its own holds, in words; "" if it agrees.
    board: str = ""
    overdue: str = ""
    torn: str = ""
    # Holds in Redis's own book, by activity.
    there: dict[int, int] = field(default_factory=dict)


def prove(lane: LaneStatus, named: Lane) -> Proved:
    """Count. `named` is the lane whose status this is.

    Call `sold.stage` first, in the transaction of the snapshot.
    """
    positions = lane.limits
    settled_sql, arguments = settled.settled_sql(positions)
    limits, held_arguments = settled.limits_sql(positions)
    with connection.cursor() as cursor:
        cursor.execute(ONCE)
        once = cursor.fetchone()[0] == 2
        if not _any(lane, cursor):
            return Proved(settled_once=once)
        cursor.execute(HELD.format(limits=limits), held_arguments)
        held = dict(cursor.fetchall())
        # Else each settlement would be compared with each order that waits.
        cursor.execute(WAITING_BY_IDENTITY)
        cursor.execute(
            ALONE.format(settled=settled_sql, mine=of_lane(named, "s.activity_id")), arguments
        )
        alone = cursor.fetchone()
        cursor.execute(DIFFERING)
        differing = cursor.fetchone()
        mine = of_lane(named, "activity_id")
        cursor.execute(SOME.format(settled=settled_sql, mine=mine), [*arguments, SAMPLE])
        some = {(source, part, offset): kind for source, part, offset, kind in cursor.fetchall()}
    return Proved(
        held=held,
        ended=settled.ended(positions),
        alone=alone[0] if alone else "",
        differing=differing[0] if differing else "",
        settled_once=once,
        some=some,
    )


def _any(lane: LaneStatus, cursor: Any) -> bool:
    """Whether there is anything to count: a sale without holds pays nothing."""
    if lane.settle_positions or any(activity.has_holds for activity in lane.activities.values()):
        return True
    cursor.execute(
        "SELECT EXISTS (SELECT FROM seckill_settlement) OR EXISTS (SELECT FROM ended)"
        " OR EXISTS (SELECT FROM seckill_latepayment)"
    )
    return bool(cursor.fetchone()[0])


def compare(client: "redis.Redis", lane: Lane, before: LaneStatus, proved: Proved) -> Proved:
    """Look at Redis's books, after those of PostgreSQL. Raises RedisAway."""
    looks = {
        number: look_through(client, lane, number)
        for number, activity in before.activities.items()
        if activity.has_holds
    }
    return replace(
        proved,
        board=_board(client, lane, proved.some),
        overdue=_overdue(client, lane, before),
        torn=_torn(client, lane, before.activities)
        or next((f"activity {n}: {wrong}" for n, (_, wrong) in looks.items() if wrong), ""),
        there={number: holds for number, (holds, _) in looks.items()},
    )


def _board(client: "redis.Redis", lane: Lane, some: Mapping[tuple[str, int, int], str]) -> str:
    """A settled hold is never settled again: its byte must be what the settlement says."""
    pipe = client.pipeline(transaction=False)
    for source, partition, offset in some:
        number, index = divmod(offset, BOARD_STRING)
        pipe.getrange(lane.board(source, partition, number), index, index)
    with redis_errors():
        bytes_there = pipe.execute() if some else []
    for (place, kind), byte in zip(some.items(), bytes_there, strict=True):
        if byte != bytes([board.BYTE_OF[kind]]):
            where = ":".join(map(str, place))
            return f"the hold at {where} is {kind}, the board says {byte.decode() or 'nothing'}"
    return ""


def _overdue(client: "redis.Redis", lane: Lane, before: LaneStatus) -> str:
    """A hold that should have expired: all settle partitions were read long after it was due."""
    if not before.settle_read:
        return ""
    limit = min(before.settle_read.values()) - OVERDUE_MS
    for number, activity in before.activities.items():
        if not activity.holds.held:
            continue
        with redis_errors():
            first: Any = client.zrangebyscore(
                lane.activity(number).due, "-inf", limit, start=0, num=1, withscores=True
            )
        for block, due in first:
            late_s = round((limit + OVERDUE_MS - due) / 1000)
            return f"activity {number}: a hold in block {block.decode()} is due for {late_s:,} s"
    return ""


def _torn(client: "redis.Redis", lane: Lane, activities: Iterable[int]) -> str:
    for number in activities:
        names = lane.activity(number)
        with redis_errors():
            holds, times = read_together(client, ("HLEN", names.held), ("ZCARD", names.due))
        if holds != times:
            return f"activity {number}: {holds:,} blocks of holds, {times:,} times of blocks"
    return ""


def checks(before: LaneStatus, after: LaneStatus, proved: Proved) -> Iterator[Finding | None]:
    """Every check of holds, one answer each."""
    yield _unless(
        proved.settled_once,
        NEVER_TWICE,
        "tables seckill_settlement and seckill_latepayment",
        "a unique constraint is missing: a hold could be settled twice",
        "stop the log workers, remove duplicates, add the constraint again",
    )
    yield from _messages(before)
    yield _unless(
        not proved.alone,
        NEVER_TWICE,
        proved.alone,
        "a settlement of a hold that no accepted order made: its units never left",
        "somebody wrote it by hand: " + KAFKA_KNOWS,
    )
    yield _unless(
        not proved.differing,
        NEVER_TWICE,
        proved.differing,
        "a hold is settled in two ways (list, row, dead record)",
        "stop the settlers; keep the topics and Redis's files",
    )
    yield _unless(not proved.board, NEVER_TWICE, "the board", proved.board, LOOK_AT_THE_PLAN)
    yield _unless(not proved.torn, NEVER_LOST, "holds", proved.torn, LOOK_AT_THE_PLAN)
    moved = any(
        activity.holds.expired != before.activities[number].holds.expired
        for number, activity in after.activities.items()
        if number in before.activities
    )
    yield _unless(
        not proved.overdue or moved,
        NEVER_LOST,
        "a hold",
        f"{proved.overdue}: it keeps units from being sold, and nobody lets it expire",
        "start manage.py run_settler; if one runs, see its log",
    )
    for number, activity in before.activities.items():
        ended = proved.ended.get(number, Ended())
        held = proved.held.get(number, 0)
        if not activity.has_holds and not held and ended == Ended():
            continue
        later = after.activities.get(number, activity)
        late = max(0, later.holds.expired - activity.holds.expired)
        late_units = max(0, later.holds.units_returned - activity.holds.units_returned)
        who = f"activity {number}"
        for name, counted, shown, slack in (
            ("paid holds", activity.holds.paid, ended.paid, 0),
            ("holds given back", activity.holds.cancelled, ended.cancelled, 0),
            ("late payments", activity.holds.too_late, ended.late, 0),
            ("units paid", activity.holds.units_paid, ended.units_paid, 0),
            ("expired holds", activity.holds.expired, ended.expired, late),
            ("units returned", activity.holds.units_returned, ended.units_returned, late_units),
        ):
            yield _unless(
                counted <= shown <= counted + slack,
                NEVER_LOST if counted > shown else NEVER_TWICE,
                who,
                f"{name}: the scripts counted {counted}, the settlements say {shown}",
                FROM_KAFKA if counted > shown else KAFKA_KNOWS,
            )
        left = held - ended.holds
        yield _unless(
            left <= activity.holds.held <= left + late,
            NEVER_LOST if activity.holds.held < left else NEVER_OVERSOLD,
            f"{who}, its holds",
            f"{held} requests were held, {ended.holds} are settled: {left} are held, and Redis "
            f"holds {activity.holds.held}",
            LOOK_AT_THE_PLAN,
        )
        there = proved.there.get(number, 0)
        gone, made = later.holds.ended - activity.holds.ended, later.holds.all - activity.holds.all
        yield _unless(
            activity.holds.held - gone <= there <= activity.holds.held + made,
            NEVER_LOST if there < activity.holds.held else NEVER_OVERSOLD,
            f"{who}, its holds",
            f"the scripts counted {activity.holds.held} holds, and there are {there}",
            LOOK_AT_THE_PLAN,
        )


def _messages(lane: LaneStatus) -> Iterator[Finding | None]:
    """Invariant 4 for settle messages: each has one outcome."""
    positions, outcomes = sum(lane.settle_positions.values()), sum(lane.settle_stats.values())
    yield _unless(
        positions == outcomes,
        NEVER_DROPPED,
        "the sum over all partitions of the settle topic",
        f"positions add up to {positions}, outcomes to {outcomes}",
        KAFKA_KNOWS,
    )


def _unless(
    holds: bool, invariant: str, culprit: str, explanation: str, act: str
) -> Finding | None:
    return None if holds else Finding(invariant, culprit, explanation, act)

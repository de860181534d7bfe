"""What the audit reads besides the sums: lane, leader, clocks, limits, lost data.

Owns the reads for `checks.foundations` and `checks.limits`. Changes nothing.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import redis
from django.db import connection

from seckill.audit.checks import Ground
from seckill.dead_letters import records as dead_records
from seckill.dead_letters.records import Kind
from seckill.errors import PostgresAway, RedisAway
from seckill.lane.clicks import click_field, look_up
from seckill.lane.client import redis_errors
from seckill.lane.keys import Lane
from seckill.lane.status import LaneStatus
from seckill.postgres import lease, sold
from seckill.postgres.claims import claim_of_lane
from seckill.postgres.lanes import stranger
from seckill.postgres.lease import LaneRow, PostgresOlder
from seckill.postgres.witness import Steered, last_rows, lost_entries, lost_rows, steered
from seckill.process.printable import preview

# Buyers, and clicks, per activity that are compared one by one.
SAMPLE = 1_000
BUYERS = """
SELECT activity_id, count(*) FILTER (WHERE least > 0), count(*),
    (array_agg(user_id ORDER BY user_id %% 7919) FILTER (WHERE least > 0))[1:%s],
    (array_agg(least ORDER BY user_id %% 7919) FILTER (WHERE least > 0))[1:%s]
FROM ({bought}) AS bought WHERE activity_id = ANY(%s) GROUP BY activity_id
"""


CLICKS = """
SELECT activity_id, count(*),
    (array_agg(user_id || ' ' || request_id ORDER BY user_id %% 7919))[1:%s]
FROM (SELECT DISTINCT activity_id, user_id, request_id FROM ({accepted}) AS accepted
      WHERE activity_id = ANY(%s) AND request_id <> '') AS clicked GROUP BY activity_id
"""


@dataclass(frozen=True)
class Compared:
    """What PostgreSQL says at the audit's snapshot."""

    row: LaneRow | None
    # Why PostgreSQL is older than Redis; "" if it is not.
    older: str
    # {source:partition: the offset after the last stored record}
    ends: dict[str, int]
    acts: dict[int, Steered]
    dead: dict[Kind, int]
    # Who is deciding on another Redis now.
    others: list[str]
    # An activity that this Redis holds, and that is another lane's, in words; "" for none.
    stranger: str


@dataclass(frozen=True)
class Buyers:
    """How many users have units that count against the limit, at least and at most; and a sample of
    those that have at least some: {user: units}.

    The two differ by expired holds of which nobody knows whether they were forgiven.
    """

    least: int
    most: int
    sample: dict[int, int]


@dataclass(frozen=True)
class Clicks:
    """How many accepted requests have an id, and a sample of them: (user, request id)."""

    number: int
    sample: list[tuple[int, str]]


def compared(lane: Lane, before: LaneStatus, run_id: str) -> Compared:
    """What PostgreSQL has seen, in the transaction of the audit's snapshot."""
    with connection.cursor() as cursor:
        row = lease.read(cursor, lane.list)
        older = lost_rows(cursor, before.stored) if before.stored else ""
        older = older or lost_entries(cursor, before)
        try:
            lease.compare(row, claim_of_lane(before))
        except PostgresOlder as lost:
            older = older or str(lost)
        except RedisAway:
            # `look_at_ground` reports this.
            pass
        return Compared(
            row,
            older,
            last_rows(cursor, lane),
            steered(cursor, lane),
            dead_records.count(cursor, lane),
            lease.others(cursor, lane.list, run_id),
            stranger(cursor, lane, before.activities),
        )


def server_of(client: "redis.Redis") -> str:
    """The run id of the Redis process. Raises RedisAway."""
    with redis_errors():
        return str(client.info("server")["run_id"])


def look_at_ground(client: "redis.Redis", before: LaneStatus, seen: Compared) -> Ground:
    """The lane, its leader, Redis's policy, and both clocks at one moment. Raises RedisAway."""
    with redis_errors():
        memory: dict[str, Any] = client.info("memory")
        seconds, _micros = client.time()
    with connection.cursor() as cursor:
        cursor.execute("SELECT extract(epoch FROM clock_timestamp())::bigint")
        (postgres_s,) = cursor.fetchone()
    return Ground(
        lane=_not_one_lane(before, seen),
        policy=str(memory.get("maxmemory_policy", "")),
        redis_ms=seconds * 1000,
        lane_ms=before.clock_ms,
        postgres_ms=postgres_s * 1000,
        unreadable=seen.dead.get(Kind.UNREADABLE, 0),
        overlap=seen.dead.get(Kind.OVERLAP, 0),
    )


def _not_one_lane(before: LaneStatus, seen: Compared) -> str:
    if seen.stranger:
        return seen.stranger
    if seen.row is None and not before.identity:
        # Nothing was decided, changed or stored since lanes have identities.
        return ""
    try:
        lease.compare(seen.row, claim_of_lane(before))
    except PostgresAway:
        # Reported as an older PostgreSQL.
        return ""
    except RedisAway as wrong:
        return str(wrong)
    if seen.others or (seen.row is not None and seen.row.term > before.term):
        return "another Redis leads this lane: what this one decides is not sold" + (
            f" (deciding on the other one: {', '.join(seen.others[:3])})" if seen.others else ""
        )
    return ""


def buyers_of(activities: set[int], positions: Mapping[str, int]) -> dict[int, Buyers]:
    """Who has bought in these activities before the positions. Call `sold.stage` first."""
    if not activities:
        return {}
    bought, arguments = sold.by_user_sql(positions)
    with connection.cursor() as cursor:
        cursor.execute(BUYERS.format(bought=bought), [SAMPLE, SAMPLE, *arguments, list(activities)])
        return {
            activity: Buyers(least, most, dict(zip(some or (), units or (), strict=True)))
            for activity, least, most, some, units in cursor.fetchall()
        }


def forgotten(client: "redis.Redis", lane: Lane, buyers: Mapping[int, Buyers]) -> dict[int, str]:
    """By activity, a user for whom Redis has fewer units than the records. Raises RedisAway.

    Redis is read after the records, so it must have at least as many units.
    """
    found = {}
    for activity, some in buyers.items():
        with redis_errors():
            known: Any = client.hmget(lane.activity(activity).buyers, list(map(str, some.sample)))
        for (user, units), has in zip(some.sample.items(), known, strict=True):
            if int(has or 0) < units:
                found[activity] = (
                    f"user {user} has bought {units} units, Redis knows {int(has or 0)}: more "
                    "could be bought than the limit allows"
                )
                break
    return found


def clicks_in_records(activities: set[int], positions: Mapping[str, int]) -> dict[int, Clicks]:
    """The clicks of these activities before the positions. Call `sold.stage` first."""
    if not activities:
        return {}
    accepted, arguments = sold.accepted_sql(positions)
    with connection.cursor() as cursor:
        cursor.execute(CLICKS.format(accepted=accepted), [SAMPLE, *arguments, list(activities)])
        return {
            activity: Clicks(number, [_click(text) for text in some])
            for activity, number, some in cursor.fetchall()
        }


def _click(text: str) -> tuple[int, str]:
    user, _, request_id = text.partition(" ")
    return int(user), request_id


def unclicked(client: "redis.Redis", lane: Lane, clicks: Mapping[int, Clicks]) -> dict[int, str]:
    """By activity, a click of the records that Redis does not know. Raises RedisAway."""
    found = {}
    for activity, some in clicks.items():
        fields = [click_field(*click) for click in some.sample]
        for (user, request_id), place in zip(
            some.sample, look_up(client, lane, activity, fields), strict=True
        ):
            if place is None:
                found[activity] = (
                    f"user {user} has an order with request id {preview(request_id.encode(), 80)}, "
                    "Redis does not know the click: if it is repeated, it buys again"
                )
                break
    return found

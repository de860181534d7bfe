"""What PostgreSQL has seen of a lane, to be compared with what Redis says now.

Owns the comparison that detects a Redis that went back in time: a stored record that Redis has not
decided, an operator's act that it does not know, a missing part. It also detects a PostgreSQL that
has lost what it had stored, or an act. Reads only. No Django: consumers use it too.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from seckill.errors import PostgresAway, RedisAway
from seckill.lane.keys import Lane, position_field
from seckill.lane.status import ActivityStatus, LaneStatus
from seckill.postgres.lanes import Cursor, of_lane
from seckill.postgres.lease import Claim, LaneRow, compare

# The last stored record of each partition, by a few descents of the identity's index per partition.
# A topic is one lane's: whose the last record is says whose all are.
LAST_ROWS = """
WITH RECURSIVE places AS (
    (SELECT source, partition FROM seckill_record ORDER BY source, partition LIMIT 1)
    UNION ALL
    SELECT following.source, following.partition FROM places AS p CROSS JOIN LATERAL (
        SELECT source, partition FROM seckill_record AS r
        WHERE (r.source, r.partition) > (p.source, p.partition)
        ORDER BY source, partition LIMIT 1) AS following
)
SELECT source::text, partition, last."offset" + 1
FROM places AS p CROSS JOIN LATERAL (
    SELECT "offset", activity_id FROM seckill_record AS r
    WHERE r.source = p.source AND r.partition = p.partition ORDER BY "offset" DESC LIMIT 1) AS last
WHERE {mine}
"""
# Partitions whose last stored record is gone.
LOST_ROWS = """
SELECT s.source::text, s.partition, s.following
FROM unnest(%s::uuid[], %s::int[], %s::bigint[]) AS s(source, partition, following)
WHERE NOT EXISTS (
    SELECT 1 FROM seckill_record AS r WHERE r.source = s.source AND r.partition = s.partition
    AND r."offset" = s.following - 1)
ORDER BY 1, 2 LIMIT 1
"""
JOURNAL = "SELECT id, at FROM seckill_stockchange WHERE id = ANY(%s)"
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
ACTS = """
SELECT a.id, a.paused, a.finished, a.opens_at, a.closes_at, a.user_limit, a.timeout_ms, a.hold_s,
    COALESCE(a.part || '/' || a.parts, ''),
    (SELECT max(version) FROM seckill_stockchange AS c
     WHERE c.activity_id = a.id AND c.state = 'applied')
FROM seckill_activity AS a WHERE a.lane = %s AND a.archived_at IS NULL
"""


@dataclass(frozen=True)
class Steered:
    """An activity after the journal's applied acts. Times in ms. Version 0: no act yet."""

    paused: bool
    finished: bool
    opens_at: int | None
    closes_at: int | None
    user_limit: int | None
    timeout: int | None
    version: int
    hold_s: int | None = None
    part: str = ""


def last_rows_sql(lane: Lane) -> str:
    """SQL for (source, partition, the offset after the last stored record) of a lane."""
    return LAST_ROWS.format(mine=of_lane(lane, "last.activity_id"))


def last_rows(cursor: Cursor, lane: Lane) -> dict[str, int]:
    """{source:partition: the offset after the last stored record}, of a lane."""
    cursor.execute(last_rows_sql(lane))
    return {position_field(source, part): after for source, part, after in cursor.fetchall()}


def lost_rows(cursor: Cursor, stored: Mapping[str, int]) -> str:
    """A stored record that PostgreSQL no longer has, in words; "" if all last ones are there.

    `stored` comes from Redis: {source:partition: the offset after the last stored record}. Read it
    before the call, so that PostgreSQL has committed all that it names.
    """
    places = [name.rpartition(":") for name in stored]
    cursor.execute(
        LOST_ROWS,
        ([s for s, _, _ in places], [int(p) for _, _, p in places], list(stored.values())),
    )
    gone = cursor.fetchone()
    if gone is None:
        return ""
    return f"record {gone[0]}:{gone[1]}:{gone[2] - 1} was stored, and is not there any more"


def mark(number: int, at: datetime) -> str:
    """A row of the journal as Redis names it. A PostgreSQL that comes back older gives the number
    alone again.
    """
    return f"{number}:{(at - EPOCH) // timedelta(microseconds=1)}"


def is_lost(cursor: Cursor, named: str) -> bool:
    """Whether a row of the journal that Redis names is not there any more.

    It was committed before Redis heard of it. Earlier versions named it by its number alone, and
    nothing can be said of that.
    """
    number, _, at = named.partition(":")
    if not at:
        return False
    cursor.execute(JOURNAL, ([int(number)],))
    found = cursor.fetchone()
    return found is None or mark(*found) != named


def lost_entries(cursor: Cursor, lane: LaneStatus) -> str:
    """Which act that Redis has done the journal does not know any more, in words; "" none."""
    for number, activity in lane.activities.items():
        if is_lost(cursor, activity.journal):
            return (
                f"the journal had a row of the last act in activity {number} (version "
                f"{activity.version}), and has it not any more"
            )
    return ""


def steered(cursor: Cursor, lane: Lane) -> dict[int, Steered]:
    """All activities of a lane by id, according to the journal."""

    def ms(moment: Any) -> int | None:
        return None if moment is None else round(moment.timestamp() * 1000)

    cursor.execute(ACTS, (lane.name,))
    return {
        number: Steered(
            paused, finished, ms(opens), ms(closes), limit, timeout, version or 0, hold_s, part
        )
        for number, paused, finished, opens, closes, limit, timeout, hold_s, part, version in (
            cursor.fetchall()
        )
    }


def undecided(positions: Mapping[str, int], ends: Mapping[str, int]) -> str:
    """A partition whose position in Redis is below its stored records, in words; "" if none.

    Both are {source:partition: offset}.
    """
    for place, end in ends.items():
        stands = positions.get(place, 0)
        if end > stands:
            number = place.rpartition(":")[2]
            return f"partition {number} stands at {stands}, PostgreSQL has stored up to {end}"
    return ""


def doubt(
    row: LaneRow | None,
    claim: Claim,
    *,
    loaded: bool,
    positions: Mapping[str, int],
    ends: Mapping[str, int],
) -> str:
    """Why what this Redis says of requests is not to be told, in words; "" if it may be.

    A copy of the leader may be read: what it says was decided there. A former leader is known by
    its term. Read `ends` ({source:partition: the offset after the last stored record}) first.
    """
    try:
        compare(row, claim)
    except PostgresAway:
        # PostgreSQL has lost rows, or was read a moment ago. Redis knows all that was decided.
        pass
    except RedisAway as wrong:
        return str(wrong)
    if row is not None and row.term > claim.term:
        return "another Redis leads this lane: what this one decides is not sold"
    if not loaded:
        return "nothing is loaded in Redis"
    why = undecided(positions, ends)
    return f"Redis is older than the sale: {why}" if why else ""


def lost_acts(lane: LaneStatus, acts: Mapping[int, Steered]) -> str:
    """An operator's act that Redis does not know, in words; "" if it knows all.

    Read `acts` before the lane: an act is done in Redis first, then its row is updated.
    """
    for number, act in acts.items():
        now = lane.activities.get(number)
        if now is None:
            if act.version:
                return f"activity {number} was put on sale, and Redis does not hold it"
            continue
        if now.version < act.version:
            return (
                f"activity {number} is at version {now.version}, the journal has acts up to "
                f"version {act.version}"
            )
        if now.version == act.version:
            wrong = differing(now, act)
            if wrong:
                return f"activity {number}, version {act.version}: {wrong}"
    return ""


def differing(now: ActivityStatus, act: Steered) -> str:
    """The first field of an activity that differs, in words; "" if none."""
    pairs = (
        ("paused", now.paused, act.paused),
        ("finished", now.over == "finished", act.finished),
        ("opens_at", now.opens_at_ms, act.opens_at),
        ("closes_at", now.closes_at_ms, act.closes_at),
        ("limit per user", now.user_limit, act.user_limit),
        ("timeout", now.timeout_ms, act.timeout),
        ("hold", now.hold_s, act.hold_s),
        ("part", now.part, act.part),
    )
    for name, redis, postgres in pairs:
        if redis != postgres:
            return f"{name} is {_word(redis)} in Redis, {_word(postgres)} in PostgreSQL"
    return ""


def _word(value: int | str | None) -> str:
    if value is None or value == "":
        return "none"
    return str(value).lower() if isinstance(value, bool) else str(value)

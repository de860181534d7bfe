"""Which Redis leads a lane: the lane's identity, the leader's term, the consumers' leases.

Owns the tables seckill_lane and seckill_lease. A lane has one identity, which is stored in
PostgreSQL and in Redis. Of all servers that hold a copy of the lane, one leads. PostgreSQL names it
by the run id of its process, and counts the terms. A consumer that decides renews a lease on its
Redis. Another Redis takes over only when no lease on the former leader is left. So two servers
never decide at the same time, as long as PostgreSQL answers the consumers.
No Django: consumers use it too.
"""

import uuid
from collections.abc import Sequence
from dataclasses import dataclass

from seckill.errors import PostgresAway, RedisAway
from seckill.lane.keys import Lane
from seckill.postgres.lanes import Cursor, of_lane

# Seconds that a lease lasts, and between two renewals. A consumer whose Redis no longer leads stops
# within RENEW_S of the takeover, and nobody takes over before its lease has ended.
LEASE_S, RENEW_S = 10.0, 2.0

LOCK = "SELECT pg_advisory_xact_lock(hashtextextended('seckill_lane:' || %s, 0))"
READ = "SELECT identity::text, generation, master, term FROM seckill_lane WHERE name = %s"
# Nothing was ever done in the lane's Redis, so nothing can be lost, whatever it holds.
UNTOUCHED = """
SELECT NOT EXISTS (SELECT 1 FROM seckill_record WHERE {mine}) AND NOT EXISTS (
    SELECT 1 FROM seckill_stockchange WHERE state = 'applied' AND version > 0 AND {mine})
"""
MAKE = """
INSERT INTO seckill_lane (name, identity, generation, master, term) VALUES (%s, %s, %s, %s, %s)
"""
OTHER_LEASES = """
SELECT holder, extract(epoch FROM until - clock_timestamp()) FROM seckill_lease
WHERE lane = %s AND master <> %s AND holder <> %s AND until > clock_timestamp() ORDER BY until DESC
"""
RENEW = """
INSERT INTO seckill_lease (holder, lane, master, until)
VALUES (%s, %s, %s, clock_timestamp() + %s * interval '1 second')
ON CONFLICT (holder) DO UPDATE SET lane = EXCLUDED.lane, master = EXCLUDED.master,
    until = EXCLUDED.until
"""


@dataclass(frozen=True)
class Claim:
    """What a Redis says of its lane. Without an identity it is empty (see `empty`), or its data is
    from before lanes had identities.
    """

    identity: str = ""
    generation: int = 0
    term: int = 0
    empty: bool = False


class NotLeading(RedisAway):
    """Transient: this Redis holds the lane, but another one leads it. It may decide nothing."""

    def __init__(self, reason: object) -> None:
        super().__init__(reason, "does not lead this lane")


class ForeignLane(RedisAway):
    """Transient: this Redis and this PostgreSQL hold different lanes. One address is wrong."""

    def __init__(self, reason: object) -> None:
        super().__init__(reason, "holds another lane")


class LaneLost(RedisAway):
    """Transient: PostgreSQL knows the lane, but this Redis lacks it. Only a recovery helps."""

    def __init__(self, reason: object) -> None:
        super().__init__(reason, "has lost this lane")


class RedisOlder(RedisAway):
    """Transient: the data in Redis is older than the last recovery of the lane."""

    def __init__(self, reason: object) -> None:
        super().__init__(reason, "is older than the sale")


class PostgresOlder(PostgresAway):
    """Transient: PostgreSQL has lost rows that it had stored: it was restored from an old copy."""

    def __init__(self, reason: object) -> None:
        super().__init__(
            f"{reason}. Nothing is stored until it is repaired, records wait in Redis. Bring the "
            "newer PostgreSQL back, or run manage.py recover --apply --from-kafka",
            "is older than what was stored",
        )


@dataclass(frozen=True)
class LaneRow:
    """The lane in PostgreSQL."""

    identity: str
    generation: int
    master: str
    term: int


def read(cursor: Cursor, lane: str, *, lock: str = "") -> LaneRow | None:
    """The lane's row; None if PostgreSQL does not know it. `lock`: FOR SHARE or FOR UPDATE."""
    cursor.execute(f"{READ} {lock}", (lane,))
    row = cursor.fetchone()
    return LaneRow(*row) if row else None


def compare(row: LaneRow | None, claim: Claim) -> None:
    """Check that Redis and PostgreSQL hold the same lane, and that neither is older than the other.

    Raises ForeignLane, LaneLost, RedisOlder or PostgresOlder.
    """
    if row is None:
        if claim.identity:
            raise PostgresOlder(
                f"it does not know lane {claim.identity}, which Redis holds: it was restored from "
                "a copy made before the sale, or is another database"
            )
        return
    if not claim.identity:
        what = "it is empty" if claim.empty else "it holds a sale without an identity"
        raise LaneLost(
            f"{what}, but PostgreSQL knows the lane: Redis was emptied, has lost a key, or was "
            "replaced. manage.py recover shows the plan, --apply carries it out"
        )
    if claim.identity != row.identity:
        raise ForeignLane(
            f"Redis has {claim.identity}, PostgreSQL has {row.identity}. Correct SECKILL_REDIS_URL "
            "or SECKILL_PG_DSN: a lane has one Redis and one PostgreSQL. A second Redis is another "
            "lane, of section lanes in config.yaml"
        )
    if claim.generation > row.generation or claim.term > row.term:
        raise PostgresOlder(
            f"Redis is in generation {claim.generation}, term {claim.term}; PostgreSQL knows "
            f"generation {row.generation}, term {row.term}"
        )
    if claim.generation < row.generation:
        raise RedisOlder(
            f"it is in generation {claim.generation}, the lane was rebuilt up to {row.generation}"
        )


def lead(
    cursor: Cursor,
    lane: str,
    run_id: str,
    claim: Claim,
    *,
    holder: str = "",
    repairing: bool = False,
    compares: bool = False,
    lease_s: float = LEASE_S,
) -> Claim:
    """Make the Redis with this run id the leader, and renew the holder's lease on it.

    Call it in a transaction of its own and commit that. Returns the claim that Redis must have from
    then on; if it differs, the caller writes it (`claim_lane.lua`).
    `repairing`: for a recovery, which may make a Redis the leader that has lost the lane.
    `compares`: the caller checks whether this Redis is older than the sale before it is used. A
    caller that does not may lead only with a Redis of the last term: an old master would come back
    with its old state.
    Raises NotLeading while somebody may still decide on another Redis, and what `compare` raises.
    """
    cursor.execute(LOCK, (lane,))
    row = read(cursor, lane)
    if row is not None and not claim.identity and _untouched(cursor, lane):
        # The first act was interrupted before it reached Redis.
        claim = Claim(row.identity, row.generation, 0)
    if not repairing or (row is not None and claim.identity not in ("", row.identity)):
        compare(row, claim)
    if row is None:
        row = LaneRow(claim.identity or str(uuid.uuid4()), claim.generation, run_id, claim.term + 1)
        cursor.execute(MAKE, (lane, row.identity, row.generation, row.master, row.term))
    elif row.master != run_id or (repairing and claim.term > row.term):
        if claim.term < row.term and not (compares or repairing):
            raise NotLeading("another Redis has led it since: this one is an old master")
        row = _take_over(cursor, lane, row, run_id, holder, claim.term)
    if holder:
        cursor.execute(RENEW, (holder, lane, run_id, lease_s))
    return Claim(row.identity, row.generation, row.term)


def _take_over(
    cursor: Cursor, lane: str, row: LaneRow, run_id: str, holder: str, term: int
) -> LaneRow:
    cursor.execute(OTHER_LEASES, (lane, run_id, holder))
    held = cursor.fetchall()
    if held:
        names = ", ".join(name for name, _ in held[:3])
        raise NotLeading(
            f"another Redis leads it, and {names} decide on it; their leases last "
            f"{held[0][1]:.0f} s more, unless they are renewed. Nothing is decided here meanwhile"
        )
    term = max(row.term, term) + 1
    # Waits for transactions that store what the former leader has decided.
    cursor.execute(
        "UPDATE seckill_lane SET master = %s, term = %s WHERE name = %s", (run_id, term, lane)
    )
    return LaneRow(row.identity, row.generation, run_id, term)


def others(cursor: Cursor, lane: str, run_id: str) -> list[str]:
    """The holders of leases on another Redis than this one."""
    cursor.execute(OTHER_LEASES, (lane, run_id, ""))
    return [holder for holder, _ in cursor.fetchall()]


def _untouched(cursor: Cursor, lane: str) -> bool:
    cursor.execute(UNTOUCHED.format(mine=of_lane(Lane(lane), "activity_id")))
    return bool(cursor.fetchone()[0])


def give_up(cursor: Cursor, holder: str) -> None:
    """End a holder's lease: the holder no longer decides."""
    cursor.execute("DELETE FROM seckill_lease WHERE holder = %s", (holder,))


# The fields of the lane's hash in Redis that make a claim.
CLAIM_FIELDS = ("identity", "generation", "term")


def claim_of(values: Sequence[bytes | None], *, empty: bool = False) -> Claim:
    """The claim from the values of CLAIM_FIELDS in Redis."""
    identity, generation, term = values
    return Claim((identity or b"").decode(), int(generation or 0), int(term or 0), empty)

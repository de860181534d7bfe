"""The verdict of the last audit, kept in Redis for the desk, the API and the metrics.

Owns the hash `{L}:audit`. Written by whoever ran an audit, after it; read by everyone. It says what
was true at its time: read `at_ms` with it.
"""

from dataclasses import dataclass

import redis

from seckill.keys import Lane
from seckill.redis_client import redis_errors

# Characters of the first finding that are kept.
LONGEST_FINDING = 500


@dataclass(frozen=True)
class LastAudit:
    """A verdict. `clean` None: it could not be checked, and `finding` says why."""

    clean: bool | None
    # When it was written, by Redis's clock.
    at_ms: int
    # How many checks were made.
    checks: int
    # The first thing that does not hold: invariant, culprit, explanation. Empty when clean.
    finding: str
    # Who ran it.
    by: str


def write_last_audit(
    client: "redis.Redis", clean: bool | None, checks: int, finding: str, by: str, lane: Lane
) -> None:
    """Keep a verdict in place of the one before. Raises RedisAway: the one before stays."""
    with redis_errors():
        seconds, microseconds = client.time()
        fields = {
            "clean": "" if clean is None else str(int(clean)),
            "at_ms": str(seconds * 1000 + microseconds // 1000),
            "checks": str(checks),
            "finding": finding[:LONGEST_FINDING],
            "by": by,
        }
        client.hset(lane.audit, mapping=fields)  # type: ignore[arg-type]


def read_last_audit(client: "redis.Redis", lane: Lane | None = None) -> LastAudit | None:
    """The last verdict; None where no audit was ever kept. Raises RedisAway."""
    lane = lane or Lane()
    with redis_errors():
        found: dict[bytes, bytes] = client.hgetall(lane.audit)  # type: ignore[assignment]
    if not found:
        return None
    words = {name.decode(): value.decode() for name, value in found.items()}
    return LastAudit(
        clean=bool(int(words["clean"])) if words["clean"] else None,
        at_ms=int(words["at_ms"]),
        checks=int(words["checks"]),
        finding=words["finding"],
        by=words["by"],
    )

"""The verdict of the last audit, kept in Redis for the desk, the API and the metrics.

Owns the hash `{L}:audit`. Whoever runs an audit writes it afterwards. It says what was true at that
time, so show `at_ms` with it.
"""

from dataclasses import dataclass

import redis

from seckill.audit.audit import Report
from seckill.formats.advice import in_lane
from seckill.lane.client import redis_errors
from seckill.lane.keys import Lane

# How many characters of the first finding are kept.
LONGEST_FINDING = 500


@dataclass(frozen=True)
class LastAudit:
    """A verdict. `clean` None: the audit could not run, and `finding` says why."""

    clean: bool | None
    # When it was written, by Redis's clock.
    at_ms: int
    # How many checks ran.
    checks: int
    # The first violation: invariant, culprit, explanation. Empty if clean.
    finding: str
    # Who ran it.
    by: str


def write_report(client: "redis.Redis", report: Report, by: str, lane: Lane) -> None:
    """Replace the last verdict by this audit's. Raises RedisAway; the last verdict stays then."""
    finding = ""
    if report.findings:
        first = report.findings[0]
        finding = f"{first.invariant}: {first.culprit}: {first.explanation}"
    write_last_audit(client, report.clean, report.checks, finding, by, lane)


def write_last_audit(
    client: "redis.Redis", clean: bool | None, checks: int, finding: str, by: str, lane: Lane
) -> None:
    """Replace the last verdict. Raises RedisAway; the last verdict stays then."""
    with redis_errors():
        seconds, microseconds = client.time()
        fields = {
            "clean": "" if clean is None else str(int(clean)),
            "at_ms": str(seconds * 1000 + microseconds // 1000),
            "checks": str(checks),
            "finding": in_lane(finding, lane.name)[:LONGEST_FINDING],
            "by": by,
        }
        client.hset(lane.audit, mapping=fields)  # type: ignore[arg-type]


def read_last_audit(client: "redis.Redis", lane: Lane) -> LastAudit | None:
    """The last verdict; None if there is none yet. Raises RedisAway."""
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

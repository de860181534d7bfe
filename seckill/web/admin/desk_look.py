"""The data of one desk answer, and the values that several of its parts need.

It only computes from what it is given.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from seckill.audit.verdict import LastAudit
from seckill.control.whole_sale import WholeSale
from seckill.formats.lanes import MAIN
from seckill.lane.status import Histogram, LaneStatus
from seckill.monitoring.verdict import PARTLY_MS, State, Verdict
from seckill.telemetry.heartbeats import Kind, Worker
from seckill.telemetry.history import FRESH_MS, Sample

# A worker that has work but made no progress for so long (ms) counts as stuck.
STUCK_MS = 15_000
# If the newest sample is older than this (ms), the current reading is drawn instead.
HISTORY_LATE_MS = 3_000
SHARES = (0.5, 0.95, 0.99)
NOTHING = Verdict(State.NO_SALE, "info")


@dataclass(frozen=True)
class Look:
    """The data of one desk answer, at one moment of Redis's clock."""

    now_ms: int
    lane: LaneStatus
    # The lane's name, for what is to be run.
    named: str = MAIN
    workers: Sequence[Worker] = ()
    audit: LastAudit | None = None
    # The oldest first. The one at `since_ms` is the start of the next rate.
    samples: Sequence[Sample] = ()
    since_ms: int = 0
    names: Mapping[int, str] = field(default_factory=dict)
    verdict: Verdict = NOTHING
    # Units of the activity that are in PostgreSQL, and its last acts.
    stored: int = 0
    # Late payments of the activity that nobody has settled.
    late: int = 0
    acts: Sequence[Mapping[str, Any]] = ()
    # The whole sale, if the activity is a part of one over several lanes.
    sale: WholeSale | None = None


def newest_lag(look: Look) -> dict[int, int] | None:
    """Undecided requests in Kafka, by partition; None if it was not measured recently."""
    for sample in reversed(look.samples):
        if look.now_ms - sample.at_ms > FRESH_MS:
            return None
        if sample.lag is not None:
            return sample.lag
    return None


def newest_blocked(look: Look) -> tuple[int, str]:
    """Requests that Kafka hides behind open transactions, and whose; (0, "") if none is known."""
    if not look.samples or look.now_ms - look.samples[-1].at_ms > FRESH_MS:
        return 0, ""
    return sum(look.samples[-1].blocked.values()), look.samples[-1].blocked_by


def health_of(worker: Worker, look: Look, lag: dict[int, int] | None) -> str:
    """ "alive", "stuck" (it has work but makes no progress) or "silent"."""
    work = {Kind.CONSUMER: sum((lag or {}).values()), Kind.LOG_WORKER: look.lane.waiting}
    if not worker.alive or (work.get(worker.kind) and worker.silent_ms > PARTLY_MS):
        return "silent"
    idle_ms = look.now_ms - worker.progress_ms
    return "stuck" if work.get(worker.kind) and idle_ms > STUCK_MS else "alive"


def percentiles(latency: Histogram) -> list[float] | None:
    """p50, p95, p99 in ms; None if nothing was decided."""
    found = [latency.percentile(share) for share in SHARES]
    return [value for value in found if value is not None] or None

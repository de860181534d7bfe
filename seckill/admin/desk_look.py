"""What one answer of the desk is made of, and what its parts have to know of it together.

Reads what it is given; asks nobody.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from seckill.last_audit import LastAudit
from seckill.series import Sample
from seckill.stats import Histogram, LaneStatus
from seckill.workers import Kind, Worker

# A worker with work to do and without progress for so long counts as stuck, ms.
STUCK_MS = 15_000
# A look at the lane stands in for the history when that is so old, ms.
HISTORY_LATE_MS = 3_000
SHARES = (0.5, 0.95, 0.99)


@dataclass(frozen=True)
class Look:
    """All that one answer of the desk is made of, at one moment of Redis's clock."""

    now_ms: int
    lane: LaneStatus
    workers: Sequence[Worker] = ()
    audit: LastAudit | None = None
    # The oldest first; the first one at `since_ms` is where the next rate begins.
    samples: Sequence[Sample] = ()
    since_ms: int = 0
    names: Mapping[int, str] = field(default_factory=dict)


def newest_lag(look: Look) -> dict[int, int] | None:
    """Requests that Kafka holds undecided, by partition; None where nobody has said it lately."""
    for sample in reversed(look.samples):
        if look.now_ms - sample.at_ms > 5 * HISTORY_LATE_MS:
            return None
        if sample.lag is not None:
            return sample.lag
    return None


def newest_blocked(look: Look) -> tuple[int, str]:
    """Requests that Kafka hides behind open transactions, and whose; (0, ""): none is known."""
    if not look.samples or look.now_ms - look.samples[-1].at_ms > 5 * HISTORY_LATE_MS:
        return 0, ""
    return sum(look.samples[-1].blocked.values()), look.samples[-1].blocked_by


def health_of(worker: Worker, look: Look, lag: dict[int, int] | None) -> str:
    """Alive, stuck (there is work, and nothing gets done) or silent."""
    if not worker.alive:
        return "silent"
    work = {Kind.CONSUMER: sum((lag or {}).values()), Kind.LOG_WORKER: look.lane.waiting}
    idle_ms = look.now_ms - worker.progress_ms
    return "stuck" if work.get(worker.kind) and idle_ms > STUCK_MS else "alive"


def percentiles(latency: Histogram) -> list[float] | None:
    """p50, p95, p99 in ms; None where nothing was decided."""
    found = [latency.percentile(share) for share in SHARES]
    return [value for value in found if value is not None] or None

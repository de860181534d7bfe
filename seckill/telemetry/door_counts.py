"""What a door's heartbeat says: the names of its counts, for the door and for who shows them.

Durations are counted in buckets that begin at 0, 1, 2, 4 ... ms, each count under a name of its
own, as a heartbeat is flat.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from seckill.lane.status import Histogram
from seckill.telemetry.heartbeats import Worker

# What comes of a click: each is counted once.
RESULTS = ("shed", "repeated", "acknowledged", "not_taken", "unknown")
# What comes of a call that settles a hold. `known`: it was settled before, and nothing was sent.
# `too_late` is counted beside the others: something else has settled it.
SETTLEMENTS = ("acknowledged", "known", "not_taken", "unknown", "too_late")
WAITING, BOARD_AGE_MS = "waiting", "board_age_ms"
# Before a name of a state, of a status, and of a bucket's lower end in ms.
TOLD, REFUSED, SETTLED = "told_", "refused_", "settle_"
ACKNOWLEDGE, ANSWER = "acknowledge", "answer"
# Seconds without a look at Redis after which a door is blind. It looks five times a second.
BLIND_S = 5.0


def bucket_of(ms: float) -> int:
    """The lower end of a duration's bucket, ms."""
    return 1 << (int(ms).bit_length() - 1) if ms >= 1 else 0


def with_names(what: str, buckets: Mapping[int, int], sum_ms: float) -> dict[str, int]:
    """The counts of durations of one sort, for a heartbeat."""
    named = {f"{what}_from_{low}": number for low, number in buckets.items()}
    return {**named, f"{what}_ms": round(sum_ms)}


@dataclass(frozen=True)
class DoorCounts:
    """The heartbeat of one door, read. Counters are since its start."""

    worker: Worker

    @property
    def results(self) -> dict[str, int]:
        """{what came of it: clicks}."""
        return {result: self.worker.counts.get(result, 0) for result in RESULTS}

    @property
    def asked(self) -> int:
        """Clicks in all."""
        return sum(self.results.values())

    @property
    def told(self) -> dict[str, int]:
        """{state: final answers}."""
        return self._after(TOLD)

    @property
    def refused(self) -> dict[str, int]:
        """{HTTP status: calls that were refused before they were clicks}."""
        return self._after(REFUSED)

    @property
    def settlements(self) -> dict[str, int]:
        """{what came of it: calls that settle a hold}."""
        return {name: self.worker.counts.get(f"{SETTLED}{name}", 0) for name in SETTLEMENTS}

    @property
    def waiting(self) -> int:
        """Calls that wait for an answer now."""
        return self.worker.counts.get(WAITING, 0)

    @property
    def board_age_s(self) -> float:
        """Seconds since its last look at Redis, as of the heartbeat."""
        return self.worker.counts.get(BOARD_AGE_MS, 0) / 1000

    @property
    def blind(self) -> bool:
        """Whether it can answer nobody."""
        return self.board_age_s > BLIND_S

    def durations(self, what: str) -> tuple[Histogram, float]:
        """The buckets of ACKNOWLEDGE or ANSWER, and their sum in ms."""
        found = self._after(f"{what}_from_")
        sum_ms = self.worker.counts.get(f"{what}_ms", 0)
        return Histogram({int(low): number for low, number in found.items()}), sum_ms

    def mean_ms(self, what: str) -> float | None:
        """The mean of ACKNOWLEDGE or ANSWER; None if there was none."""
        histogram, sum_ms = self.durations(what)
        return sum_ms / histogram.count if histogram.count else None

    def _after(self, prefix: str) -> dict[str, int]:
        return {
            name.removeprefix(prefix): number
            for name, number in self.worker.counts.items()
            if name.startswith(prefix)
        }

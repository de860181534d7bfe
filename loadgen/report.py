"""The figures of a run. Owns their names and how they are shown.

It adds up the figures of several processes by merging histograms, since percentiles cannot be
merged.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from rich.console import Console
from rich.table import Table

from loadgen.plan import Load
from seckill.process.columns import Fitted

# If the 99th percentile of lateness is above this (ms), the generator itself was too slow.
LATE_MS = 100.0
# Lateness is counted in whole ms up to here, and in whole seconds above.
FINE_MS = 10_000
COARSE_S = 10_000


class Lateness:
    """How much later than intended requests were sent. Uses constant memory."""

    def __init__(self) -> None:
        self._fine = [0] * FINE_MS
        self._coarse = [0] * COARSE_S
        self.max_ms = 0.0

    def add(self, late_ms: float, count: int) -> None:
        """Count `count` requests that were at most so late."""
        late_ms = max(late_ms, 0.0)
        self.max_ms = max(self.max_ms, late_ms)
        if late_ms < FINE_MS:
            self._fine[int(late_ms)] += count
        else:
            self._coarse[min(int(late_ms / 1000), COARSE_S - 1)] += count

    def merge(self, other: "Lateness") -> None:
        """Add what another process counted."""
        self._fine = [a + b for a, b in zip(self._fine, other._fine, strict=True)]
        self._coarse = [a + b for a, b in zip(self._coarse, other._coarse, strict=True)]
        self.max_ms = max(self.max_ms, other.max_ms)

    def percentile_ms(self, percent: float) -> float:
        """The lateness that `percent` of the requests did not exceed, rounded up to a step."""
        total = sum(self._fine) + sum(self._coarse)
        wanted = total * percent / 100
        seen = 0
        for counts, step in ((self._fine, 1.0), (self._coarse, 1000.0)):
            for index, count in enumerate(counts):
                seen += count
                # The last counter has no upper bound except the maximum.
                endless = counts is self._coarse and index == COARSE_S - 1
                if count and seen >= wanted and not endless:
                    return min((index + 1) * step, self.max_ms)
        return self.max_ms


@dataclass(frozen=True)
class Tally:
    """The figures of one process. `seconds`: from the common start to its last request."""

    sent: int
    delivered: int
    failed: int
    unacknowledged: int
    seconds: float
    blocked_seconds: float
    lateness: Lateness
    kinds: dict[str, int]
    stopped: bool
    last_error: str


class OpenLoop:
    """What a run of either kind says of its pace. The reports list these fields, in their order."""

    seconds: float
    intended_rate: float
    achieved_rate: float
    lateness_p99_ms: float
    lateness_max_ms: float
    late: bool
    blocked_seconds: float
    kinds: Mapping[str, int]
    stopped: bool

    def pace_rows(self) -> list[tuple[str, str]]:
        """Rows of the table: the pace, and what was sent by kind."""
        return [
            ("seconds", f"{self.seconds:,.2f}"),
            ("rate intended", f"{self.intended_rate:,.0f}/s"),
            ("rate achieved", f"{self.achieved_rate:,.0f}/s"),
            (
                "late: p99, longest",
                f"{self.lateness_p99_ms:,.0f} ms, {self.lateness_max_ms:,.0f} ms",
            ),
            *((f"  {kind}", f"{count:,}") for kind, count in self.kinds.items() if count),
        ]

    def pace_remarks(self, blocked: str, advice: str) -> list[str]:
        """Remarks on a stop and on lateness. `blocked` names the cause if it was not our own."""
        lines = []
        if self.stopped:
            lines.append("Stopped by a signal before the end of the plan.")
        if self.late:
            ours = "this machine could not send as fast as planned"
            cause = blocked if self.blocked_seconds > self.seconds / 10 else ours
            lines.append(f"The generator was late ({cause}). {advice}")
        return lines


def open_loop(
    load: Load,
    sent: int,
    lateness: Lateness,
    *,
    seconds: float,
    blocked_s: float,
    kinds: Mapping[str, int],
    stopped: bool,
) -> dict[str, Any]:
    """Plan and pace of a run whose last request was sent after `seconds`, by a report's fields."""
    # If everything was sent, the plan's own duration: the last request may have been late.
    planned_s = min(seconds, load.pacer.seconds)
    p99_ms = lateness.percentile_ms(99)
    return {
        "profile": load.name,
        "seed": load.seed,
        "planned": load.requests,
        "sent": sent,
        "seconds": round(seconds, 3),
        "intended_rate": round(load.pacer.due(planned_s) / planned_s, 1) if planned_s > 0 else 0.0,
        "achieved_rate": round(sent / seconds, 1) if seconds > 0 else 0.0,
        "lateness_p99_ms": round(p99_ms, 1),
        "lateness_max_ms": round(lateness.max_ms, 1),
        "late": p99_ms > LATE_MS,
        "blocked_seconds": round(blocked_s, 3),
        "kinds": dict(kinds),
        "stopped": stopped,
    }


def print_figures(
    console: Console, title: str, rows: Iterable[tuple[str, str]], remarks: Iterable[str]
) -> None:
    """Print a report as a table, and its remarks below."""
    table = Table(title=title, show_header=False, title_justify="left")
    table.add_column()
    table.add_column(justify="right")
    for name, value in rows:
        table.add_row(name, value)
    console.print(Fitted(table))
    for line in remarks:
        console.print(line, markup=False, highlight=False, soft_wrap=True)


@dataclass(frozen=True)
class Report(OpenLoop):
    """The report of a run. `--json` prints these names, so they must not change."""

    profile: str
    seed: int
    topic: str
    planned: int
    sent: int
    delivered: int
    failed: int
    unacknowledged: int
    seconds: float
    intended_rate: float
    achieved_rate: float
    lateness_p99_ms: float
    lateness_max_ms: float
    late: bool
    blocked_seconds: float
    kinds: Mapping[str, int]
    stopped: bool
    last_error: str
    processes: int = 1

    @property
    def complete(self) -> bool:
        """Whether Kafka has acknowledged everything that was sent."""
        return self.failed == 0 and self.unacknowledged == 0

    def as_json(self) -> str:
        """One line of JSON."""
        return json.dumps({"schema": 1, **asdict(self)})

    def print_table(self, console: Console) -> None:
        """Print it as a table."""
        rows = [("profile, seed", f"{self.profile}, {self.seed}"), ("topic", self.topic)]
        if self.processes > 1:
            rows.append(("processes", f"{self.processes}"))
        rows += [
            ("sent, of planned", f"{self.sent:,} of {self.planned:,}"),
            ("acknowledged by Kafka", f"{self.delivered:,}"),
            ("failed to send", f"{self.failed:,}"),
        ]
        if self.unacknowledged:
            rows.append(("not acknowledged in time", f"{self.unacknowledged:,}"))
        print_figures(console, "load generator", rows + self.pace_rows(), self.remarks())

    def remarks(self) -> list[str]:
        """Remarks that a reader of the figures needs, one line each."""
        lines = self.pace_remarks(
            f"Kafka accepted no more for {self.blocked_seconds:.1f} s",
            "Latencies count from the intended times, so they include this delay. Try a lower "
            "rate, or --kafka-client confluent-kafka.",
        )
        if not self.complete:
            lines.append(
                f"Not everything reached Kafka: {self.last_error or 'no answer in time'}. Some "
                "requests may still be there, because acknowledgements can get lost too."
            )
        return lines


def report_of(load: Load, topic: str, tallies: Sequence[Tally]) -> Report:
    """The report of a whole load from the tallies of its processes."""
    lateness = Lateness()
    for tally in tallies:
        lateness.merge(tally.lateness)
    failed = sum(t.failed for t in tallies)
    unacknowledged = sum(t.unacknowledged for t in tallies)
    return Report(
        **open_loop(
            load,
            sum(t.sent for t in tallies),
            lateness,
            seconds=max(t.seconds for t in tallies),
            blocked_s=max(t.blocked_seconds for t in tallies),
            kinds={kind: sum(t.kinds[kind] for t in tallies) for kind in tallies[0].kinds},
            stopped=any(t.stopped for t in tallies),
        ),
        topic=topic,
        delivered=sum(t.delivered for t in tallies),
        failed=failed,
        unacknowledged=unacknowledged,
        # A producer also keeps errors that a retry has overcome since.
        last_error=next((t.last_error for t in tallies if t.last_error), "")
        if failed or unacknowledged
        else "",
        processes=len(tallies),
    )

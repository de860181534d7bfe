"""The figures of a run at a door. Owns their names and how they are shown."""

import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field

from rich.console import Console

from loadgen.http.buyer import TURNED_AWAY, UNANSWERED, Told, Trouble
from loadgen.plan import Load
from loadgen.report import Lateness, OpenLoop, open_loop, print_figures

# An answer whose reason is not known one by one.
NO_REASON = "REFUSED"
# The door does not know the tokens: nothing was bought, so nothing was measured.
UNKNOWN_TOKEN = "401"


@dataclass
class Tally:
    """What is counted while a run goes on. Every click that ended is in one place."""

    # Answers by outcome; of these, refusals of certain losers at the door.
    answers: Counter[str] = field(default_factory=Counter)
    at_door: int = 0
    turned_away: Counter[str] = field(default_factory=Counter)
    unanswered: int = 0
    # The request ids that were accepted: twins are one.
    accepted: set[str] = field(default_factory=set)
    # From the intended time of a click to its answer.
    latency: Lateness = field(default_factory=Lateness)

    def add(self, request_id: str, told: Told, latency_s: float) -> None:
        """A click has ended."""
        if told.state == UNANSWERED:
            self.unanswered += 1
        elif told.state == TURNED_AWAY:
            self.turned_away[told.outcome] += 1
        else:
            self.answers[told.outcome or NO_REASON] += 1
            self.at_door += told.at_door
            if told.state == "accepted":
                self.accepted.add(request_id)
            self.latency.add(latency_s * 1000, 1)

    @property
    def ended(self) -> int:
        """Clicks that ended."""
        return self.answers.total() + self.turned_away.total() + self.unanswered


@dataclass(frozen=True)
class Report(OpenLoop):
    """The report of a run. `--json` prints these names, so they must not change.

    sent = answers + turned_away + unanswered.
    """

    profile: str
    seed: int
    door: str
    planned: int
    sent: int
    answers: Mapping[str, int]
    accepted_clicks: int
    shed: int
    turned_away: Mapping[str, int]
    unanswered: int
    retries: int
    limited: int
    not_taken: int
    unknown: int
    void: int
    errors: Mapping[str, int]
    seconds: float
    intended_rate: float
    achieved_rate: float
    answer_p50_ms: float
    answer_p95_ms: float
    answer_p99_ms: float
    answer_max_ms: float
    lateness_p99_ms: float
    lateness_max_ms: float
    late: bool
    blocked_seconds: float
    connections: int
    kinds: Mapping[str, int]
    stopped: bool

    @property
    def complete(self) -> bool:
        """Whether every click has an answer, and the door knew its buyer."""
        return self.unanswered == 0 and UNKNOWN_TOKEN not in self.turned_away

    def as_json(self) -> str:
        """One line of JSON."""
        return json.dumps({"schema": 1, **asdict(self)})

    def print_table(self, console: Console) -> None:
        """Print it as a table."""
        print_figures(console, "load generator over HTTP", self._rows(), self.remarks())

    def _rows(self) -> list[tuple[str, str]]:
        percentiles = (self.answer_p50_ms, self.answer_p95_ms, self.answer_p99_ms)
        some = {
            "turned away": sum(self.turned_away.values()),
            **{f"  {status}": count for status, count in self.turned_away.items()},
            "asked again": self.retries,
            "  429, too many requests": self.limited,
            "  503, not taken": self.not_taken,
            "  503, taken or not: unknown": self.unknown,
            "  void, lost by Kafka": self.void,
            **{f"  {name}": count for name, count in self.errors.items()},
        }
        return [
            ("profile, seed", f"{self.profile}, {self.seed}"),
            ("door", self.door),
            ("clicks, of planned", f"{self.sent:,} of {self.planned:,}"),
            ("answered", f"{sum(self.answers.values()):,}"),
            *((f"  {outcome}", f"{count:,}") for outcome, count in self.answers.items()),
            ("  of these at the door (shed)", f"{self.shed:,}"),
            ("orders (accepted, twins once)", f"{self.accepted_clicks:,}"),
            ("without an answer", f"{self.unanswered:,}"),
            *((name, f"{count:,}") for name, count in some.items() if count),
            (
                "click to answer: p50, p95, p99, longest",
                ", ".join(f"{ms:,.0f}" for ms in (*percentiles, self.answer_max_ms)) + " ms",
            ),
            *self.pace_rows(),
        ]

    def remarks(self) -> list[str]:
        """Remarks that a reader of the figures needs, one line each."""
        lines = self.pace_remarks(
            f"all {self.connections:,} connections waited for {self.blocked_seconds:.1f} s",
            "Times to the answer count from the intended times, so they include this delay. Try a "
            "lower rate, or more --connections.",
        )
        if self.limited:
            lines.append(
                "The door limited this machine or its buyers. Give the door wider limits for "
                "tests (--address-rate, --user-rate), or name this machine in --proxy-networks."
            )
        if UNKNOWN_TOKEN in self.turned_away:
            lines.append(
                "The door does not know these buyers (401). Give both the same "
                "SECKILL_BUYER_KEYS, buyer_audience and buyer_issuer."
            )
        if self.unanswered:
            lines.append(
                f"{self.unanswered:,} clicks have no answer. They may have bought all the same: "
                "the records say."
            )
        return lines


def report_of(
    load: Load,
    door: str,
    connections: int,
    tally: Tally,
    trouble: Trouble,
    lateness: Lateness,
    *,
    seconds: float,
    blocked_s: float,
    kinds: Mapping[str, int],
    stopped: bool,
) -> Report:
    """The report of a run whose last click was sent after `seconds`."""
    percentile = tally.latency.percentile_ms
    return Report(
        **open_loop(
            load,
            tally.ended,
            lateness,
            seconds=seconds,
            blocked_s=blocked_s,
            kinds=kinds,
            stopped=stopped,
        ),
        door=door,
        answers=dict(tally.answers.most_common()),
        accepted_clicks=len(tally.accepted),
        shed=tally.at_door,
        turned_away=dict(tally.turned_away.most_common()),
        unanswered=tally.unanswered,
        retries=trouble.retries,
        limited=trouble.limited,
        not_taken=trouble.not_taken,
        unknown=trouble.unknown,
        void=trouble.void,
        errors=dict(trouble.errors.most_common()),
        answer_p50_ms=round(percentile(50), 1),
        answer_p95_ms=round(percentile(95), 1),
        answer_p99_ms=round(percentile(99), 1),
        answer_max_ms=round(tally.latency.max_ms, 1),
        connections=connections,
    )

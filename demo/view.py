"""Shows a sale in a terminal: the live line, the result, the addresses. Computes no figures."""

from dataclasses import dataclass
from types import TracebackType
from typing import Protocol

from rich.console import Console
from rich.live import Live
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from demo.at_door import AtDoor
from demo.figures import Moment, Plan, Result
from seckill.audit.checks import INVARIANTS
from seckill.process.columns import Fitted

# Seconds between two plain lines if there is no terminal.
LINE_S = 2.0
BAR = 24


class View(Protocol):
    """A context manager that shows the moments of a running sale."""

    def show(self, moment: Moment) -> None:
        """Show this."""

    def __enter__(self) -> "View":
        """Start the display."""

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Restore the terminal."""


class Lines:
    """A line every two seconds."""

    def __init__(self, console: Console, units: int) -> None:
        self._console, self._units, self._next = console, units, 0.0

    def show(self, moment: Moment) -> None:
        """Show this if it is time for a line."""
        if moment.seconds >= self._next:
            self._console.print(_line(moment, self._units))
            self._next = moment.seconds + LINE_S

    def __enter__(self) -> "Lines":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Nothing to end."""


class LiveLine(Lines):
    """One line that changes, on a terminal."""

    def __init__(self, console: Console, units: int) -> None:
        super().__init__(console, units)
        self._live = Live(console=console, refresh_per_second=8)

    def show(self, moment: Moment) -> None:
        """Show this."""
        self._live.update(_line(moment, self._units))

    def __enter__(self) -> "LiveLine":
        self._live.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._live.stop()


def view_for(console: Console, plan: Plan) -> View:
    """A live line on a terminal, plain lines elsewhere."""
    units = sum(plan.stock.values())
    return LiveLine(console, units) if console.is_terminal else Lines(console, units)


def _line(moment: Moment, units: int) -> Text:
    share = moment.left / units if units else 0.0
    full = round(share * BAR)
    line = Text(f"{moment.seconds:5.1f} s  left ")
    line.append("━" * full, style="green")
    line.append("─" * (BAR - full), style="dim")
    line.append(f" {moment.left:>7,}")
    line.append(
        f"  sent {moment.sent:,}  decided {moment.decided:,} ({moment.rate:,.0f}/s)"
        f"  accepted {moment.accepted:,}  stored {moment.stored:,}  waiting {moment.waiting:,}"
    )
    return line


def headline(result: Result, units: int) -> str:
    """The sale in one sentence. It claims only what the audit has proved."""
    asked = f"{result.asked:,} requests for {units:,} units"
    if not result.proved:
        return f"{asked}: {result.units_sold:,} sold, and NOT proved: see below"
    if result.units_sold == units:
        return f"{asked}: exactly {units:,} sold, no one twice"
    return f"{asked}: {result.units_sold:,} sold, {units - result.units_sold:,} left, no one twice"


def door_line(at_door: AtDoor) -> str:
    """What went through the buyers' door, in one sentence; "" for nothing."""
    if not at_door.clicks:
        return ""
    told = (
        f"{at_door.clicks:,} of them were clicks at the buyers' door: "
        f"{at_door.accepted:,} heard yes, {at_door.refused:,} no"
    )
    if at_door.turned_away:
        told += f", {at_door.turned_away:,} sent nonsense"
    if at_door.wrong:
        return f"{told}; {len(at_door.wrong):,} WRONG: see below"
    if at_door.unanswered:
        return f"{told}, and {at_door.unanswered:,} heard NOTHING"
    return f"{told}; each answer is what the orders say"


def print_result(result: Result, units: int, console: Console) -> None:
    """The sale in one sentence, the table, and the verdict."""
    style = "bold green" if result.proved else "bold red"
    console.print(headline(result, units), style=style)
    if result.at_door.clicks:
        console.print(door_line(result.at_door), style=style)
    table = Table(title="the sale", title_justify="left", show_header=False)
    table.add_column()
    table.add_column(justify="right")
    for outcome, count in sorted(result.outcomes.items(), key=lambda pair: -pair[1]):
        table.add_row(f"requests {outcome.name}", f"{count:,}")
    table.add_row("requests decided", f"{result.decided:,}")
    if result.at_door.clicks:
        told = result.at_door.clicks - result.at_door.messages
        table.add_row("clicks that the door answered by itself", f"{told:,}")
    table.add_section()
    table.add_row("decisions", f"{result.decided / result.decided_in_s:,.0f}/s")
    for name, latency in result.latency_ms.items():
        text = "–" if latency is None else f"{latency:,.0f} ms"
        table.add_row(f"end-to-end latency {name}", text)
    table.add_row("rows stored", f"{result.records:,}")
    table.add_row("units sold", f"{result.units_sold:,}", end_section=True)
    broken = {finding.invariant for finding in result.audit.findings}
    for invariant in INVARIANTS:
        held = "[red]VIOLATED" if invariant in broken else "[green]holds"
        table.add_row(invariant, held)
    verdict = "[green]clean" if result.audit.clean else "[red]VIOLATED"
    table.add_row(f"audit, {result.audit.checks} checks", verdict)
    console.print(Fitted(table))
    console.print(
        "Latency is from the intended time of a request to its decision, including the wait.",
        style="dim",
    )
    for finding in result.audit.findings[:5]:
        what = escape(f"{finding.culprit}: {finding.explanation}")
        console.print(f"[red]{finding.invariant}[/red]: {what}")
    for wrong in result.at_door.wrong[:5]:
        console.print(f"[red]an answer[/red]: {escape(wrong)}")
    if result.stuck:
        console.print("[red]The sale did not finish: a worker is stuck.[/red]")


@dataclass(frozen=True)
class Addresses:
    """The addresses of the web pages, and the login made for this run."""

    port: int
    door: str
    shop: str
    user: str
    password: str
    api_key: str

    def print(self, console: Console) -> None:
        """Print them."""
        base = f"http://127.0.0.1:{self.port}"
        for name, text in (
            ("admin", f"{base}/admin/  user {self.user}, password {self.password}"),
            ("API", f"{base}/status  header X-API-Key: {self.api_key}"),
            ("API documentation", f"{base}/docs"),
            ("buyers' door", f"{self.door}/v1/requests"),
            ("demo shop", f"{self.shop}  makes you a guest and opens the buyers' page"),
        ):
            console.print(f"  {name:<18} {text}", soft_wrap=True, markup=False)

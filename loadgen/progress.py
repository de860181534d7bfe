"""Shows the progress of a run: a bar on a terminal, plain lines elsewhere. Owns their texts.

It writes to the given console (stderr in the command), so that stdout has only the report.
"""

from dataclasses import dataclass
from types import TracebackType
from typing import Protocol

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
from rich.progress import Progress as RichProgress

from loadgen.sender import Progress

# Seconds between two plain lines.
LINE_S = 5.0
# Seconds without room in the producer before a line says so.
BLOCKED_S = 1.0


@dataclass(frozen=True)
class Words:
    """How the lines name what the requests go to."""

    done: str = "acknowledged"
    slow: str = "Kafka acknowledges too slowly"
    again: str = "Kafka accepts requests again"
    full: str = "Kafka accepts no more for now"


KAFKA = Words()
DOOR = Words(
    "answered",
    "all connections wait for answers",
    "connections are free again",
    "all connections wait for answers",
)


class Display(Protocol):
    """A context manager that is called with each Progress."""

    def __enter__(self) -> "Display":
        """Start the display."""

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Restore the terminal."""

    def __call__(self, progress: Progress) -> None:
        """Show this."""


class Quiet:
    """Shows nothing."""

    def __enter__(self) -> "Quiet":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Nothing to end."""

    def __call__(self, progress: Progress) -> None:
        """Nothing."""


class Lines(Quiet):
    """A line every LINE_S, and one when Kafka stops or resumes accepting requests."""

    def __init__(self, console: Console, words: Words = KAFKA) -> None:
        self._console, self._words = console, words
        self._told = Progress(0.0, 0, 0, 0, 0, 0, False, "")
        self._blocked_since: float | None = None
        self._blocked_told = False

    def __enter__(self) -> "Lines":
        return self

    def __call__(self, progress: Progress) -> None:
        """A line if it is time for one."""
        if not progress.blocked:
            if self._blocked_told:
                self._say(f"{self._words.again}: sending what is due")
            self._blocked_since, self._blocked_told = None, False
        elif self._blocked_since is None:
            self._blocked_since = progress.elapsed_s
        elif not self._blocked_told and progress.elapsed_s - self._blocked_since >= BLOCKED_S:
            self._blocked_told = True
            self._say(blocked_words(progress, self._words))
        seconds = progress.elapsed_s - self._told.elapsed_s
        if seconds < LINE_S:
            return
        rate = (progress.sent - self._told.sent) / seconds
        self._told = progress
        self._say(
            f"{progress.elapsed_s:.0f} s: sent {progress.sent:,} of {progress.total:,}, "
            f"due {progress.due:,}, {rate:,.0f}/s, {self._words.done} {progress.delivered:,}, "
            f"failed {progress.failed:,}"
        )

    def _say(self, line: str) -> None:
        self._console.print(line, markup=False, highlight=False, soft_wrap=True)


class Bar(Quiet):
    """rich's progress bar."""

    def __init__(self, console: Console, words: Words = KAFKA) -> None:
        self._words = words
        self._bar = RichProgress(
            TextColumn("requests"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[rate]:>9,.0f}/s"),
            TimeRemainingColumn(),
            TextColumn("{task.fields[note]}", markup=False),
            console=console,
            transient=True,
        )
        self._task = self._bar.add_task("", total=None, rate=0.0, note="")
        self._told = Progress(0.0, 0, 0, 0, 0, 0, False, "")

    def __enter__(self) -> "Bar":
        self._bar.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._bar.stop()

    def __call__(self, progress: Progress) -> None:
        """Move the bar."""
        seconds = progress.elapsed_s - self._told.elapsed_s
        rate = (progress.sent - self._told.sent) / seconds if seconds > 0 else 0.0
        self._told = progress
        failed = f"failed {progress.failed:,}" if progress.failed else ""
        note = self._words.full if progress.blocked else failed
        self._bar.update(
            self._task, total=progress.total, completed=progress.sent, rate=rate, note=note
        )


def blocked_words(progress: Progress, words: Words = KAFKA) -> str:
    """Why nothing is being sent."""
    waiting = progress.sent - progress.delivered - progress.failed
    reason = f" ({progress.last_error})" if progress.last_error else ""
    return (
        f"{words.slow}{reason}: {waiting:,} in flight; "
        "the schedule goes on, and requests that are due are sent when it answers"
    )


def display_for(console: Console, quiet: bool, words: Words = KAFKA) -> Display:
    """The display for this console."""
    if quiet:
        return Quiet()
    return (Bar if console.is_terminal else Lines)(console, words)

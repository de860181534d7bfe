"""An audit that looks again and again beside a sale: one line a look, until something is violated.

Owns the loop and the line. A service that is away for a look is told and no verdict.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass, field

from django.db import DatabaseError, close_old_connections

from seckill.audit.audit import CannotCheck, Report
from seckill.errors import ServiceAway
from seckill.process.shutdown import Shutdown


@dataclass
class Watch:
    """Looks each `interval_s`. `run_once` is one look; `run` ends with a stop or a violation."""

    look: Callable[[], Report]
    shutdown: Shutdown
    interval_s: float
    # A clean look, or None with the reason why there was no look.
    tell: Callable[[Report | None, str], None]

    looks: int = 0
    violated: Report | None = field(default=None)

    def run(self) -> None:
        """Until a stop is asked for or something is violated."""
        while not self.shutdown.requested and self.violated is None:
            began = time.monotonic()
            self.run_once()
            if self.violated is None:
                self.shutdown.wait(max(0.0, self.interval_s - (time.monotonic() - began)))

    def run_once(self) -> int:
        """One look. How many were made: 0 when a service was away."""
        close_old_connections()
        try:
            report = self.look()
        except (CannotCheck, ServiceAway, DatabaseError) as reason:
            self.tell(None, str(reason).strip().splitlines()[0])
            return 0
        self.looks += 1
        if report.clean:
            self.tell(report, "")
        else:
            self.violated = report
        return 1


def watch_line(report: Report) -> str:
    """A clean look in one line."""
    return (
        f"clean | messages {report.messages:,} | sold {report.units_sold:,} of "
        f"{report.units_loaded:,} | stored {report.records_stored:,} | waiting "
        f"{report.records_waiting:,} | parked {report.records_dead:,} | {report.checks} checks in "
        f"{report.took_ms:,} ms"
    )

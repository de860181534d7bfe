"""An audit that repeats during a sale: one line per audit, until something is violated.

Owns the loop and the line. A service that is away is reported; that is not a verdict.
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
    """Audits every `interval_s`. `run_once` does one; `run` ends on a stop or a violation."""

    look: Callable[[], Report]
    shutdown: Shutdown
    interval_s: float
    # Called with a clean report, or with None and the reason why the audit could not run.
    tell: Callable[[Report | None, str], None]

    looks: int = 0
    violated: Report | None = field(default=None)

    def run(self) -> None:
        """Run until a stop is requested or something is violated."""
        while not self.shutdown.requested and self.violated is None:
            began = time.monotonic()
            self.run_once()
            if self.violated is None:
                self.shutdown.wait(max(0.0, self.interval_s - (time.monotonic() - began)))

    def run_once(self) -> int:
        """One audit. Returns how many ran: 0 if a service was away."""
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
    """A clean report in one line."""
    return (
        f"clean | messages {report.messages:,} | sold {report.units_sold:,} of "
        f"{report.units_loaded:,} | stored {report.records_stored:,} | waiting "
        f"{report.records_waiting:,} | parked {report.records_dead:,} | {report.checks} checks in "
        f"{report.took_ms:,} ms"
    )

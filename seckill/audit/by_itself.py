"""The audit that a log worker runs by itself during a sale, so that the last verdict is never old.

Owns whose turn it is, how often, and which verdicts are kept. It runs in a thread of its own with
its own connection to PostgreSQL, and storing never waits for it. Of several log workers one at a
time has the turn, by a key in Redis that expires. A look reads all stored records once, so on a
big table it takes long: then the next one waits `REST` times as long as the look took.
"""

import logging
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import psycopg
import redis
from django.db import InterfaceError, OperationalError, close_old_connections, connection

from seckill.audit.audit import CannotCheck, Report, audit
from seckill.audit.verdict import read_last_audit, write_last_audit
from seckill.errors import PostgresRefuses, RedisRefuses, ServiceAway
from seckill.lane.client import redis_errors
from seckill.lane.keys import Lane
from seckill.process.events import event

log = logging.getLogger(__name__)

# Whoever audits rests so many times as long as the look took: at most a tenth of the time is spent.
REST = 9
# How long a turn is kept for a look that has not ended, in seconds: longer than a look takes, and
# short enough that a worker which died is soon replaced.
TURN_S = 120.0
# How often in an interval a worker asks whether it is its turn: one that died is soon replaced.
ASKS = 4
# Seconds that a stop waits for a look that was cancelled.
PATIENCE_S = 2.0
# How often it is cancelled in that time.
CANCELS = 10


@dataclass
class AuditByItself:
    """Audits every `interval_s` seconds, if no other worker does. A context manager."""

    client: "redis.Redis"
    lane: Lane
    # Who it is, for the verdict.
    name: str
    interval_s: float

    clock: Callable[[], float] = time.monotonic

    looks: int = 0
    _stop: threading.Event = field(default_factory=threading.Event)
    _thread: threading.Thread | None = None
    _looking: "psycopg.Connection[Any] | None" = None

    def __enter__(self) -> "AuditByItself":
        if self.interval_s:
            self._thread = threading.Thread(target=self._run, name="audit", daemon=True)
            self._thread.start()
        return self

    def __exit__(self, *_error: object) -> None:
        """Stop; a look that is under way is cancelled and leaves no verdict."""
        self._stop.set()
        # A look has several queries. One that is cancelled between two of them goes on.
        for _ in range(CANCELS):
            if self._thread is None or not self._thread.is_alive():
                return
            looking = self._looking
            if looking is not None:
                with suppress(psycopg.Error):
                    looking.cancel_safe(timeout=PATIENCE_S)
            self._thread.join(PATIENCE_S / CANCELS)

    def run_once(self) -> int:
        """One look if it is this worker's turn. Returns how many were made. Raises ServiceAway."""
        with redis_errors():
            if not self.client.set(
                self.lane.audit_turn, self.name, nx=True, px=_ms(max(self.interval_s, TURN_S))
            ):
                return 0
        began = self.clock()
        close_old_connections()
        try:
            connection.ensure_connection()
            self._looking = connection.connection
            report = audit(self.client, self.lane)
        except (RedisRefuses, PostgresRefuses) as refused:
            # It stays so until a person mends it.
            self._keep(None, 0, str(refused))
            return 1
        finally:
            self._looking = None
            rest_s = max(self.interval_s, (self.clock() - began) * REST)
            with redis_errors():
                self.client.set(self.lane.audit_turn, self.name, px=_ms(rest_s))
        self.looks += 1
        self._tell(report)
        return 1

    def _tell(self, report: Report) -> None:
        if report.clean:
            last = read_last_audit(self.client, self.lane)
            # This look has not read the topic: it does not clear what one at the topic has found.
            if last is None or last.clean is not False or "--kafka" not in last.by:
                self._keep(True, report.checks, "")
            return
        first = report.findings[0]
        finding = f"{first.invariant}: {first.culprit}: {first.explanation}"
        log.error(
            "the audit found a broken promise: %s. Do: %s",
            finding,
            first.act,
            extra=event("audit-violated"),
        )
        self._keep(False, report.checks, finding)

    def _keep(self, clean: bool | None, checks: int, finding: str) -> None:
        write_last_audit(self.client, clean, checks, finding, self.name, self.lane)

    def _run(self) -> None:
        while not self._stop.wait(self.interval_s / ASKS):
            try:
                self.run_once()
            except CannotCheck:
                # No sale is loaded: nothing to prove.
                continue
            except (ServiceAway, OperationalError, InterfaceError) as away:
                # The verdict grows old, and says so; whoever stores tells what is away.
                log.debug("no audit now: %s", away, extra=event("no-audit"))
        connection.close()


def _ms(seconds: float) -> int:
    return max(1, round(seconds * 1000))

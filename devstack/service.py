"""What the three services share: start, wait for a real answer, stop, status.

Owns the process file and the log of one service. Each server's own module knows what it needs and
how it answers; the stack knows which services run, and for whom.
"""

import signal
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import ClassVar

from devstack.endpoints import HOST, DevstackError
from devstack.process import Process, end, processes_working_in
from devstack.spawn import Command, Record, start_detached
from devstack.state import State, port_is_free

Say = Callable[[str], None]

# Seconds between two requests to a server that is starting.
ASK_S = 0.05
# A running server that does not answer may still be starting. Seconds to wait before a restart.
PATIENCE_S = 15.0
# A larger log is renamed at the next start.
LOG_LIMIT_BYTES = 5_000_000
LOG_TAIL_LINES = 12
# (signal, seconds) for processes without a record.
LEFTOVER_PLAN = ((signal.SIGTERM, 5.0), (signal.SIGKILL, 5.0))


class NoAnswer(Exception):
    """The server did not answer a request, or not as a ready server does."""


@dataclass(frozen=True)
class ServiceStatus:
    """One service as it is now; `state` is 'up', 'down' or 'not answering'."""

    name: str
    state: str
    pid: int | None
    port: int | None
    detail: str


class Service(ABC):
    """One server, its folder, its process file and its log."""

    name: str
    # The name of its processes.
    program: ClassVar[str]
    # (signal, seconds) in turn until it is gone.
    stop_plan: ClassVar[tuple[tuple[int, float], ...]]

    def __init__(self, folder: Path, state: State) -> None:
        self.home = folder / self.name
        self.state = state
        self.log = self.home / f"{self.name}.log"
        self.record_file = self.home / "process.json"
        self._refusal = ""

    @abstractmethod
    def prepare(self, say: Say, lock: int, cancelled: threading.Event) -> Command:
        """Install, format and configure for the port in `state`. Raises DevstackError."""

    @abstractmethod
    def ask(self) -> str:
        """One real request; returns the version to show. Raises NoAnswer."""

    def choose_ports(self, fixed: int | None) -> None:
        """Choose the ports for the next start."""
        self.state.settle_port(self.name, fixed=fixed)

    def finish_start(self) -> None:  # noqa: B027 - most have nothing to do
        """What must be done once the server answers. Raises DevstackError."""

    @property
    @abstractmethod
    def workplace(self) -> Path:
        """The working directory of the running server, by which it is identified."""

    def sweep(self) -> None:
        """End processes that work here without a record: a new server could fail or do harm.

        These are children of a killed server, or a server whose folder was deleted while it ran.
        The children have their own sessions, so killing a process group does not reach them.
        """
        if self.record() is None:
            for left in processes_working_in(self.workplace, self.program):
                end(left, LEFTOVER_PLAN)

    @property
    def port(self) -> int | None:
        """Its port; None before the first start."""
        return self.state.ports.get(self.name)

    def record(self) -> Record | None:
        """The record of the running process, None if there is none. Raises DevstackError."""
        # The process file in a copied folder belongs to the original's process.
        found = None if self.state.copied else Record.read(self.record_file)
        return found if found is not None and found.process.alive() else None

    def status(self) -> ServiceStatus:
        """Its status, by a real request."""
        record = self.record()
        if record is None:
            detail = f"see {self.log}" if self.record_file.exists() else ""
            return ServiceStatus(self.name, "down", None, self.port, detail)
        pid = record.process.pid
        try:
            return ServiceStatus(self.name, "up", pid, self.port, self.ask())
        except NoAnswer as silent:
            detail = f"{silent}; see {self.log}"
            return ServiceStatus(self.name, "not answering", pid, self.port, detail)

    def ensure(
        self,
        say: Say,
        *,
        lock: int,
        wait_s: float,
        owner: Process | None,
        fixed_port: int | None,
        cancelled: threading.Event,
    ) -> bool:
        """Make it answer; True if it had to be started. Raises DevstackError."""
        record = self.record()
        if record is not None:
            if fixed_port not in (None, self.port):
                raise DevstackError(
                    f"{self.name} already runs on port {self.port}, not {fixed_port}: "
                    "`devstack down` first."
                )
            if self._answers(record.process, min(PATIENCE_S, wait_s), cancelled):
                say(f"{self.name}: already up on {HOST}:{self.port}")
                return False
            say(f"{self.name}: runs but does not answer: restarting it")
            self.stop(record)
        self._start(
            say, lock=lock, wait_s=wait_s, owner=owner, fixed_port=fixed_port, cancelled=cancelled
        )
        return True

    def stop(self, record: Record) -> None:
        """End the process and what belongs to it. Raises DevstackError if it cannot be ended."""
        end(record.process, self.stop_plan)
        self.sweep()
        self.record_file.unlink(missing_ok=True)

    def own(self, record: Record, owner: Process | None) -> None:
        """Set the owner for whom the process runs from now on."""
        if record.owner != owner:
            replace(record, owner=owner).write(self.record_file)

    def _start(
        self,
        say: Say,
        *,
        lock: int,
        wait_s: float,
        owner: Process | None,
        fixed_port: int | None,
        cancelled: threading.Event,
    ) -> None:
        self.home.mkdir(mode=0o700, exist_ok=True)
        self.sweep()
        self._put_log_aside()
        for attempt in (1, 2):
            self.choose_ports(fixed_port)
            command = self.prepare(say, lock, cancelled)
            if cancelled.is_set():
                raise DevstackError(f"{self.name}: the start was called off.")
            began, log_start = time.monotonic(), self._log_size()
            process = start_detached(
                command, self.log, self.record_file, port=self.port, owner=owner, lock=lock
            )
            if self._answers(process, wait_s, cancelled):
                self.finish_start()
                taken = time.monotonic() - began
                say(f"{self.name}: up on {HOST}:{self.port} in {taken:.1f} s")
                return
            if process.alive():
                self.stop(Record(process))
                why = (
                    "the start was called off"
                    if cancelled.is_set()
                    else f"no answer in {wait_s:.0f} s ({self._refusal})"
                )
            elif attempt == 1 and fixed_port is None and not port_is_free(self.port):
                # Another program took the port since it was chosen: choose again.
                continue
            else:
                why = "it ended while starting"
            raise DevstackError(
                f"{self.name}: {why}. Its log, {self.log}, ends:{self._tail(log_start)}"
            )

    def _answers(self, process: Process, seconds: float, cancelled: threading.Event) -> bool:
        limit = time.monotonic() + seconds
        while process.alive() and not cancelled.is_set():
            try:
                self.ask()
            except NoAnswer as silent:
                self._refusal = str(silent)
                if time.monotonic() > limit:
                    return False
                cancelled.wait(ASK_S)
            else:
                return True
        return False

    def _put_log_aside(self) -> None:
        if self._log_size() > LOG_LIMIT_BYTES:
            self.log.replace(self.log.with_suffix(".log.1"))

    def _log_size(self) -> int:
        return self.log.stat().st_size if self.log.exists() else 0

    def _tail(self, start: int) -> str:
        with self.log.open("rb") as log:
            log.seek(start)
            lines = log.read().decode("utf-8", errors="replace").strip().splitlines()
        return "".join(f"\n  {line}" for line in lines[-LOG_TAIL_LINES:]) or "\n  (nothing logged)"

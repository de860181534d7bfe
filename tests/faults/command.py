"""A command as a process of its own, for tests: what it says, its signals, its end."""

import contextlib
import os
import re
import signal
import threading

import psutil

from tests.conftest import wait_until
from tests.helpers.forge import Process


class Command:
    """A running `manage.py ...`: its output is read while it runs, line by line."""

    def __init__(self, process: Process) -> None:
        self.process = process
        self.lines: list[str] = []
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.lines.append(line.rstrip("\n"))

    @property
    def arguments(self) -> list[str]:
        """As after `manage.py`."""
        assert isinstance(self.process.args, list)
        return [str(word) for word in self.process.args[2:]]

    @property
    def pid(self) -> int:
        """Of the command itself, the parent of its workers."""
        return self.process.pid

    @property
    def output(self) -> str:
        """All that it said so far."""
        return "\n".join(self.lines)

    def count(self, pattern: str) -> int:
        """Lines that hold the pattern."""
        return sum(1 for line in list(self.lines) if re.search(pattern, line))

    def wait_for(self, pattern: str, timeout_s: float = 15) -> str:
        """The first line that holds the pattern."""

        def found() -> str | None:
            return next((line for line in list(self.lines) if re.search(pattern, line)), None)

        def settled() -> str | bool | None:
            return found() or (self.process.poll() is not None and not self._reader.is_alive())

        wait_until(settled, timeout_s, f"a line with {pattern!r}")
        line = found()
        assert line, f"ended with {self.process.poll()} and no line with {pattern!r}"
        return line

    def ended(self, timeout_s: float = 20) -> int:
        """Its exit code, once it and everything that shares its output are gone."""
        wait_until(lambda: self.process.poll() is not None, timeout_s, "the command ends")
        wait_until(lambda: not self._reader.is_alive(), 15, "nobody holds its output")
        code = self.process.poll()
        assert code is not None
        return code

    def tell(self, number: signal.Signals) -> None:
        """Signal the command alone, as `kill` does."""
        self._hears(number)
        self.process.send_signal(number)

    def tell_group(self, number: signal.Signals) -> None:
        """Signal the command and its children at once, as a terminal does."""
        self._hears(number)
        os.killpg(self.pid, number)

    def _hears(self, number: signal.Signals) -> None:
        """Wait until it can stop by itself: Python, while it starts, dies of the signal."""
        if number in (signal.SIGTERM, signal.SIGINT):
            self.wait_for("", 45)

    def consumers(self) -> list[psutil.Process]:
        """The child processes that consume."""
        with contextlib.suppress(psutil.NoSuchProcess):
            return [
                child
                for child in psutil.Process(self.pid).children()
                if any("spawn_main" in word for word in child.cmdline())
            ]
        return []

    def group(self) -> list[psutil.Process]:
        """Every process of the command that still runs, itself included."""
        members = []
        for process in psutil.process_iter():
            with contextlib.suppress(psutil.Error, ProcessLookupError):
                alive = process.status() != psutil.STATUS_ZOMBIE
                if alive and os.getpgid(process.pid) == self.pid:
                    members.append(process)
        return members

    def close(self) -> None:
        """Kill what is left of it, and read its output to the end."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.pid, signal.SIGKILL)
        self.process.wait()
        self._reader.join(10)


def stop(*commands: Command) -> None:
    """SIGTERM, and the end it must have."""
    for command in commands:
        command.tell(signal.SIGTERM)
    for command in commands:
        assert command.ended(30) == 0, command.output
        assert "Traceback" not in command.output

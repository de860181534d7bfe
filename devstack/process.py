"""Processes by identity: recognizing, finding and ending them.

A pid is not enough, because it can be reused. A process is identified by pid and birth; a zombie
counts as gone. Knows nothing of what a process does.
"""

import contextlib
import os
import signal
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import psutil

from devstack.endpoints import DevstackError

# Seconds between two checks of a process that must end.
LOOK_S = 0.02
# What Linux appends to the path of a deleted working directory.
REMOVED = " (deleted)"
# Fields of /proc/PID/stat, counted from the state on, which is 0.
THREADS, STARTED = 17, 19


@dataclass(frozen=True)
class Process:
    """One process of this machine; never another one with the same pid."""

    pid: int
    birth: str

    def alive(self) -> bool:
        """Whether exactly this process still runs."""
        return birth_of(self.pid) == self.birth

    def signal(self, number: int) -> None:
        """Send a signal; nothing happens if the process is gone. Raises DevstackError."""
        if not self.alive():
            return
        try:
            os.kill(self.pid, number)
        except ProcessLookupError:
            return
        except PermissionError:
            raise DevstackError(
                f"process {self.pid} belongs to another user: stop it as that user."
            ) from None

    def gone_within(self, seconds: float) -> bool:
        """Wait until the process is gone; False if it outlives the limit."""
        limit = time.monotonic() + seconds
        while self.alive():
            if time.monotonic() > limit:
                return False
            time.sleep(LOOK_S)
        return True


def birth_of(pid: int) -> str | None:
    """A text that no other process with this pid ever has; None if gone or a zombie."""
    if sys.platform == "linux":
        # The kernel's own ticks and boot: setting the clock does not change them.
        try:
            stat = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
            fields = stat.rpartition(")")[2].split()
            boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
        except (FileNotFoundError, ProcessLookupError):
            return None
        # The first thread of a killed server may be a zombie while others still hold its port.
        gone = fields[0] in "ZX" and int(fields[THREADS]) <= 1
        return None if gone else f"{boot}:{fields[STARTED]}"
    try:
        found = psutil.Process(pid)
        return None if found.status() == psutil.STATUS_ZOMBIE else f"{found.create_time():.3f}"
    except psutil.NoSuchProcess:
        return None


def process_of(pid: int) -> Process | None:
    """The process that has this pid now."""
    birth = birth_of(pid)
    return None if birth is None else Process(pid, birth)


def own_process() -> Process:
    """This process."""
    return Process(os.getpid(), birth_of(os.getpid()) or "")


def end(process: Process, plan: Sequence[tuple[int, float]]) -> None:
    """Stop a process by each (signal, seconds to wait) until it is gone, then kill its group.

    Raises DevstackError if it outlives the plan.
    """
    for number, seconds in plan:
        process.signal(number)
        # A process stopped by SIGSTOP would never handle the signal.
        process.signal(signal.SIGCONT)
        if process.gone_within(seconds):
            break
    else:
        raise DevstackError(f"process {process.pid} cannot be stopped, not even by SIGKILL.")
    # Each server has its own process group. Children of a killed server may still run.
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)


def processes_working_in(folder: Path, program: str) -> Iterator[Process]:
    """Processes of a program that work in `folder`, or in a deleted folder of that name."""
    wanted = str(folder.resolve())
    for found in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            if found.name() == program and found.cwd().removesuffix(REMOVED) == wanted:
                process = process_of(found.pid)
                if process is not None:
                    yield process

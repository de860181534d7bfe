"""How a process is asked to stop. Owns the signals of the workers; knows nothing of their work.

Order of a stop: the handler only sets the flag; the loop ends after the current turn; the worker
commits what was answered, then leaves its group, then closes its connections.
A second signal ends the process at once. The interrupted step is repeated at the next start, which
is safe: positions and identities make every step idempotent.
"""

import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Sequence
from multiprocessing import resource_tracker
from multiprocessing.process import BaseProcess
from types import FrameType, TracebackType

from seckill.process.exit_codes import SECOND_SIGNAL

STDIN = 0
# Seconds between two checks that the parent process still exists.
LOOK_S = 0.25


def start_child(process: BaseProcess) -> None:
    """Start a spawned child that Ctrl-C does not reach, not even while it imports.

    Ctrl-C on a terminal goes to all processes; the parent alone decides what it means.
    """
    # This also starts a process and unblocks the signal afterwards, so it must come first.
    resource_tracker.ensure_running()
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        process.start()
    finally:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})


def stop_children(running: Sequence[BaseProcess], seconds: float) -> int:
    """Stop children and wait. Those that do not end in time are killed; how many those were."""
    for process in running:
        process.terminate()
    deadline = time.monotonic() + seconds
    killed = 0
    for process in running:
        process.join(max(0.1, deadline - time.monotonic()))
        if process.is_alive():
            killed += 1
            process.kill()
            process.join()
    return killed


def leave_ctrl_c_to_the_parent() -> None:
    """The first call in a child that was started by `start_child`."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})


def shutdown_of_a_command() -> "Shutdown":
    """The signals of a command. If it is the child of another one, that decides what a second
    signal means, and its end is a stop.
    """
    if multiprocessing.parent_process() is None:
        return Shutdown()
    shutdown = Shutdown(second_exits=False)
    shutdown.watch_parent()
    return shutdown


class Shutdown:
    """Context manager: SIGTERM and SIGINT set `requested`; a second signal exits with its code.

    With `second_exits=False` further signals do nothing: for children, whose parent decides.
    """

    def __init__(self, *signals: signal.Signals, second_exits: bool = True) -> None:
        self._signals = signals or (signal.SIGTERM, signal.SIGINT)
        self._second_exits = second_exits
        self._signalled = False
        # Not a threading.Event: a handler that runs while its own thread is inside wait() would
        # deadlock. Each of these two locks is acquired and released in one atomic step: `_asked` is
        # locked from the request to stop on, `_gate` is locked until then.
        self._asked = threading.Lock()
        self._gate = threading.Lock()
        self._gate.acquire()
        self._before: dict[signal.Signals, object] = {}

    @property
    def requested(self) -> bool:
        """True after the first signal."""
        return self._asked.locked()

    def request(self) -> None:
        """Request the stop without a signal."""
        if self._asked.acquire(blocking=False):
            self._gate.release()

    def watch_stdin(self) -> None:
        """Request the stop when standard input ends: the process at the other end is gone."""

        def read() -> None:
            # Not sys.stdin: a thread that holds its lock makes the interpreter crash at exit.
            while os.read(STDIN, 1024):
                pass
            self.request()

        threading.Thread(target=read, name="stdin", daemon=True).start()

    def watch_parent(self) -> None:
        """Request the stop when the parent process is gone, even by kill -9."""
        # Not the one of now, which may be another one already.
        spawner = multiprocessing.parent_process()
        parent = os.getppid() if spawner is None else spawner.pid

        def look() -> None:
            while os.getppid() == parent:
                time.sleep(LOOK_S)
            self.request()

        threading.Thread(target=look, name="parent", daemon=True).start()

    def wait(self, seconds: float) -> bool:
        """Sleep until the time is over or a stop is requested. True if a stop was requested."""
        if not self._gate.acquire(timeout=max(seconds, 0)):
            return self.requested
        self._gate.release()
        return True

    def __enter__(self) -> "Shutdown":
        for number in self._signals:
            self._before[number] = signal.signal(number, self._handle)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)  # type: ignore[arg-type]

    def _handle(self, number: int, frame: FrameType | None) -> None:
        if self._signalled and self._second_exits:
            os._exit(SECOND_SIGNAL)
        self._signalled = True
        self.request()

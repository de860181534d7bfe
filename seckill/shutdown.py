"""How a process is asked to stop. Owns the signals of the workers; knows nothing of their work.

Order of a stop: the handler sets the flag and nothing else; the loop ends after the turn in flight;
the worker commits what was answered, then leaves its group, then closes its connections.
A second signal ends the process at once: whatever is in flight then is repeated at the next start,
which changes nothing, because positions and identities make every step safe to repeat.
"""

import os
import signal
import threading
from types import FrameType, TracebackType

from seckill.exit_codes import SECOND_SIGNAL


STDIN = 0


class Shutdown:
    """Context manager: SIGTERM and SIGINT set `requested`; a second one exits with its code."""

    def __init__(self, *signals: signal.Signals) -> None:
        self._signals = signals or (signal.SIGTERM, signal.SIGINT)
        self._event = threading.Event()
        self._before: dict[signal.Signals, object] = {}

    @property
    def requested(self) -> bool:
        """True from the first signal on."""
        return self._event.is_set()

    def request(self) -> None:
        """Ask for the stop without a signal."""
        self._event.set()

    def watch_stdin(self) -> None:
        """Ask for the stop when standard input ends: whoever held the other side is gone."""

        def read() -> None:
            # Not through sys.stdin: its lock, held by a thread, would break the interpreter's end.
            while os.read(STDIN, 1024):
                pass
            self._event.set()

        threading.Thread(target=read, name="stdin", daemon=True).start()

    def wait(self, seconds: float) -> bool:
        """Sleep, but not past a request to stop. True when there was one."""
        return self._event.wait(seconds)

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
        if self._event.is_set():
            os._exit(SECOND_SIGNAL)
        self._event.set()

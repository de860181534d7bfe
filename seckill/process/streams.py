"""The streams of a process: no output can crash it, or tell a password.

Owns them and what is printed of a bug. What commands write through Django is in
`seckill.process.terminal`, output through rich in `seckill.process.console`, logs in
`seckill.process.logs`.
"""

import io
import os
import signal
import sys
import threading
import traceback
from types import TracebackType
from typing import NoReturn

from seckill.process.printable import given, printable_lines, without_passwords


class ReaderGone(SystemExit):
    """Nobody reads standard output any more, as after `| head`. The process ends, quietly.

    No OSError, which would be taken for a service that is away; no Exception, which would be
    logged. `finally` still cleans up.
    """


class Stream(io.TextIOWrapper):
    """A standard stream that shows what it cannot encode as \\u95ea, and survives its reader.

    Without a reader, standard output ends the process at the main thread's next write. Standard
    error is only for people, so its lines then go nowhere. It has logs and tracebacks, and an error
    of a library may repeat an address: its password is left out.
    """

    def __init__(self, stream: io.TextIOWrapper, *, ends: bool) -> None:
        self._ends = ends
        self._gone = False
        buffering, through = stream.line_buffering, stream.write_through
        super().__init__(
            stream.detach(),
            stream.encoding,
            "backslashreplace",
            line_buffering=buffering,
            write_through=through,
        )

    def write(self, text: str) -> int:
        """See io."""
        self._leave()
        try:
            return super().write(text if self._ends else without_passwords(text))
        except BrokenPipeError:
            self._lose()
            return len(text)

    def flush(self) -> None:
        """See io."""
        self._leave()
        try:
            super().flush()
        except BrokenPipeError:
            self._lose()

    def _lose(self) -> None:
        # What is still buffered must go somewhere, or the interpreter complains at its end.
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, self.fileno())
        os.close(nowhere)
        self._gone = True
        self._leave()

    def _leave(self) -> None:
        # SystemExit in another thread would end only that thread, in silence.
        if self._gone and self._ends and threading.current_thread() is threading.main_thread():
            self._ends = False
            raise ReaderGone


def prepare() -> None:
    """Call once at the start of each process, children too, before anything is written.

    A result is printed after its act: an encoding error then would look as if the act had failed.
    """
    sys.argv = [given(word) for word in sys.argv]
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout = sys.__stdout__ = Stream(sys.stdout, ends=True)  # type: ignore[misc]
    if isinstance(sys.stderr, io.TextIOWrapper):
        sys.stderr = sys.__stderr__ = Stream(sys.stderr, ends=False)  # type: ignore[misc]
    sys.excepthook = _tell_of_a_bug


def end_as_unread() -> NoReturn:
    """End as the kernel ends a program whose output nobody reads, so that a shell sees it."""
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    os.kill(os.getpid(), signal.SIGPIPE)
    # Only if somebody blocks the signal.
    os._exit(128 + signal.SIGPIPE)


def _tell_of_a_bug(
    kind: type[BaseException], error: BaseException, trace: TracebackType | None
) -> None:
    text = "".join(traceback.format_exception(kind, error, trace))
    sys.stderr.write(printable_lines(text))

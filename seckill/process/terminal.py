"""What commands print: no output can crash a command or control the terminal.

Owns the streams of a process, and Django's wrappers around them for our commands. Output through
rich goes to `seckill.process.console`, logs go to `seckill.process.logs`.
"""

import io
import sys
import traceback
from collections.abc import Callable
from functools import partial
from types import TracebackType
from typing import Any

from django.core.management import ManagementUtility
from django.core.management.base import BaseCommand, CommandParser, OutputWrapper

from seckill.process.printable import given, printable, printable_lines, without_addresses

OURS = ("seckill", "loadgen", "devstack")


def prepare() -> None:
    """Call once at process start: streams then show what they cannot encode as \\u95ea.

    A result is printed after its act: an encoding error then would look as if the act had failed.
    """
    sys.argv = [given(word) for word in sys.argv]
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    sys.excepthook = _tell_of_a_bug


def _tell_of_a_bug(
    kind: type[BaseException], error: BaseException, trace: TracebackType | None
) -> None:
    text = "".join(traceback.format_exception(kind, error, trace))
    sys.stderr.write(printable_lines(text))


class Output(OutputWrapper):
    """The output stream of our commands. Text is made printable, then its own colours are added."""

    def write(  # type: ignore[override]
        self,
        msg: str = "",
        style_func: Callable[[str], str] | None = None,
        ending: str | None = None,
    ) -> None:
        """See Django."""
        super().write(printable_lines(msg), style_func, ending)


class Utility(ManagementUtility):
    """Django's utility. Our own commands write through `Output`."""

    def fetch_command(self, subcommand: str) -> BaseCommand:
        """See Django."""
        command = super().fetch_command(subcommand)
        if type(command).__module__.partition(".")[0] in OURS:
            style = command.stderr.style_func
            command.stdout, command.stderr = Output(sys.stdout), Output(sys.stderr)
            command.stderr.style_func = style
            command.create_parser = partial(_create_parser, command.create_parser)  # type: ignore[method-assign]
        return command


def _create_parser(
    create: Callable[..., CommandParser], *args: Any, **kwargs: Any
) -> CommandParser:
    """A parser whose errors are safe to print, though they repeat words of the command line."""
    parser = create(*args, **kwargs)
    tell = parser.error
    parser.error = lambda message: tell(printable(without_addresses(message)))  # type: ignore[method-assign]
    return parser

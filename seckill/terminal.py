"""The way of every command to its terminal: nothing printed ends it, or steers the terminal.

Owns the streams of a process, and Django's wrappers around them for commands of ours. rich's way is
`seckill.console`, that of logs `seckill.logs`.
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

from seckill.printable import given, printable, printable_lines
from seckill_project.addresses import without_addresses

OURS = ("seckill", "loadgen", "devstack")


def prepare() -> None:
    """Once a process, at its start: what a stream cannot encode is shown as \\u95ea, and no error.

    An act is done when its result is printed: a traceback then would say the opposite.
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
    """What a command of ours writes to. Only its own colours are added to what can be read."""

    def write(  # type: ignore[override]
        self,
        msg: str = "",
        style_func: Callable[[str], str] | None = None,
        ending: str | None = None,
    ) -> None:
        """See Django."""
        super().write(printable_lines(msg), style_func, ending)


class Utility(ManagementUtility):
    """Django's, whose commands write through `Output` if they are ours."""

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
    """A parser whose errors, which repeat words of the command line, are safe to print."""
    parser = create(*args, **kwargs)
    tell = parser.error
    parser.error = lambda message: tell(printable(without_addresses(message)))  # type: ignore[method-assign]
    return parser

"""What commands print through Django: no text of it controls the terminal.

The streams themselves are in `seckill.process.streams`.
"""

from collections.abc import Callable
from typing import TextIO

from django.core.management.base import OutputWrapper

from seckill.process.printable import printable_lines


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


def made_printable(out: OutputWrapper, stream: TextIO) -> Output:
    """Django's wrapper of one of a command's streams, as ours."""
    made = Output(stream)
    made.style_func = out.style_func
    return made

"""rich's console, for texts that came from outside: what steers a terminal is shown instead."""

from collections.abc import Iterable
from typing import Any

from django.core.management.base import OutputWrapper
from rich import console as rich_console
from rich.console import ConsoleOptions, RenderableType
from rich.segment import Segment
from rich.text import Text

from seckill.printable import printable_lines


class Console(rich_console.Console):
    """See rich. `print` takes markup, so what came from outside is escaped, or goes to `say`."""

    def render_str(self, text: str, **how: Any) -> Text:
        """See rich: a text, and each cell of a table, before it is measured."""
        return super().render_str(printable_lines(text), **how)

    def render(
        self, renderable: RenderableType, options: ConsoleOptions | None = None
    ) -> Iterable[Segment]:
        """See rich: all that is shown passes here. Its own steering of the terminal does too."""
        for segment in super().render(renderable, options):
            if segment.control or segment.text.isprintable():
                yield segment
            else:
                yield Segment(printable_lines(segment.text), segment.style)

    def say(self, line: str) -> None:
        """A line in which nothing is markup."""
        self.print(line, markup=False)


def console_on(out: OutputWrapper) -> Console:
    """A console on what a command writes to: not through it, which would show colours as text."""
    stream: Any = out
    return Console(file=getattr(stream, "_out", stream))

"""rich's console for text from outside. Control characters are shown, never obeyed."""

from collections.abc import Iterable
from typing import Any

from django.core.management.base import OutputWrapper
from rich import console as rich_console
from rich.console import ConsoleOptions, RenderableType
from rich.segment import Segment
from rich.text import Text

from seckill.process.printable import printable_lines


class Console(rich_console.Console):
    """See rich. `print` reads markup, so escape text from outside, or print it with `say`."""

    def render_str(self, text: str, **how: Any) -> Text:
        """See rich. Called for each text and table cell before it is measured."""
        return super().render_str(printable_lines(text), **how)

    def render(
        self, renderable: RenderableType, options: ConsoleOptions | None = None
    ) -> Iterable[Segment]:
        """See rich. All output passes here, also rich's own control codes, which are kept."""
        for segment in super().render(renderable, options):
            if segment.control or segment.text.isprintable():
                yield segment
            else:
                yield Segment(printable_lines(segment.text), segment.style)

    def say(self, line: str) -> None:
        """Print a line without reading markup in it."""
        self.print(line, markup=False)


def console_on(out: OutputWrapper) -> Console:
    """A console on a command's output, below OutputWrapper, which would show colours as text."""
    stream: Any = out
    return Console(file=getattr(stream, "_out", stream))

"""Tables on narrow terminals: whole columns go, numbers are never cut."""

from collections.abc import Iterator
from copy import copy
from dataclasses import replace

from rich.console import Console, ConsoleOptions, RenderResult
from rich.measure import Measurement
from rich.segment import Segment
from rich.table import Table

# More columns of text than any terminal has.
WIDE = 10_000


class Fitted:
    """A table that leaves columns out until it fits; what still does not fit goes on below.

    `least_first`: headers of the columns that may go, the least important one first.
    """

    def __init__(self, table: Table, *least_first: str) -> None:
        self._table = table
        self._least_first = least_first

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """See rich."""
        shown = _folding(self._table)
        for header in self._least_first:
            if _width(console, options, shown) <= options.max_width:
                break
            shown = _without(shown, header)
        yield from _rendered(console, options, shown)


def _rendered(console: Console, options: ConsoleOptions, table: Table) -> Iterator[Segment]:
    # A console with soft wrapping would let long cells run out of their column.
    yield from console.render(table, options.update(no_wrap=False, overflow="fold"))


def _width(console: Console, options: ConsoleOptions, table: Table) -> int:
    return Measurement.get(console, options.update(max_width=WIDE), table).maximum


def _folding(table: Table) -> Table:
    changed = copy(table)
    changed.columns = [replace(column, overflow="fold") for column in table.columns]
    return changed


def _without(table: Table, header: str) -> Table:
    changed = copy(table)
    kept = [column for column in table.columns if column.header != header]
    changed.columns = [replace(column, _index=index) for index, column in enumerate(kept)]
    return changed

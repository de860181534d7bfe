"""Tables on narrow terminals."""

from io import StringIO

import pytest
from rich.table import Table

from seckill.process.columns import Fitted
from seckill.process.console import Console

NUMBERS = ["1,234,567", "98,765,432", "12,345,678"]


def printed(width: int, *, soft_wrap: bool = False) -> str:
    """A table of four columns, in this many columns of text."""
    table = Table("name", box=None)
    for header in ("left", "sold", "refused"):
        table.add_column(header, justify="right")
    table.add_row("sale", *NUMBERS)
    out = StringIO()
    console = Console(file=out, width=width, soft_wrap=soft_wrap)
    console.print(Fitted(table, "refused", "sold"))
    return out.getvalue()


@pytest.mark.parametrize(
    ("width", "kept"), [(80, ["left", "sold", "refused"]), (32, ["left", "sold"]), (20, ["left"])]
)
@pytest.mark.parametrize("soft_wrap", [False, True])
def test_columns_go_and_no_number_is_cut(width: int, kept: list[str], soft_wrap: bool) -> None:
    text = printed(width, soft_wrap=soft_wrap)
    for header, number in zip(("left", "sold", "refused"), NUMBERS, strict=True):
        assert (header in text) is (header in kept)
        assert (number in text) is (header in kept)
    assert "…" not in text
    assert max(map(len, text.splitlines())) <= width


def test_what_still_does_not_fit_goes_on_below() -> None:
    text = printed(10)
    assert "…" not in text
    assert sum(character.isdigit() for character in text) == 7

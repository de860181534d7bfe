"""The small parts of the report's page: sections, tables, figures and times as text."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from html import escape

from django.utils import timezone
from django.utils.translation import gettext as _

from seckill.formats.times import moment_text
from seckill.models import Activity
from seckill.report.charts import number


@dataclass(frozen=True)
class Frame:
    """What the page says beyond the figures: the activity's name, outcomes in words, a way back.

    `proof` is the verdict of an audit that somebody else has run, if the report has none. `part`
    says which part of which sale the activity is, with `whole` as the way to the report of that.
    """

    name: str = ""
    outcome_text: Callable[[str], str] = str
    back: str = ""
    proof: str = ""
    part: str = ""
    whole: str = ""


def part_text(row: Activity | None) -> str:
    """That an activity is a part of a sale over several lanes; "" for the head, and for others."""
    if row is None or row.part_of in (None, row.pk):
        return ""
    return _(
        "This is part %(part)s of %(parts)s of the sale of activity %(head)s, in lane %(lane)s: it "
        "is not the whole sale."
    ) % {"part": row.part, "parts": row.parts, "head": row.part_of, "lane": row.lane}


def section(title: str, body: str, note: str = "") -> str:
    """A section: title, note, and `body` as HTML."""
    told = f'<p class="dim">{escape(note)}</p>' if note else ""
    return f"<section><h2>{escape(title)}</h2>{told}{body}</section>"


def table(head: Sequence[str], rows: Iterable[Sequence[str]], *, raw: bool = False) -> str:
    """A table of texts; `raw`: the cells are HTML."""
    cells = "".join(
        f'<th scope="col">{escape(name)}</th>' if name else "<td></td>" for name in head
    )
    body = "".join(
        "<tr>" + "".join(f"<td>{cell if raw else escape(cell)}</td>" for cell in row) + "</tr>"
        for row in rows
    )
    # With a thead, browsers print the header again on each page of a long table.
    table = f"<table><thead><tr>{cells}</tr></thead><tbody>{body}</tbody></table>"
    # A table that is scrolled to the side can be reached by keyboard.
    return f'<div class="scroll" tabindex="0">{table}</div>'


def no_history() -> str:
    """What stands in place of a chart without samples."""
    text = _("No history yet: manage.py run_consumer writes it while it runs.")
    return f'<p class="dim">{text}</p>'


def item_name(item: int) -> str:
    """The name of an item."""
    return _("item %(id)s") % {"id": item}


def milliseconds(value: float) -> str:
    """A time in ms as text, from 1 s on in seconds."""
    return f"{value / 1000:,.1f} s" if value >= 1_000 else f"{number(round(value, 1))} ms"


def seconds(ms: int) -> str:
    """A time in ms as whole seconds."""
    return f"{max(0, ms) / 1000:,.0f} s"


def moment(ms: int) -> str:
    """A point of time (ms since 1970) with its date."""
    return moment_text(datetime.fromtimestamp(ms / 1000, UTC), timezone.get_current_timezone())


def clock(ms: int) -> str:
    """A point of time (ms since 1970) without its date."""
    moment = datetime.fromtimestamp(ms / 1000, UTC)
    return moment.astimezone(timezone.get_current_timezone()).strftime("%H:%M:%S")

"""What a row of the journal says in words. What was refused or did not end never looks done."""

from collections.abc import Mapping
from typing import Any

from django.utils.text import capfirst
from django.utils.translation import gettext as _

from seckill.control.journal import LOST_ANSWER
from seckill.models import StockChange
from seckill.web.admin.sentences import changes_text, field_text, value_text


def act_words(change: StockChange) -> str:
    """What a row of the journal has changed, on one line. What was not done never looks done."""
    if change.state == StockChange.State.APPLIED:
        return changes_text(change.old or {}, change.new or {})
    wanted = wanted_text(change.new or {})
    if change.state == StockChange.State.FAILED:
        return _("not done; wanted: %(wanted)s") % {"wanted": wanted}
    return _("result unknown; wanted: %(wanted)s") % {"wanted": wanted}


def wanted_text(new: Mapping[str, Any]) -> str:
    """What an act was to change, on one line."""
    return (
        ", ".join(f"{field_text(name)}: {value_text(name, value)}" for name, value in new.items())
        or "–"
    )


def entry_lines(change: StockChange) -> list[str]:
    """A row of the journal in whole sentences: whether it was done, and what it has changed."""
    old, new = change.old or {}, change.new or {}
    # Rows tell some reasons in words that never change.
    known = {LOST_ANSWER: _("its answer was lost; Redis had done it")}
    detail = known.get(change.detail, change.detail)
    if change.state == StockChange.State.FAILED:
        first = _("Refused: nothing was changed.")
    elif change.state == StockChange.State.STARTED:
        first = _(
            "Begun, and its result is not known: it is under way, or a service went away. The next "
            "act on this activity finds out and completes this row."
        )
    elif change.version:
        first = _("Done: the activity is at version %(n)s since then.") % {"n": change.version}
    else:
        first = _("Done.")
    lines = [first, *([_("Why: %(detail)s") % {"detail": detail}] if detail else [])]
    if change.state != StockChange.State.APPLIED:
        pairs = [
            (name, _("wanted: %(value)s") % {"value": value_text(name, new[name])}) for name in new
        ]
    else:
        pairs = [(name, _step(name, old, new)) for name in new]
    return [*lines, *(f"{_subject(name)}: {text}" for name, text in pairs)]


def _step(name: str, old: Mapping[str, Any], new: Mapping[str, Any]) -> str:
    """One value before and after, with its unit; only after, if what was before is not known."""
    unit = _(" units left") if name.isdigit() and isinstance(new[name], int) else ""
    after = f"{value_text(name, new[name])}{unit}"
    return f"{value_text(name, old[name])} → {after}" if name in old else after


def _subject(name: str) -> str:
    return _("Item %(id)s") % {"id": name} if name.isdigit() else capfirst(field_text(name))

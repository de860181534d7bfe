"""The last acts, for the overview and the desk: who did what, and whether it was done."""

from typing import Any

from django.urls import reverse
from django.utils.translation import gettext as _

from seckill.control.acts import act_text
from seckill.models import Activity, StockChange
from seckill.web.admin.parts import parts_by_number
from seckill.web.admin.sentences import changes_text
from seckill.web.admin.times import clock

State = StockChange.State


def last_acts(count: int, activity_id: int | None = None) -> list[dict[str, Any]]:
    """The newest first; of the head of a split sale those of all parts.

    An act that was refused or not finished shows no change as if done.
    """
    rows = StockChange.objects.order_by("-id")
    if activity_id is not None:
        rows = rows.filter(activity_id__in=Activity.of_sale(activity_id))
    shown = list(rows[:count])
    parts = parts_by_number(change.activity_id for change in shown)
    return [
        {
            "at": change.at,
            "moment": clock(change.at),
            "who": change.actor,
            "activity": change.activity_id,
            "part": parts.get(change.activity_id, ""),
            "text": act_text(change.act),
            "url": reverse("admin:seckill_stockchange_change", args=[change.pk]),
            "done": change.state == State.APPLIED,
            "state": _state(change),
            "result": _result(change),
            "note": change.note,
        }
        for change in shown
    ]


def _state(change: StockChange) -> str:
    """A word for an act that is not done; "" for one that is."""
    return {State.FAILED: _("refused"), State.STARTED: _("not finished")}.get(
        State(change.state), ""
    )


def _result(change: StockChange) -> str:
    if change.state == State.APPLIED:
        return changes_text(change.old or {}, change.new or {})
    if change.state == State.STARTED:
        return _("It is not known whether it was done: look at the figures.")
    return change.detail or _("Nothing was changed.")

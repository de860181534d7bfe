"""The first page: current sales with links to their desks, and the last acts."""

from typing import Any

from django.http import HttpRequest

from seckill.control.acts import act_text
from seckill.models import Activity, StockChange
from seckill.web.admin.base import clock
from seckill.web.admin.live import STATES, attach, look, state_of
from seckill.web.admin.sentences import changes_text

# How many activities and acts the page shows, the newest first.
SALES, ACTS = 12, 10


def overview(request: HttpRequest, context: dict[str, Any]) -> dict[str, Any]:
    """The page's context. Each part is only there if the user may see it."""
    may = request.user.has_perm
    context["sales"] = _sales(request) if may("seckill.view_activity") else None
    context["acts"] = _acts() if may("seckill.view_stockchange") else None
    return context


def _sales(request: HttpRequest) -> list[dict[str, Any]]:
    rows: list[Any] = list(Activity.objects.order_by("-pk")[:SALES])
    attach(rows, look(request))
    found = []
    for row in rows:
        kind, state = ("default", "–") if row.unknown else STATES[state_of(row.live, row.now_ms)]
        items = row.live.items.values() if row.live else ()
        found.append(
            {
                "number": row.pk,
                "name": str(row),
                "kind": kind,
                "state": state,
                "left": f"{sum(item.left for item in items):,}" if row.live else "–",
                "sold": f"{sum(item.sold for item in items):,}" if row.live else "–",
                "requests": f"{row.live.total:,}" if row.live else "–",
            }
        )
    return found


def _acts() -> list[dict[str, Any]]:
    return [
        {
            "pk": change.pk,
            "at": clock(change.at),
            "who": change.actor,
            "text": act_text(change.act),
            "changes": changes_text(change.old or {}, change.new or {}),
        }
        for change in StockChange.objects.order_by("-id")[:ACTS]
    ]

"""The first page: what the lane does, the sales with links to their desks, the last acts.

The page is made with the figures of its moment. `data` is what its script asks for each second.
"""

from typing import Any

from django.contrib.admin import ModelAdmin
from django.http import HttpRequest, HttpResponse
from django.urls import reverse
from django.utils.translation import gettext as _

from seckill.errors import RedisAway
from seckill.lane.status import LaneStatus
from seckill.models import Activity
from seckill.monitoring.verdict_look import read_verdict
from seckill.telemetry.heartbeats import read_workers
from seckill.web.admin import desk, live
from seckill.web.admin.base import UNKNOWN
from seckill.web.admin.desk_texts import watch_texts
from seckill.web.admin.last_acts import last_acts
from seckill.web.shared import services
from seckill.web.shared.away_page import REDIS, what_it_means

# How many activities (the busiest first) and acts (the newest first) the page shows.
SALES, ACTS = 12, 10


def overview(request: HttpRequest, context: dict[str, Any]) -> dict[str, Any]:
    """The page's context. Each part is only there if the user may see it."""
    may = request.user.has_perm
    if may("seckill.view_activity"):
        context.update(_now())
        context["texts"] = {
            "data": reverse("admin:seckill_activity_overview_data"),
            **watch_texts(request),
        }
    context["acts"] = last_acts(ACTS) if may("seckill.view_stockchange") else None
    return context


def data(request: HttpRequest, *, admin: ModelAdmin) -> HttpResponse:
    """The JSON: 401 without a staff session, 403 without the permission, 503 without Redis."""
    refused = desk.refusal(request, admin)
    if refused is not None:
        return refused
    now = _now()
    if now["away"]:
        return desk.json_answer({"service": now["away"]}, 503)
    return desk.json_answer(now, 200)


def _now() -> dict[str, Any]:
    """The verdict and the sales; only what PostgreSQL knows while Redis is away."""
    client, lane = services.redis_client(), services.lane()
    try:
        status = services.lane_status()
        rates = live.rates(status)
        verdict = read_verdict(client, lane, status, read_workers(client, lane))
    except RedisAway as away:
        title = _("%(service)s is away") % {"service": away.service}
        text = f"{title}. {what_it_means(REDIS)}"
        return {
            "away": away.service,
            "verdict": {"state": "away", "level": "danger", "text": text},
            "sales": _sales(None, {}),
        }
    return {
        "away": "",
        "verdict": live.verdict_json(verdict, status.now_ms),
        "sales": _sales(status, rates),
    }


def _sales(lane: LaneStatus | None, rates: dict[int, float]) -> list[dict[str, Any]]:
    loaded = tuple(lane.activities) if lane else ()
    rows: list[Any] = list(Activity.objects.filter(pk__in=loaded))
    rows += Activity.objects.exclude(pk__in=loaded).order_by("-pk")[:SALES]
    live.attach(rows, lane)
    by_number = {row.pk: row for row in rows}
    order = live.busiest_first(by_number, lane, rates)[:SALES]
    return [_sale(by_number[number], lane, rates.get(number, 0.0)) for number in order]


def _sale(row: Any, lane: LaneStatus | None, rate: float) -> dict[str, Any]:
    """A card. What is sold and asked for counts since the activity was made: both are ever."""
    state = live.state_of(row.live, row.now_ms)
    kind, text = ("default", UNKNOWN) if lane is None else live.STATES[state]
    items = row.live.items.values() if row.live else ()
    requests = sum(row.live.total_outcomes.values()) if row.live else 0

    def shown(number: int) -> str:
        return f"{number:,}" if row.live else UNKNOWN

    return {
        "number": row.pk,
        "name": desk.name_of(row),
        "url": reverse("admin:seckill_activity_desk", args=[row.pk]),
        "kind": kind,
        "state": str(text),
        "left": shown(sum(item.left for item in items)),
        "sold": shown(sum(item.sold for item in items)),
        "requests": shown(requests),
        "rate": f"{rate:,.0f}" if row.live else UNKNOWN,
    }

"""The first page: what the lane does, the sales with links to their desks, the last acts.

The page is made with the figures of its moment. `data` is what its script asks for each second.
"""

from typing import Any

from django.contrib.admin import ModelAdmin
from django.http import HttpRequest, HttpResponse
from django.urls import reverse
from django.utils.translation import gettext as _

from seckill.errors import RedisAway
from seckill.lane.keys import Lane
from seckill.lane.status import LaneStatus
from seckill.models import Activity
from seckill.monitoring.verdict_look import read_verdict
from seckill.telemetry.heartbeats import read_workers
from seckill.web.admin import desk, live
from seckill.web.admin.cards import Card
from seckill.web.admin.desk_texts import watch_texts
from seckill.web.admin.last_acts import last_acts
from seckill.web.shared import services
from seckill.web.shared.away_page import REDIS, what_it_means
from seckill.web.shared.services import Lanes

# How many activities (the busiest first) and acts (the newest first) the page shows.
SALES, ACTS = 12, 10
# The levels of verdicts, the worst first.
BADNESS = ("danger", "warning", "success", "info")


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
    lanes, gone = services.all_lanes()
    away = next(iter(gone.values()), None)
    try:
        rates = live.rates(lanes)
    except RedisAway as now:
        away, rates = now, {}
    verdicts = {name: _verdict(name, status) for name, status in lanes.by_name.items()}
    return {
        "away": away.service if away and not any(lanes.by_name.values()) else "",
        "verdict": _together(verdicts),
        "sales": _sales(lanes, rates),
    }


def _verdict(name: str, status: LaneStatus | None) -> dict[str, str]:
    """What a lane does now."""
    try:
        if status is not None:
            client, lane = services.redis_client(name), Lane.named(name)
            verdict = read_verdict(client, lane, status, read_workers(client, lane))
            return live.verdict_json(verdict, status.now_ms)
    except RedisAway:
        pass
    title = _("%(service)s is away") % {"service": REDIS}
    return {"state": "away", "level": "danger", "text": f"{title}. {what_it_means(REDIS)}"}


def _together(verdicts: dict[str, dict[str, str]]) -> dict[str, str]:
    """The verdicts on all lanes as one, as bad as the worst of them."""
    if len(verdicts) == 1:
        return next(iter(verdicts.values()))
    worst = min(verdicts.values(), key=lambda verdict: BADNESS.index(verdict["level"]))
    said = [
        _("Lane %(lane)s: %(text)s") % {"lane": name, "text": verdict["text"]}
        for name, verdict in verdicts.items()
    ]
    return {**worst, "text": " · ".join(said)}


def _sales(lanes: Lanes, rates: dict[int, float]) -> list[dict[str, Any]]:
    loaded = tuple(lanes.loaded)
    rows: list[Any] = list(Activity.objects.filter(pk__in=loaded))
    rows += Activity.objects.exclude(pk__in=loaded).order_by("-pk")[:SALES]
    # A part whose Redis is away is not loaded anywhere: it belongs to its sale all the same.
    heads = {row.part_of for row in rows if row.part_of is not None}
    known = [row.pk for row in rows]
    rows += Activity.objects.filter(part_of__in=heads).exclude(pk__in=known)
    live.attach(rows, lanes)
    sales: dict[int, list[Any]] = {}
    for row in sorted(rows, key=lambda row: row.part or 0):
        sales.setdefault(row.part_of or row.pk, []).append(row)
    cards = [Card(parts, sum(rates.get(row.pk, 0.0) for row in parts)) for parts in sales.values()]
    return [card.json() for card in sorted(cards, key=lambda card: card.place)[:SALES]]

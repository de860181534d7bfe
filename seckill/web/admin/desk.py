"""The desk: one live page per activity, and the JSON that it requests every second.

Owns URLs, permissions and the page's frame. `desk_data` makes the JSON, `desk_acts` the buttons.
"""

from typing import Any

from django.contrib.admin import ModelAdmin
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect, JsonResponse
from django.template.response import TemplateResponse
from django.urls import reverse
from django.utils.translation import gettext as _

from seckill.audit.verdict import read_last_audit
from seckill.errors import RedisAway
from seckill.formats.outcomes import Outcome
from seckill.lane.keys import Lane
from seckill.lane.status import read_lane
from seckill.models import Activity, Item, LatePayment
from seckill.monitoring.verdict_look import read_verdict
from seckill.telemetry.heartbeats import read_workers
from seckill.telemetry.history import read_series
from seckill.web.admin import desk_acts, desk_away, desk_data, live
from seckill.web.admin.desk_look import Look
from seckill.web.admin.desk_texts import outcome_text, script_texts, watch_texts
from seckill.web.admin.last_acts import last_acts
from seckill.web.shared import auth, services
from seckill.web.shared.sale import sale_of

# Time ranges of the charts in seconds; 0 is the whole history.
WINDOWS = (60, 300, 900, 3600, 0)
# How many other activities the page links to, and how many acts it shows.
OTHERS, ACTS = 20, 6


def home(request: HttpRequest, *, admin: ModelAdmin) -> HttpResponse:
    """The menu's link: to the desk of the sale that runs; to the overview if several could be it.

    The overview lists them, the busiest first.
    """
    if not admin.has_view_permission(request):
        raise PermissionDenied
    chosen = _that_runs()
    if chosen is None:
        return HttpResponseRedirect(reverse("admin:index"))
    return HttpResponseRedirect(reverse("admin:seckill_activity_desk", args=[chosen]))


def _that_runs() -> int | None:
    """The activity that sells, is open, or is alone; None if there is none or more than one."""
    lanes, _away = services.all_lanes()
    try:
        rates = live.rates(lanes)
    except RedisAway:
        rates = {}
    loaded = lanes.loaded

    def state(number: int) -> str:
        lane = lanes.of(number)
        return live.state_of(loaded[number], lane.now_ms if lane else 0)

    heads = dict(
        Activity.objects.filter(part_of__isnull=False).values_list("pk", "part_of"),
    )
    for numbers in (
        [number for number, rate in rates.items() if rate > 0],
        [number for number in loaded if state(number) == "open"],
        list(loaded),
        list(Activity.objects.values_list("pk", flat=True)[:2]),
    ):
        # The parts of a sale over several lanes are one sale.
        found = {heads.get(number, number) for number in numbers}
        if found:
            return found.pop() if len(found) == 1 else None
    return None


def page(request: HttpRequest, activity_id: int, *, admin: ModelAdmin) -> HttpResponse:
    """The page. It contains no figures: these come as JSON, so that none is ever old."""
    activity = _activity(admin, request, activity_id)
    steer = auth.may_steer(request.user)
    others = Activity.objects.exclude(pk=activity_id).order_by("-pk")[:OTHERS]
    journal = request.user.has_perm("seckill.view_stockchange")
    context = {
        **admin.admin_site.each_context(request),
        "title": _("Desk: %(name)s") % {"name": name_with_lane(activity)},
        "activity": activity,
        "acts": desk_acts.buttons(activity_id) if steer else (),
        # Of the other parts of a sale over several lanes: where it is steered as a whole.
        "head": activity.part_of if activity.part_of != activity_id else None,
        "journal": journal,
        "others": [(other, name_of(other)) for other in others],
        "is_fullwidth": "1",
        "windows": [(seconds, _minutes(seconds), seconds == WINDOWS[1]) for seconds in WINDOWS],
        "lane_wide": (Outcome.INVALID.name, Outcome.NO_SUCH_ACTIVITY.name),
        "outcomes": [(outcome.name, outcome_text(outcome.name)) for outcome in Outcome],
        "texts": {
            "data": reverse("admin:seckill_activity_desk_data", args=[activity_id]),
            "add_url": reverse("admin:seckill_activity_act_add", args=[activity_id]),
            "stock_url": reverse("admin:seckill_activity_act_stock", args=[activity_id]),
            "steer": steer,
            **watch_texts(request),
            **script_texts(),
        },
    }
    request.current_app = admin.admin_site.name
    return TemplateResponse(request, "seckill/desk.html", context)


def data(request: HttpRequest, activity_id: int, *, admin: ModelAdmin) -> HttpResponse:
    """The JSON: 401 without a staff session, 403 without the permission, 503 without Redis: then
    with what PostgreSQL knows.

    `since` is the time of the last point that the page has. `window` is its time range in seconds,
    0 for the whole history.
    """
    refused = refusal(request, admin)
    if refused is not None:
        return refused
    window_s = _number(request, "window", WINDOWS[1])
    if window_s not in WINDOWS:
        window_s = WINDOWS[1]
    since_ms = _number(request, "since", 0)
    lane = Lane.named(services.lane_name_of(activity_id))
    journal = request.user.has_perm("seckill.view_stockchange")
    try:
        client = services.redis_client(lane.name)
        now_ms = services.redis_now_ms(lane.name)
        oldest_ms = now_ms - window_s * 1000 if window_s else 0
        status, workers = read_lane(client, lane), read_workers(client, lane)
        items = list(Item.objects.filter(activity_id=activity_id))
        look = Look(
            now_ms=now_ms,
            lane=status,
            named=lane.name,
            verdict=read_verdict(client, lane, status, workers, activity_id),
            workers=workers,
            audit=read_last_audit(client, lane),
            samples=read_series(client, lane, max(since_ms, oldest_ms) - 1),
            since_ms=since_ms,
            names={item.item_id: item.name for item in items if item.name},
            stored=sum(item.sold for item in items),
            late=_late(activity_id),
            acts=last_acts(ACTS, activity_id) if journal else (),
            sale=sale_of(activity_id),
        )
    except RedisAway as away:
        acts = last_acts(ACTS, activity_id) if journal else ()
        return json_answer(desk_away.answer(activity_id, lane.name, away, acts), 503)
    return json_answer(desk_data.answer(look, activity_id), 200)


def _late(activity_id: int) -> int:
    """Late payments that nobody has settled; of the head of a split sale those of all parts."""
    sale = Activity.of_sale(activity_id)
    return LatePayment.objects.filter(activity_id__in=sale, resolved_at=None).count()


def refusal(request: HttpRequest, admin: ModelAdmin) -> HttpResponse | None:
    """The answer to somebody who may not look; None to anybody who may."""
    if not admin.admin_site.has_permission(request):
        return json_answer({"detail": _("You are logged out.")}, 401)
    if not admin.has_view_permission(request):
        return json_answer({"detail": _("You may not look at activities.")}, 403)
    return None


def _activity(admin: ModelAdmin, request: HttpRequest, activity_id: int) -> Activity:
    if not admin.has_view_permission(request):
        raise PermissionDenied
    activity = Activity.objects.filter(pk=activity_id).first()
    if activity is None:
        raise Http404
    return activity


def json_answer(content: dict[str, Any], status: int) -> JsonResponse:
    """JSON that nobody keeps."""
    response = JsonResponse(content, status=status)
    response["Cache-Control"] = "private, no-store"
    return response


def _number(request: HttpRequest, name: str, default: int) -> int:
    text = request.GET.get(name, "")
    return int(text) if text.isascii() and text.isdigit() and len(text) <= 15 else default


def name_of(activity: Activity) -> str:
    """Its number and name."""
    return f"{activity.pk} · {activity.name}" if activity.name else str(activity)


def name_with_lane(activity: Activity) -> str:
    """The same, and its lane if there are several."""
    if not services.several_lanes():
        return name_of(activity)
    return _("%(name)s, lane %(lane)s") % {"name": name_of(activity), "lane": activity.lane}


def _minutes(seconds: int) -> str:
    if not seconds:
        return _("whole sale")
    return _("1 h") if seconds == 3600 else _("%(n)s min") % {"n": seconds // 60}

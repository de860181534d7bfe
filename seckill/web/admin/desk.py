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
from seckill.formats.outcomes import DEFAULT_ACTIVITY, Outcome
from seckill.lane.status import read_lane
from seckill.models import Activity, Item
from seckill.telemetry.heartbeats import read_workers
from seckill.telemetry.history import read_series
from seckill.web.admin import desk_acts, desk_data
from seckill.web.admin.desk_look import Look
from seckill.web.admin.desk_texts import outcome_text, script_texts
from seckill.web.shared import auth, services

# Time ranges of the charts in seconds; 0 is the whole history.
WINDOWS = (60, 300, 900, 3600, 0)
# How many other activities the page links to.
OTHERS = 20


def home(request: HttpRequest, *, admin: ModelAdmin) -> HttpResponse:
    """The menu's link: to the desk of the activity that sells now, or else of the last one."""
    if not admin.has_view_permission(request):
        raise PermissionDenied
    number = Activity.objects.order_by("-pk").values_list("pk", flat=True).first()
    try:
        loaded = services.lane_status().activities
    except RedisAway:
        loaded = {}
    selling = [pk for pk, status in sorted(loaded.items()) if not status.over]
    chosen = next(iter(selling or sorted(loaded)), number or DEFAULT_ACTIVITY)
    return HttpResponseRedirect(reverse("admin:seckill_activity_desk", args=[chosen]))


def page(request: HttpRequest, activity_id: int, *, admin: ModelAdmin) -> HttpResponse:
    """The page. It contains no figures: these come as JSON, so that none is ever old."""
    activity = _activity(admin, request, activity_id)
    steer = auth.may_steer(request.user)
    others = Activity.objects.exclude(pk=activity_id).order_by("-pk")[:OTHERS]
    context = {
        **admin.admin_site.each_context(request),
        "title": _("Desk: %(name)s") % {"name": _name(activity)},
        "activity": activity,
        "acts": desk_acts.buttons(activity_id) if steer else (),
        "others": [(other, _name(other)) for other in others],
        "is_fullwidth": "1",
        "windows": [(seconds, _minutes(seconds), seconds == WINDOWS[1]) for seconds in WINDOWS],
        "outcomes": [(outcome.name, outcome_text(outcome.name)) for outcome in Outcome],
        "texts": {
            "data": reverse("admin:seckill_activity_desk_data", args=[activity_id]),
            "add_url": reverse("admin:seckill_activity_act_add", args=[activity_id]),
            "stock_url": reverse("admin:seckill_activity_act_stock", args=[activity_id]),
            "steer": steer,
            "journal": reverse("admin:seckill_stockchange_changelist"),
            "login": f"{reverse('admin:login')}?next={request.path}",
            **script_texts(),
        },
    }
    request.current_app = admin.admin_site.name
    return TemplateResponse(request, "seckill/desk.html", context)


def data(request: HttpRequest, activity_id: int, *, admin: ModelAdmin) -> HttpResponse:
    """The JSON: 401 without a staff session, 403 without the permission, 503 without Redis.

    `since` is the time of the last point that the page has. `window` is its time range in seconds,
    0 for the whole history.
    """
    if not admin.admin_site.has_permission(request):
        return _json({"detail": _("You are logged out.")}, 401)
    if not admin.has_view_permission(request):
        return _json({"detail": _("You may not look at activities.")}, 403)
    window_s = _number(request, "window", WINDOWS[1])
    if window_s not in WINDOWS:
        window_s = WINDOWS[1]
    since_ms = _number(request, "since", 0)
    client, lane = services.redis_client(), services.lane()
    try:
        now_ms = services.redis_now_ms()
        oldest_ms = now_ms - window_s * 1000 if window_s else 0
        look = Look(
            now_ms=now_ms,
            lane=read_lane(client, lane),
            workers=read_workers(client, lane),
            audit=read_last_audit(client, lane),
            samples=read_series(client, lane, max(since_ms, oldest_ms) - 1),
            since_ms=since_ms,
            names=dict(
                Item.objects.filter(activity_id=activity_id)
                .exclude(name="")
                .values_list("item_id", "name")
            ),
        )
    except RedisAway as away:
        return _json({"service": away.service}, 503)
    return _json(desk_data.answer(look, activity_id), 200)


def _activity(admin: ModelAdmin, request: HttpRequest, activity_id: int) -> Activity:
    if not admin.has_view_permission(request):
        raise PermissionDenied
    activity = Activity.objects.filter(pk=activity_id).first()
    if activity is None:
        raise Http404
    return activity


def _json(content: dict[str, Any], status: int) -> JsonResponse:
    response = JsonResponse(content, status=status)
    response["Cache-Control"] = "private, no-store"
    return response


def _number(request: HttpRequest, name: str, default: int) -> int:
    text = request.GET.get(name, "")
    return int(text) if text.isascii() and text.isdigit() and len(text) <= 15 else default


def _name(activity: Activity) -> str:
    return f"{activity.pk} · {activity.name}" if activity.name else str(activity)


def _minutes(seconds: int) -> str:
    if not seconds:
        return _("whole sale")
    return _("1 h") if seconds == 3600 else _("%(n)s min") % {"n": seconds // 60}

"""Add an activity on one page: rules, items and stock; then what will happen; then one act.

`create` with a stock is all or nothing: one row in the journal, one script. If Redis goes away in
the middle of it, the result is unknown, and the activity may exist without stock: it sells nothing.
`first_stock` finishes it, from what the journal says was wanted. Repeating that is safe.
"""

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

from django.contrib import messages
from django.contrib.admin import ModelAdmin
from django.core.exceptions import PermissionDenied
from django.db.models import Max
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import reverse
from django.utils import timezone
from django.utils.translation import gettext as _

from seckill.control.acts import CREATE, SET_STOCK
from seckill.control.control import Refused
from seckill.errors import RedisAway, ServiceAway
from seckill.formats.lanes import MAIN
from seckill.formats.outcomes import DEFAULT_ACTIVITY, MAX_ID
from seckill.models import Activity, Item, StockChange
from seckill.web.admin import sentences, steering
from seckill.web.admin.new_activity_forms import ItemLine, ItemsForm, NewActivityForm
from seckill.web.shared import auth, services

RULES = ("name", "opens_at", "closes_at", "user_limit", "timeout_ms", "hold_s")


def page(admin: ModelAdmin, request: HttpRequest) -> HttpResponse:
    """The form, filled in from a past sale with `?copy=`; then the question; then the acts."""
    if not (admin.has_add_permission(request) and auth.may_steer(request.user)):
        raise PermissionDenied
    sent = request.method == "POST"
    form = NewActivityForm(
        request.POST if sent else None, initial=None if sent else _start(request)
    )
    if not form.is_valid():
        return steering.page(
            admin, request, title=_("Add an activity"), form=form, submit=_("Next")
        )
    values = form.cleaned_data
    if request.POST.get(steering.CONFIRMED) == "yes":
        return _make(admin, request, values)
    return steering.page(
        admin,
        request,
        title=_("Add activity %(id)s") % {"id": values["id"]},
        lines=[*_lines(values), _("The journal will name you.")],
        form=steering.NoteForm(),
        submit=_("Put it on sale") if values["items"] else _("Add it"),
        hidden=_again(request, form.fields),
    )


def first_stock(admin: ModelAdmin, request: HttpRequest, activity_id: int) -> HttpResponse:
    """Put an activity on sale that has no stock in Redis yet. Items that are loaded stay alone."""
    if not auth.may_steer(request.user):
        raise PermissionDenied
    activity = Activity.objects.filter(pk=activity_id).first()
    if activity is None:
        raise Http404
    title = _("First stock of activity %(id)s") % {"id": activity_id}
    sent = request.method == "POST"
    form = ItemsForm(request.POST if sent else None, initial={"items": _wanted(activity_id)})
    if not form.is_valid():
        return steering.page(admin, request, title=title, form=form, submit=_("Next"))
    items: list[ItemLine] = form.cleaned_data["items"]
    if request.POST.get(steering.CONFIRMED) == "yes":
        return _put_on_sale(admin, request, activity_id, items)
    window = sentences.window_lines(None, activity.opens_at, activity.closes_at)
    return steering.page(
        admin,
        request,
        title=title,
        lines=[*window, *_item_lines(items), _("The journal will name you.")],
        form=steering.NoteForm(),
        submit=_("Put it on sale"),
        hidden=_again(request, form.fields),
    )


def _make(admin: ModelAdmin, request: HttpRequest, values: dict[str, Any]) -> HttpResponse:
    """The act, and what the user is told if it was not done, or if nobody knows."""
    lane = values.get("lane", MAIN)
    items: list[ItemLine] = values["items"]
    stock = {line.item: line.units for line in items}
    rules = {name: values[name] for name in RULES}
    try:
        control = services.control(auth.actor_of_user(request.user), _note(request), lane=lane)
        if items:
            services.lane_status(lane)
        made = control.create(values["id"], stock, **rules)
    except Refused as refused:
        messages.error(request, _("Nothing was saved: %(why)s") % {"why": refused})
        return HttpResponseRedirect(steering.list_of(admin))
    except ServiceAway as away:
        if isinstance(away, RedisAway) and Activity.objects.filter(pk=values["id"]).exists():
            return _unfinished(request, values["id"], away)
        messages.error(request, sentences.not_saved(away))
        return HttpResponseRedirect(steering.list_of(admin))
    _name(made.activity_id, items)
    messages.success(request, sentences.done_text(made))
    if not items:
        return HttpResponseRedirect(steering.list_of(admin))
    return HttpResponseRedirect(reverse("admin:seckill_activity_desk", args=[made.activity_id]))


def _put_on_sale(
    admin: ModelAdmin,
    request: HttpRequest,
    activity_id: int,
    items: list[ItemLine],
) -> HttpResponse:
    """The first stock, then the items' names. A failure leads to the page that finishes it."""
    stock = {line.item: line.units for line in items}
    try:
        actor = auth.actor_of_user(request.user)
        control = services.control(actor, _note(request), activity_id=activity_id)
        now = services.activity_status(activity_id)
        if now is None or set(stock) - set(now.items):
            done = control.set_stock(activity_id, stock, only_new=True)
            messages.success(request, sentences.done_text(done))
        else:
            messages.info(
                request, _("These items are on sale already: their stock was left alone.")
            )
        _name(activity_id, items)
    except (Refused, ServiceAway) as why:
        return _unfinished(request, activity_id, why)
    return HttpResponseRedirect(reverse("admin:seckill_activity_desk", args=[activity_id]))


def _unfinished(request: HttpRequest, activity_id: int, why: Exception) -> HttpResponse:
    """Tell it, and go to the page that finishes it."""
    messages.error(
        request,
        _(
            "Activity %(id)s exists, but its stock is not set, or it is not known whether it is: "
            "%(why)s. It sells nothing without stock. Finish it here once the cause is gone: what "
            "is on sale already is left alone."
        )
        % {"id": activity_id, "why": why},
    )
    return HttpResponseRedirect(reverse("admin:seckill_activity_first_stock", args=[activity_id]))


def _name(activity_id: int, items: list[ItemLine]) -> None:
    """Names are for people alone: no act, and a blank one changes none."""
    for line in items:
        if line.name:
            rows = Item.objects.filter(activity_id=activity_id, item_id=line.item)
            rows.update(name=line.name)


def _lines(values: Mapping[str, Any]) -> list[str]:
    """What adding it will do."""
    limit, timeout = values["user_limit"], values["timeout_ms"]
    lines = [
        _("Activity %(id)s is created: %(name)s.")
        % {"id": values["id"], "name": values["name"] or "–"},
        *sentences.window_lines(None, values["opens_at"], values["closes_at"]),
        _("It will be %(units)s per user.") % {"units": sentences.count(limit)}
        if limit
        else _("There will be no limit: one user may buy all units."),
        _("Requests older than %(n)s ms expire.") % {"n": f"{timeout:,}"}
        if timeout
        else _("Requests expire as the consumers are started with."),
        *sentences.hold_lines(None, values["hold_s"]),
    ]
    if not values["items"]:
        return [*lines, _("It sells nothing until its first stock is set.")]
    return [
        *lines,
        *_item_lines(values["items"]),
    ]


def _item_lines(items: list[ItemLine]) -> list[str]:
    return [
        *(
            _("Item %(item)s is put on sale: %(units)s.")
            % {
                "item": f"{line.item} · {line.name}" if line.name else line.item,
                "units": sentences.count(line.units),
            }
            for line in items
        ),
        _("Together %(units)s, all in one step or none.")
        % {"units": sentences.count(sum(line.units for line in items))},
    ]


def _start(request: HttpRequest) -> dict[str, Any]:
    """The next free number, and the rules and items of the sale that is copied."""
    last = Activity.objects.aggregate(last=Max("pk"))["last"]
    start: dict[str, Any] = {"id": last + 1 if last else DEFAULT_ACTIVITY}
    text = request.GET.get("copy", "")
    number = int(text) if text.isascii() and text.isdigit() and len(text) <= 19 else 0
    copied = Activity.objects.filter(pk=number).first() if 1 <= number <= MAX_ID else None
    if copied is None:
        return start
    days = _days_ahead(copied.opens_at or copied.closes_at)
    items = Item.objects.filter(activity_id=copied.pk, allocation__gt=0)
    return {
        **start,
        "name": copied.name,
        "opens_at": copied.opens_at and copied.opens_at + days,
        "closes_at": copied.closes_at and copied.closes_at + days,
        "user_limit": copied.user_limit,
        "timeout_ms": copied.timeout_ms,
        "hold_s": copied.hold_s,
        "lane": copied.lane,
        "items": "\n".join(f"{i.item_id} {i.allocation} {i.name}".strip() for i in items),
    }


def _days_ahead(moment: datetime | None) -> timedelta:
    """Whole days until the same time of day is to come again."""
    past = timezone.now() - moment if moment else timedelta()
    return timedelta(days=max(0, past.days + 1))


def _wanted(activity_id: int) -> str:
    """The stock of the last act that did not put it on sale, as the form's text."""
    acts = (SET_STOCK.name, CREATE.name)
    entry = StockChange.objects.filter(activity_id=activity_id, act__in=acts).first()
    if entry is None or entry.state == StockChange.State.APPLIED:
        return ""
    wanted = (entry.new or {}).items()
    return "\n".join(f"{name} {value}" for name, value in wanted if name.isdigit())


def _again(request: HttpRequest, fields: Mapping[str, Any]) -> dict[str, str | list[str]]:
    """The form as it was sent, so that the page sends it again, confirmed."""
    names = [name for name in request.POST if name in fields or name[:-2] in fields]
    return {**{name: request.POST[name] for name in names}, steering.CONFIRMED: "yes"}


def _note(request: HttpRequest) -> str:
    return request.POST.get(steering.NOTE, "").strip()

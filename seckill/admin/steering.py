"""Acts of operators in the admin: a page says what will happen, then Control is called once.

Owns the forms and the way through form, confirmation and act. Nothing is changed by a GET, and
nothing without a second look. Knows no list of the admin; what is said is in `sentences`.
"""

from collections.abc import Callable, Mapping, Sequence

from django import forms
from django.contrib import messages
from django.contrib.admin import ModelAdmin
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import reverse
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from unfold.widgets import UnfoldAdminBigIntegerFieldWidget, UnfoldAdminIntegerFieldWidget

from seckill import auth, web
from seckill.admin import sentences
from seckill.control import Act, Control, Refused
from seckill.errors import RedisAway, ServiceAway
from seckill.stats import LaneStatus
from seckill.wire import DEFAULT_ACTIVITY, MAX_ID, MAX_UNITS

# The field that says: I have read what will happen.
CONFIRMED = "confirmed"


class StockForm(forms.Form):
    """Units of an item that is known."""

    units = forms.IntegerField(
        label=gettext_lazy("Units left from now on"),
        min_value=0,
        max_value=MAX_UNITS,
        widget=UnfoldAdminIntegerFieldWidget,
        help_text=gettext_lazy("What was sold stays sold and does not count into this number."),
    )


class NewItemForm(StockForm):
    """An item that is not on sale yet."""

    activity = forms.IntegerField(
        label=gettext_lazy("Activity"),
        min_value=1,
        max_value=MAX_ID,
        initial=DEFAULT_ACTIVITY,
        widget=UnfoldAdminBigIntegerFieldWidget,
        help_text=gettext_lazy("One that is not known yet is made."),
    )
    item = forms.IntegerField(
        label=gettext_lazy("Item"),
        min_value=1,
        max_value=MAX_ID,
        widget=UnfoldAdminBigIntegerFieldWidget,
    )
    field_order = ("activity", "item", "units")


def stock_page(
    admin: ModelAdmin, request: HttpRequest, activity_id: int | None, item_id: int | None
) -> HttpResponse:
    """Set the stock of one item; of a new one where none is given. Form, confirmation, act."""
    kind = StockForm if item_id else NewItemForm
    form = kind(request.POST or None)
    lane = _look(request)
    if lane is None:
        return HttpResponseRedirect(_list_of(admin))
    title = (
        _("Set stock of item %(item)s") % {"item": item_id}
        if item_id
        else _("Put a new item on sale")
    )
    if not form.is_valid():
        return page(admin, request, title=title, form=form, submit=_("Next"))
    activity = activity_id or form.cleaned_data["activity"]
    item = item_id or form.cleaned_data["item"]
    units = form.cleaned_data["units"]
    return confirmed_act(
        admin,
        request,
        lambda control: control.set_stock(activity, {item: units}),
        title=title,
        lines=sentences.stock_lines(lane, activity, item, units),
        submit=_("Set stock to %(units)s") % {"units": f"{units:,}"},
        hidden={name: str(value) for name, value in form.cleaned_data.items()},
    )


def finish_page(admin: ModelAdmin, request: HttpRequest, activity_id: int) -> HttpResponse:
    """End an activity. Confirmation, act."""
    lane = _look(request)
    if lane is None:
        return HttpResponseRedirect(_list_of(admin))
    status = lane.activities.get(activity_id)
    if status is None:
        messages.error(
            request,
            _("Activity %(id)s is not loaded in Redis: nothing is on sale there.")
            % {"id": activity_id},
        )
        return HttpResponseRedirect(_list_of(admin))
    return confirmed_act(
        admin,
        request,
        lambda control: control.finish(activity_id),
        title=_("Finish activity %(id)s") % {"id": activity_id},
        lines=sentences.finish_lines(status),
        submit=_("Finish the sale"),
        danger=True,
    )


def sync_page(
    admin: ModelAdmin,
    request: HttpRequest,
    activity_ids: Sequence[int],
    hidden: Mapping[str, str | list[str]] | None = None,
) -> HttpResponse:
    """Make Redis what the database says, for these activities. Confirmation, acts."""
    names = ", ".join(str(activity_id) for activity_id in activity_ids)
    return confirmed_act(
        admin,
        request,
        *(
            lambda control, number=activity_id: control.sync_from_db(number)
            for activity_id in activity_ids
        ),
        title=_("Sync from the database: activity %(ids)s") % {"ids": names},
        lines=sentences.sync_lines(),
        submit=_("Sync"),
        hidden=hidden,
    )


def confirmed_act(
    admin: ModelAdmin,
    request: HttpRequest,
    *acts: Callable[[Control], Act],
    title: str,
    lines: Sequence[str],
    submit: str,
    danger: bool = False,
    hidden: Mapping[str, str | list[str]] | None = None,
) -> HttpResponse:
    """The page that asks, or, once it was answered, the acts; then back to the list."""
    if not (request.method == "POST" and request.POST.get(CONFIRMED) == "yes"):
        return page(
            admin,
            request,
            title=title,
            lines=[*lines, _("The journal will name you.")],
            submit=submit,
            danger=danger,
            hidden={**(hidden or {}), CONFIRMED: "yes"},
        )
    control = web.control(auth.actor_of_user(request.user))
    for act in acts:
        try:
            done = act(control)
        except Refused as refused:
            messages.error(request, _("Nothing was changed: %(why)s") % {"why": refused})
        except ServiceAway as away:
            messages.error(request, sentences.away_text(away))
        else:
            messages.success(request, sentences.done_text(done))
    return HttpResponseRedirect(_list_of(admin))


def page(
    admin: ModelAdmin,
    request: HttpRequest,
    *,
    title: str,
    submit: str,
    form: forms.Form | None = None,
    lines: Sequence[str] = (),
    danger: bool = False,
    hidden: Mapping[str, str | list[str]] | None = None,
) -> HttpResponse:
    """A form or a confirmation in the admin's own frame."""
    pairs = [
        (name, value)
        for name, values in (hidden or {}).items()
        for value in (values if isinstance(values, list) else [values])
    ]
    context = {
        **admin.admin_site.each_context(request),
        "opts": admin.opts,
        "title": title,
        "form": form,
        "lines": lines,
        "submit_text": submit,
        "variant": "danger" if danger else "primary",
        "hidden": pairs,
        "cancel_url": _list_of(admin),
    }
    request.current_app = admin.admin_site.name
    return TemplateResponse(request, "seckill/steer.html", context)


def _look(request: HttpRequest) -> LaneStatus | None:
    try:
        return web.lane_status()
    except RedisAway as away:
        messages.error(request, _("Nothing was changed: %(why)s") % {"why": away})
        return None


def _list_of(admin: ModelAdmin) -> str:
    opts = admin.opts
    return reverse(f"{admin.admin_site.name}:{opts.app_label}_{opts.model_name}_changelist")

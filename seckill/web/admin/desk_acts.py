"""The acts of an activity: their names, when they are offered, and the question that each asks.

The forms are in `desk_forms`, the steps from form to act in `steering`, and the sentences that say
what will happen in `sentences`.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from django import forms
from django.contrib import messages
from django.contrib.admin import ModelAdmin
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import reverse
from django.utils.functional import Promise
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from seckill.control import acts
from seckill.control.act_script import not_loaded
from seckill.control.acts import ActKind
from seckill.lane.status import ActivityStatus
from seckill.models import Activity, Item
from seckill.web.admin import sentences, steering
from seckill.web.admin.desk_forms import (
    HoldForm,
    LimitForm,
    MoreForm,
    NewItemForm,
    UnitsForm,
    WindowForm,
)
from seckill.web.admin.steering import Question
from seckill.web.shared import auth, services

Status = ActivityStatus | None


def _items(activity_id: int, loaded_only: bool) -> dict[int, str]:
    """{item: its label} of an activity: items in Redis, and items of the inventory."""
    status = services.activity_status(activity_id)
    if loaded_only:
        status = _loaded(activity_id, status)
    names = dict(Item.objects.filter(activity_id=activity_id).values_list("item_id", "name"))
    loaded = status.items if status else {}
    numbers = sorted(loaded if loaded_only else {*loaded, *names})
    return {
        number: " · ".join(
            part
            for part in (
                str(number),
                names.get(number, ""),
                sentences.count(loaded[number].left) if number in loaded else "",
            )
            if part
        )
        for number in numbers
    }


def _loaded(activity_id: int, status: Status) -> ActivityStatus:
    if status is None:
        raise not_loaded(activity_id)
    return status


def _pause(activity_id: int, status: Status, _values: Any) -> Question:
    return Question(
        title=_("Pause activity %(id)s") % {"id": activity_id},
        lines=sentences.pause_lines(_loaded(activity_id, status)),
        submit=_("Pause the sale"),
        act=lambda control, version: control.pause(activity_id, expected_version=version),
    )


def _resume(activity_id: int, status: Status, _values: Any) -> Question:
    return Question(
        title=_("Resume activity %(id)s") % {"id": activity_id},
        lines=sentences.resume_lines(_loaded(activity_id, status)),
        submit=_("Resume the sale"),
        act=lambda control, version: control.resume(activity_id, expected_version=version),
    )


def _finish(activity_id: int, status: Status, _values: Any) -> Question:
    return Question(
        title=_("Finish activity %(id)s") % {"id": activity_id},
        lines=sentences.finish_lines(_loaded(activity_id, status)),
        submit=_("Finish the sale"),
        act=lambda control, version: control.finish(activity_id, expected_version=version),
        danger=True,
    )


def _reopen(activity_id: int, status: Status, _values: Any) -> Question:
    return Question(
        title=_("Reopen activity %(id)s") % {"id": activity_id},
        lines=sentences.reopen_lines(_loaded(activity_id, status)),
        submit=_("Reopen the sale"),
        act=lambda control, version: control.reopen(activity_id, expected_version=version),
    )


def _sync(activity_id: int, _status: Status, _values: Any) -> Question:
    return Question(
        title=_("Sync from the database: activity %(id)s") % {"id": activity_id},
        lines=sentences.sync_lines(),
        submit=_("Sync"),
        act=lambda control, version: control.sync_from_db(activity_id, expected_version=version),
    )


def stock_question(activity_id: int, status: Status, values: dict[str, Any]) -> Question:
    """Set the units left of an item, which may be new."""
    item, units = values["item"], values["units"]
    return Question(
        title=_("Set stock of item %(item)s") % {"item": item},
        lines=sentences.stock_lines(status, activity_id, item, units),
        submit=_("Set stock to %(units)s") % {"units": f"{units:,}"},
        act=lambda control, version: control.set_stock(
            activity_id, {item: units}, expected_version=version
        ),
    )


def _more(activity_id: int, status: Status, values: dict[str, Any]) -> Question:
    item, units = values["item"], values["units"]
    return Question(
        title=_("Add units of item %(item)s") % {"item": item},
        lines=sentences.more_lines(_loaded(activity_id, status), item, units),
        submit=_("Add %(units)s") % {"units": f"{units:,}"},
        act=lambda control, version: control.add_stock(
            activity_id, {item: units}, expected_version=version
        ),
    )


def _window(activity_id: int, status: Status, values: dict[str, Any]) -> Question:
    return Question(
        title=_("Window of activity %(id)s") % {"id": activity_id},
        lines=sentences.window_lines(status, values["opens_at"], values["closes_at"]),
        submit=_("Set the window"),
        act=lambda control, version: control.configure_fields(
            activity_id,
            opens_at=values["opens_at"],
            closes_at=values["closes_at"],
            expected_version=version,
        ),
    )


def _limit(activity_id: int, status: Status, values: dict[str, Any]) -> Question:
    return Question(
        title=_("Limit per user of activity %(id)s") % {"id": activity_id},
        lines=sentences.limit_lines(status, values["user_limit"]),
        submit=_("Set the limit"),
        act=lambda control, version: control.configure_fields(
            activity_id, user_limit=values["user_limit"], expected_version=version
        ),
    )


def _hold(activity_id: int, status: Status, values: dict[str, Any]) -> Question:
    return Question(
        title=_("Hold of activity %(id)s") % {"id": activity_id},
        lines=sentences.hold_lines(status, values["hold_s"]),
        submit=_("Set the hold"),
        act=lambda control, version: control.configure_fields(
            activity_id, hold_s=values["hold_s"], expected_version=version
        ),
    )


@dataclass(frozen=True)
class Deed:
    """A button of the desk: its act, when it is offered, its form if it has one, its question.

    What is rare or dangerous is not `at_hand`: it is in the menu. `name` is the button's text, if
    it does only a part of its act.
    """

    act: ActKind
    question: Callable[[int, Status, dict[str, Any]], Question]
    offered: Callable[[Status], bool]
    form: type[forms.Form] | None = None
    at_hand: bool = False
    kind: str = "default"
    name: Promise | None = None

    @property
    def text(self) -> str:
        """The button's text."""
        return str(self.name or self.act.text)


DEEDS = {
    "resume": Deed(acts.RESUME, _resume, lambda s: bool(s and s.paused), at_hand=True),
    "reopen": Deed(acts.REOPEN, _reopen, lambda s: bool(s and s.over == "finished"), at_hand=True),
    "add": Deed(acts.ADD_STOCK, _more, bool, MoreForm, at_hand=True),
    "pause": Deed(
        acts.PAUSE, _pause, lambda s: bool(s and not s.over and not s.paused), at_hand=True
    ),
    # The units left of a split sale cannot be set as a whole.
    "stock": Deed(acts.SET_STOCK, stock_question, lambda s: bool(s and not s.leads), UnitsForm),
    "window": Deed(acts.CONFIGURE, _window, bool, WindowForm, name=gettext_lazy("Window")),
    "limit": Deed(acts.CONFIGURE, _limit, bool, LimitForm, name=gettext_lazy("Limit per user")),
    "hold": Deed(acts.CONFIGURE, _hold, bool, HoldForm, name=gettext_lazy("Hold")),
    "sync": Deed(acts.SYNC, _sync, lambda s: True),
    "finish": Deed(acts.FINISH, _finish, lambda s: bool(s and s.over != "finished"), kind="danger"),
}


def buttons(activity_id: int) -> list[dict[str, Any]]:
    """All acts as buttons of the page. The JSON says which of them are offered now."""
    return [
        {
            "name": name,
            "text": deed.text,
            "kind": deed.kind,
            "at_hand": deed.at_hand,
            "url": reverse(f"admin:seckill_activity_act_{name}", args=[activity_id]),
        }
        for name, deed in DEEDS.items()
    ]


def offered(status: Status) -> list[str]:
    """The acts that make sense now."""
    return [name for name, deed in DEEDS.items() if deed.offered(status)]


def primary(status: Status) -> str:
    """The one act that is most likely wanted now; "" if none is."""
    return next((name for name in offered(status) if DEEDS[name].at_hand and name != "pause"), "")


def page(name: str, request: HttpRequest, activity_id: int, *, admin: ModelAdmin) -> HttpResponse:
    """Form (if the act has one), confirmation, act, then back to the desk."""
    if not auth.may_steer(request.user):
        raise PermissionDenied
    deed = DEEDS[name]
    activity = Activity.objects.filter(pk=activity_id).first()
    if activity is None:
        raise Http404
    back = reverse("admin:seckill_activity_desk", args=[activity_id])

    def view() -> HttpResponse:
        form = _form(deed, request, activity) if deed.form else None
        if form is not None and not form.is_valid():
            return steering.page(
                admin, request, title=deed.text, form=form, submit=_("Next"), back=back
            )
        values = form.cleaned_data if form is not None else {}
        return steering.confirmed_act(
            admin,
            request,
            activity_id,
            lambda status: _with_values(deed.question(activity_id, status, values), request, form),
            back,
        )

    return steering.answered(admin, request, view, back)


def new_item_page(admin: ModelAdmin, request: HttpRequest) -> HttpResponse:
    """Put a new item on sale; an unknown activity is created."""

    def view() -> HttpResponse:
        form = NewItemForm(request.POST or None)
        if not form.is_valid():
            return steering.page(
                admin, request, title=_("Put a new item on sale"), form=form, submit=_("Next")
            )
        activity_id = form.cleaned_data["activity"]
        return steering.confirmed_act(
            admin,
            request,
            activity_id,
            lambda status: _with_values(
                stock_question(activity_id, status, form.cleaned_data), request, form
            ),
        )

    return steering.answered(admin, request, view, None)


def sync_many_page(
    admin: ModelAdmin,
    request: HttpRequest,
    activity_ids: Sequence[int],
    hidden: Mapping[str, str | list[str]],
) -> HttpResponse:
    """Bring Redis in line with the database, for several activities.

    No version is needed, because a sync is correct after any other act.
    """
    if request.POST.get(steering.CONFIRMED) != "yes":
        names = ", ".join(str(activity_id) for activity_id in activity_ids)
        return steering.page(
            admin,
            request,
            title=_("Sync from the database: activity %(id)s") % {"id": names},
            lines=[*sentences.sync_lines(), _("The journal will name you.")],
            submit=_("Sync"),
            hidden={**hidden, steering.CONFIRMED: "yes"},
        )

    def view(activity_id: int) -> HttpResponse:
        actor = auth.actor_of_user(request.user)
        done = services.control(actor, activity_id=activity_id).sync_from_db(activity_id)
        messages.success(request, sentences.done_text(done))
        return HttpResponseRedirect(steering.list_of(admin))

    for activity_id in activity_ids:
        steering.answered(admin, request, partial(view, activity_id), None)
    return HttpResponseRedirect(steering.list_of(admin))


def _with_values(question: Question, request: HttpRequest, form: forms.Form | None) -> Question:
    """The question with the form's fields as they were sent, so that the page sends them again."""
    if form is None:
        return question
    names = [name for name in request.POST if name in form.fields or name[:-2] in form.fields]
    return replace(question, hidden={name: request.POST[name] for name in names})


def _form(deed: Deed, request: HttpRequest, activity: Activity) -> forms.Form:
    assert deed.form is not None
    sent = request.POST if request.method == "POST" else None
    if issubclass(deed.form, UnitsForm):
        known = _items(activity.pk, deed.form is MoreForm)
        return deed.form(sent, known=known, initial={"item": request.GET.get("item")})
    initial = {name: getattr(activity, name) for name in deed.form.base_fields}
    return deed.form(sent, initial=initial)

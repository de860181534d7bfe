"""Acts of operators in the admin: a page says what will happen, then Control is called once.

Owns the steps form, confirmation, act. A GET never changes anything, and no act happens without
confirmation. Each page carries the version that it describes. If somebody else has acted since,
nothing is done, and the page asks again and shows what has changed. The texts are in `sentences`.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from django import forms
from django.contrib import messages
from django.contrib.admin import ModelAdmin
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import reverse
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from unfold.widgets import UnfoldAdminTextInputWidget

from seckill.control.control import Act, Control, Refused, VersionMoved
from seckill.errors import ServiceAway
from seckill.lane.status import ActivityStatus
from seckill.web.admin import sentences
from seckill.web.shared import auth, services

# The field that says: the operator has read what will happen.
CONFIRMED = "confirmed"
# The field with the version that the page describes.
SEEN = "version"
NOTE = "note"


class NoteForm(forms.Form):
    """Why an operator acts: part of every confirmation, kept in the journal."""

    note = forms.CharField(
        label=gettext_lazy("Why, for the journal"),
        required=False,
        max_length=200,
        widget=UnfoldAdminTextInputWidget,
    )


@dataclass(frozen=True)
class Question:
    """An act before it is done: what the page says about it, and the call, which gets a version."""

    title: str
    lines: Sequence[str]
    submit: str
    act: Callable[[Control, int | None], Act]
    danger: bool = False
    hidden: Mapping[str, str] = field(default_factory=dict)


def confirmed_act(
    admin: ModelAdmin,
    request: HttpRequest,
    activity_id: int,
    ask: Callable[[ActivityStatus | None], Question],
    back: str | None = None,
) -> HttpResponse:
    """The page that asks; once confirmed, the act, then back to where it was called.

    `ask` makes the question for the current state of the activity. Raises Refused and ServiceAway.
    """
    status = services.activity_status(activity_id)
    seen = _number(request.POST.get(SEEN))
    sent = request.method == "POST" and request.POST.get(CONFIRMED) == "yes"
    if sent and seen == _version(status):
        note = request.POST.get(NOTE, "").strip()
        actor = auth.actor_of_user(request.user)
        control = services.control(actor, note, activity_id=activity_id)
        try:
            done = ask(status).act(control, seen)
        except VersionMoved:
            # Somebody else acted after the status was read.
            status = services.activity_status(activity_id)
        except ServiceAway as away:
            messages.error(request, sentences.away_text(away))
            return HttpResponseRedirect(back or list_of(admin))
        else:
            messages.success(request, sentences.done_text(done))
            return HttpResponseRedirect(back or list_of(admin))
    now = _version(status)
    question = ask(status)
    return page(
        admin,
        request,
        title=question.title,
        lines=[
            *sentences.sale_lines(status),
            *question.lines,
            _("The journal will name you."),
        ],
        form=NoteForm(request.POST if sent else None),
        notice=[] if seen in (None, now) else sentences.moved_lines(activity_id, seen or 0, now),
        submit=question.submit,
        danger=question.danger,
        hidden={**question.hidden, CONFIRMED: "yes", SEEN: str(now)},
        back=back,
    )


def answered(
    admin: ModelAdmin, request: HttpRequest, view: Callable[[], HttpResponse], back: str | None
) -> HttpResponse:
    """The view's response. A refusal or an absent service becomes a message on the page before."""
    try:
        return view()
    except (Refused, ServiceAway) as refused:
        messages.error(request, _("Nothing was changed: %(why)s") % {"why": refused})
    return HttpResponseRedirect(back or list_of(admin))


def page(
    admin: ModelAdmin,
    request: HttpRequest,
    *,
    title: str,
    submit: str,
    form: forms.Form | None = None,
    lines: Sequence[str] = (),
    notice: Sequence[str] = (),
    danger: bool = False,
    hidden: Mapping[str, str | list[str]] | None = None,
    back: str | None = None,
) -> HttpResponse:
    """A form or a confirmation in the admin's frame."""
    pairs = [
        (name, value)
        for name, values in (hidden or {}).items()
        for value in (values if isinstance(values, list) else [values])
    ]
    context = {
        **admin.admin_site.each_context(request),
        "title": title,
        "form": form,
        "lines": lines,
        "notice": notice,
        "submit_text": submit,
        "variant": "danger" if danger else "primary",
        "hidden": pairs,
        "cancel_url": back or list_of(admin),
    }
    request.current_app = admin.admin_site.name
    return TemplateResponse(request, "seckill/steer.html", context)


def list_of(admin: ModelAdmin) -> str:
    """The list of this admin's rows."""
    opts = admin.opts
    return reverse(f"{admin.admin_site.name}:{opts.app_label}_{opts.model_name}_changelist")


def _version(status: ActivityStatus | None) -> int:
    return status.version if status else 0


def _number(text: str | None) -> int | None:
    return int(text) if text and text.isascii() and text.isdigit() and len(text) < 19 else None

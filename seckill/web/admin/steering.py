"""Acts of operators in the admin: a page says what will happen, then Control is called once.

Owns the way through form, confirmation and act. Nothing is changed by a GET, and nothing without a
second look. Each page carries the version that it speaks of: where somebody else has steered since,
nothing is done, and the page asks again with what has changed. What is said is in `sentences`.
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

# The field that says: I have read what will happen.
CONFIRMED = "confirmed"
# The field with the version that the page speaks of.
SEEN = "version"
NOTE = "note"


class NoteForm(forms.Form):
    """Why an operator acts: shown with every confirmation, kept in the journal."""

    note = forms.CharField(
        label=gettext_lazy("Why, for the journal"),
        required=False,
        max_length=200,
        widget=UnfoldAdminTextInputWidget,
    )


@dataclass(frozen=True)
class Question:
    """An act before it is done: what is said of it, and the call, which is told a version."""

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
    """The page that asks, or, once it was answered, the act; then back to where it was called.

    `ask` words the question for the activity as it is now. Raises Refused and ServiceAway.
    """
    status = services.lane_status().activities.get(activity_id)
    seen = _number(request.POST.get(SEEN))
    sent = request.method == "POST" and request.POST.get(CONFIRMED) == "yes"
    if sent and seen == _version(status):
        note = request.POST.get(NOTE, "").strip()
        control = services.control(auth.actor_of_user(request.user), note)
        try:
            done = ask(status).act(control, seen)
        except VersionMoved:
            # Somebody acted between the look above and the act.
            status = services.lane_status().activities.get(activity_id)
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
        lines=[*question.lines, _("The journal will name you.")],
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
    """What the view answers; a refusal, or a service that is away, as a message where one was."""
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
    """A form or a confirmation in the admin's own frame."""
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

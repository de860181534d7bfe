"""Activities: their rows, and their current state in Redis. `new_activity` makes one.

Fields that Redis has a copy of cannot be changed here. A change needs the version that the operator
has seen; a form that lay open would overwrite what somebody else has done since.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

from django import forms
from django.contrib import admin
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import URLPattern, path, reverse
from django.utils.html import format_html_join
from django.utils.safestring import SafeString
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _
from unfold.decorators import action, display
from unfold.views import ChangeList

from seckill.control.control import Refused
from seckill.errors import ServiceAway
from seckill.lane.status import ActivityStatus
from seckill.models import Activity
from seckill.web.admin import desk, desk_acts, new_activity, overview, report_page, sentences
from seckill.web.admin.base import UNKNOWN, SeckillAdmin, link
from seckill.web.admin.live import STATES, LiveChangeList, attach, look, state_of_row
from seckill.web.admin.times import clock
from seckill.web.shared import auth, services


class ActivityForm(forms.ModelForm):
    """The name of an activity: what else it has changes only by acts."""

    # Why Control refused this name in this request, if it did.
    refusal: str | None = None

    def clean(self) -> dict[str, Any]:
        """The values."""
        values = super().clean() or self.cleaned_data
        if self.refusal:
            raise forms.ValidationError(self.refusal)
        return values


@admin.register(Activity)
class ActivityAdmin(SeckillAdmin):
    """The activities."""

    form = ActivityForm
    list_display = (
        "id",
        "name_",
        "state",
        "units_left",
        "success",
        "requests",
        "window",
        "user_limit",
        "pages",
    )
    list_display_links = ("id", "name_")
    list_before_template = "seckill/lane.html"
    actions = None
    actions_detail = ("to_desk", "to_report", "copy")
    STEERED = ("opens", "closes", "user_limit", "timeout_ms", "hold_s")
    LIVE = ("state_text", "version", "units_left", "requests", "success", "latency")

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[ChangeList]:
        """The list's class."""
        return LiveChangeList

    def get_list_display(self, request: HttpRequest) -> tuple[str, ...]:
        """With the links that the user may follow."""
        columns = tuple(super().get_list_display(request))
        if services.several_lanes():
            columns = (*columns[:2], "lane", *columns[2:])
        return columns if self.has_steer_permission(request) else (*columns[:-1], "pages_to_read")

    def get_fieldsets(self, request: HttpRequest, obj: Any = None) -> Any:
        """The state in Redis comes first, once the activity exists."""
        live = (_("Now, in Redis"), {"fields": (self.LIVE[:3], self.LIVE[3:])})
        lane = ("lane",) if services.several_lanes() else ()
        fields = ("id", "name", *lane, ("opens", "closes"), ("user_limit", "timeout_ms", "hold_s"))
        steered = _(
            "Change window, limit and hold on the desk, the timeout with manage.py activity set."
        )
        return (live, (_("Rules"), {"fields": fields, "description": steered}))

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> tuple[str, ...]:
        """The id never changes: orders name it. Rules change only together with a version."""
        return ("id", "lane", *self.STEERED, *self.LIVE)

    def get_form(
        self, request: HttpRequest, obj: Any = None, change: bool = False, **kwargs: Any
    ) -> Any:
        """The form, which says why Control refused."""
        form = super().get_form(request, obj, change=change, **kwargs)
        form.refusal = getattr(request, "refusal", None)
        return form

    def get_object(self, request: HttpRequest, object_id: str, from_field: Any = None) -> Any:
        """The activity, with its state in Redis."""
        activity = super().get_object(request, object_id, from_field)
        if activity is not None and request.method == "GET":
            attach([activity], look(request))
        return activity

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Never: orders name it."""
        return False

    def add_view(
        self, request: HttpRequest, form_url: str = "", extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        """A page of its own: rules and stock together."""
        return new_activity.page(self, request)

    def changeform_view(
        self,
        request: HttpRequest,
        object_id: str | None = None,
        form_url: str = "",
        extra_context: dict[str, Any] | None = None,
    ) -> Any:
        """The form. A valid form that was sent is saved here, outside the admin's transaction,
        because the journal's row must be committed before Redis is changed."""
        if request.method == "POST" and object_id:
            saved = self._save(request, object_id)
            if saved is not None:
                return saved
        return super().changeform_view(request, object_id, form_url, extra_context)

    def save_model(self, request: HttpRequest, obj: Any, form: Any, change: bool) -> None:
        """Called if a form became valid between `_save` and the admin's own validation."""
        self._store(request, obj)

    def _store(self, request: HttpRequest, row: Activity) -> None:
        """Save the name through Control, for the journal."""
        control = services.control(auth.actor_of_user(request.user), activity_id=row.pk)
        if Activity.objects.filter(pk=row.pk).exclude(name=row.name).exists():
            control.configure_fields(row.pk, name=row.name)

    def _save(self, request: HttpRequest, object_id: str) -> HttpResponse | None:
        """The response after saving a form; None to show the form again."""
        activity = super().get_object(request, object_id)
        if activity is None or not self.has_change_permission(request, activity):
            return None
        form = self.get_form(request, activity, change=True)(
            request.POST, request.FILES, instance=activity
        )
        if not form.is_valid():
            return None
        row = form.save(commit=False)
        try:
            self._store(request, row)
        except Refused as refused:
            request.refusal = gettext("Nothing was saved: %(why)s") % {"why": refused}  # type: ignore[attr-defined]
            return None
        except ServiceAway as away:
            request.refusal = sentences.not_saved(away)  # type: ignore[attr-defined]
            return None
        self.log_change(request, row, self.construct_change_message(request, form, []))
        return self.response_change(request, row)

    def get_urls(self) -> list[URLPattern]:
        """The URLs of the admin, the desk and the acts."""

        def address(route: str, view: Callable[..., Any], name: str) -> URLPattern:
            guarded = self.admin_site.admin_view(partial(view, admin=self))
            return path(route, guarded, name=f"seckill_activity_{name}")

        return [
            address("desk/", desk.home, "desk_home"),
            address("<int:activity_id>/desk/", desk.page, "desk"),
            address("<int:activity_id>/first-stock/", self._first_stock, "first_stock"),
            address("<int:activity_id>/report/", report_page.page, "report"),
            # It answers 401 itself: the desk's script cannot follow a redirect to the login page.
            path(
                "<int:activity_id>/desk/data/",
                partial(desk.data, admin=self),
                name="seckill_activity_desk_data",
            ),
            path(
                "desk/data/",
                partial(overview.data, admin=self),
                name="seckill_activity_overview_data",
            ),
            *(
                address(f"<int:activity_id>/{name}/", partial(desk_acts.page, name), f"act_{name}")
                for name in desk_acts.DEEDS
            ),
            *super().get_urls(),
        ]

    def _first_stock(
        self, request: HttpRequest, activity_id: int, *, admin: "ActivityAdmin"
    ) -> HttpResponse:
        return new_activity.first_stock(admin, request, activity_id)

    @action(description=_("Report"), icon="summarize")
    def to_report(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """Go to the report of this activity."""
        return HttpResponseRedirect(reverse("admin:seckill_activity_report", args=[object_id]))

    @action(description=_("Copy"), icon="content_copy", permissions=["steer"])
    def copy(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """Add an activity with the rules and items of this one."""
        return HttpResponseRedirect(f"{reverse('admin:seckill_activity_add')}?copy={object_id}")

    @action(description=_("Desk"), icon="monitoring")
    def to_desk(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """Go to the desk of this activity."""
        return HttpResponseRedirect(reverse("admin:seckill_activity_desk", args=[object_id]))

    @display(description=_("pages"))
    def pages(self, activity: Any) -> SafeString:
        """Links to the desk, the report, a copy; to the first stock of what is not on sale yet."""
        own = [activity.pk]
        acts = [(f"{reverse('admin:seckill_activity_add')}?copy={activity.pk}", _("Copy"))]
        if activity.live is None and not activity.unknown:
            stock = reverse("admin:seckill_activity_first_stock", args=own)
            acts.insert(0, (stock, _("First stock")))
        return format_html_join(" · ", "{}", [(self.pages_to_read(activity),), *_links(acts)])

    @display(description=_("pages"))
    def pages_to_read(self, activity: Any) -> SafeString:
        """Links to the desk and, once there is something in it, to the report."""
        own = [activity.pk]
        found = [(reverse("admin:seckill_activity_desk", args=own), _("Desk"))]
        if activity.live is not None or activity.unknown:
            found.append((reverse("admin:seckill_activity_report", args=own), _("Report")))
        return format_html_join(" · ", "{}", _links(found))

    @display(description=_("name"))
    def name_(self, activity: Activity) -> str:
        """The name."""
        return activity.name or UNKNOWN

    @display(description=_("state"), label={key: kind for key, (kind, _text) in STATES.items()})
    def state(self, activity: Any) -> tuple[str, str] | str:
        """Whether the activity sells now, and if not, why."""
        if getattr(activity, "unknown", True):
            return UNKNOWN
        key = state_of_row(activity)
        return key, str(STATES[key][1])

    @display(description=_("state"))
    def state_text(self, activity: Any) -> str:
        """The same as text: forms show no coloured labels."""
        state = self.state(activity)
        return state if isinstance(state, str) else state[1]

    @display(description=_("version"))
    def version(self, activity: Any) -> str:
        """Grows with each act."""
        return _live(activity, lambda live: str(live.version))

    @display(description=_("left now"))
    def units_left(self, activity: Any) -> str:
        """Units left of all items."""
        return _live(activity, lambda live: f"{live.left:,}")

    @display(description=_("accepted"))
    def success(self, activity: Any) -> str:
        """Requests accepted since the statistics started."""
        return _live(activity, lambda live: f"{live.success:,}")

    @display(description=_("requests"))
    def requests(self, activity: Any) -> str:
        """Requests decided since the statistics started."""
        return _live(activity, lambda live: f"{live.total:,}")

    @display(description=_("latency p50 / p99"))
    def latency(self, activity: Any) -> str:
        """From the buyer's request to its decision."""

        def text(live: ActivityStatus) -> str:
            p50, p99 = live.latency.percentile(0.5), live.latency.percentile(0.99)
            return UNKNOWN if p50 is None or p99 is None else f"{p50:,.0f} / {p99:,.0f} ms"

        return _live(activity, text)

    @display(description=_("opens at"))
    def opens(self, activity: Activity) -> str | None:
        """When the window opens."""
        return clock(activity.opens_at)

    @display(description=_("closes at"))
    def closes(self, activity: Activity) -> str | None:
        """When the window closes."""
        return clock(activity.closes_at)

    @display(description=_("window"))
    def window(self, activity: Activity) -> str:
        """From and to."""
        if not activity.opens_at and not activity.closes_at:
            return str(_("always"))
        ends = [clock(end) or "…" for end in (activity.opens_at, activity.closes_at)]
        return " – ".join(ends)


def _live(activity: Any, text: Any) -> str:
    live: ActivityStatus | None = getattr(activity, "live", None)
    return str(text(live)) if live else UNKNOWN


def _links(addresses: list[tuple[str, Any]]) -> list[tuple[SafeString]]:
    return [(link(url, str(text)),) for url, text in addresses]

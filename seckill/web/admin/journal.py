"""The journal: who changed what, when, from what to what. Read-only."""

from typing import Any
from urllib.parse import urlencode

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.urls import reverse
from django.utils.html import format_html_join
from django.utils.safestring import SafeString, mark_safe
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _
from unfold.contrib.filters.admin import DropdownFilter
from unfold.decorators import display
from unfold.views import ChangeList

from seckill.control.acts import ACTS, LATE_PAYMENT, act_text
from seckill.models import StockChange
from seckill.web.admin import act_words
from seckill.web.admin.base import ReadOnlyAdmin, link
from seckill.web.admin.export import CsvExport
from seckill.web.admin.filters import (
    ActivityFilter,
    LastMinutesFilter,
    PeriodFilter,
    period_parameters,
)
from seckill.web.admin.parts import PartsChangeList, activity_and_part
from seckill.web.admin.times import clock

# How many characters of a change the list shows.
SHOWN = 160


class ActFilter(DropdownFilter):
    """By act."""

    title = _("act")
    parameter_name = "act"
    field = "act"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, Any]]:
        """The acts."""
        return [(act, act_text(act)) for act in (*ACTS, LATE_PAYMENT)]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        """The rows with this value; an unknown value finds nothing."""
        value = self.value()
        if not value:
            return queryset
        known = {choice for choice, _ in self.lookup_choices}
        return queryset.filter(**{self.field: value}) if value in known else queryset.none()


class StateFilter(ActFilter):
    """By how far the act got."""

    title = _("state")
    parameter_name = "state"
    field = "state"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, Any]]:
        """The states."""
        return list(StockChange.State.choices)


class LastMinutesOfActs(LastMinutesFilter):
    """By age of the act."""

    field = "at"


@admin.register(StockChange)
class StockChangeAdmin(CsvExport, ReadOnlyAdmin):
    """The control acts."""

    rows_name = _("acts")
    export_name = "journal"
    export_columns = (
        "id",
        "at",
        "actor",
        "act",
        "activity_id",
        "old",
        "new",
        "version",
        "state",
        "detail",
        "note",
    )
    list_display = (
        "id",
        "act_name",
        "state_label",
        "activity",
        "change",
        "when",
        "who",
        "version",
    )
    list_display_links = ("id", "act_name")
    list_filter = (
        ActivityFilter,
        ActFilter,
        StateFilter,
        LastMinutesOfActs,
        ("at", PeriodFilter),
    )
    filter_parameters = ("activity", "act", "state", "last", *period_parameters("at"))
    search_fields = ("actor",)
    search_help_text = _("Who, exact")
    fieldsets = (
        (
            _("Act"),
            {"fields": (("act_name", "activity"), ("who", "when"), ("state_text", "version"))},
        ),
        (_("Change"), {"fields": ("words", "note")}),
    )
    readonly_fields = ("act_name", "activity", "who", "words", "state_text", "when")

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[ChangeList]:
        """The list's class."""
        return PartsChangeList

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[StockChange], search_term: str
    ) -> tuple[QuerySet[StockChange], bool]:
        """Acts of one actor."""
        term = search_term.strip()
        return (queryset.filter(actor=term) if term else queryset), False

    def render_change_form(
        self, request: HttpRequest, context: dict[str, Any], *args: Any, **kwargs: Any
    ) -> HttpResponse:
        """The page's heading says act, activity and who. The model does not know the acts."""
        change = context["original"]
        context["subtitle"] = gettext("%(act)s of activity %(id)s by %(who)s") % {
            "act": act_text(change.act),
            "id": change.activity_id,
            "who": change.actor,
        }
        return super().render_change_form(request, context, *args, **kwargs)

    @display(description=_("when"))
    def when(self, change: StockChange) -> str | None:
        """When it started."""
        return clock(change.at)

    @display(description=_("activity"))
    def activity(self, change: StockChange) -> SafeString | str:
        """The activity, as a link, and which part of a sale it is."""
        return activity_and_part(change)

    @display(description=_("who"))
    def who(self, change: StockChange) -> SafeString:
        """Who did it, as a link to all acts of theirs."""
        url = f"{reverse('admin:seckill_stockchange_changelist')}?{urlencode({'q': change.actor})}"
        return link(url, change.actor)

    @display(description=_("what happened"))
    def words(self, change: StockChange) -> SafeString:
        """All of it in sentences, one a line."""
        return format_html_join(
            mark_safe("<br>"), "{}", ((n,) for n in act_words.entry_lines(change))
        )

    @display(description=_("act"))
    def act_name(self, change: StockChange) -> str:
        """The act in the reader's language."""
        return act_text(change.act)

    @display(description=_("change"))
    def change(self, change: StockChange) -> str:
        """What it has changed, on one line; only the start if it is long."""
        text = act_words.act_words(change)
        return text if len(text) <= SHOWN else text[: SHOWN - 1] + "…"

    @display(
        description=_("state"),
        label={
            StockChange.State.APPLIED: "success",
            StockChange.State.STARTED: "warning",
            StockChange.State.FAILED: "danger",
        },
    )
    def state_label(self, change: StockChange) -> tuple[str, str]:
        """How far it got."""
        return change.state, change.get_state_display()

    @display(description=_("state"))
    def state_text(self, change: StockChange) -> str:
        """The same as text: forms show no coloured labels."""
        return change.get_state_display()

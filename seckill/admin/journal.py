"""The journal: who changed what, when, from what to what. Read-only."""

import json
from typing import Any

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils.translation import gettext_lazy as _
from unfold.contrib.filters.admin import DropdownFilter
from unfold.decorators import display

from seckill.admin import sentences
from seckill.admin.base import UNKNOWN, ReadOnlyAdmin, clock
from seckill.admin.export import CsvExport
from seckill.admin.filters import (
    ActivityFilter,
    LastMinutesFilter,
    PeriodFilter,
    period_parameters,
)
from seckill.control import ACTS
from seckill.models import StockChange

# Characters of a change that the list shows.
SHOWN = 60


class ActFilter(DropdownFilter):
    """By act."""

    title = _("act")
    parameter_name = "act"
    field = "act"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, Any]]:
        """The acts."""
        return [(act, sentences.act_text(act)) for act in ACTS]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        """The rows with this value; an unknown one finds nothing."""
        value = self.value()
        if not value:
            return queryset
        known = {choice for choice, _ in self.lookup_choices}
        return queryset.filter(**{self.field: value}) if value in known else queryset.none()


class StateFilter(ActFilter):
    """By how far the act came."""

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
        *(
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
        ),
    )
    list_display = (
        "id",
        "when",
        "actor",
        "act_name",
        "activity_id",
        "from_",
        "to",
        "version",
        "state_label",
    )
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
            {"fields": (("act_name", "activity_id"), ("actor", "when"), ("state_text", "version"))},
        ),
        (_("Change"), {"fields": ("old", "new", "note", "detail")}),
    )
    readonly_fields = ("act_name", "state_text", "when")

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[StockChange], search_term: str
    ) -> tuple[QuerySet[StockChange], bool]:
        """Acts of one actor."""
        term = search_term.strip()
        return (queryset.filter(actor=term) if term else queryset), False

    @display(description=_("when"))
    def when(self, change: StockChange) -> str | None:
        """When it began."""
        return clock(change.at)

    @display(description=_("act"))
    def act_name(self, change: StockChange) -> str:
        """The act in the reader's language."""
        return sentences.act_text(change.act)

    @display(description=_("from"))
    def from_(self, change: StockChange) -> str:
        """What was before."""
        return short(change.old)

    @display(description=_("to"))
    def to(self, change: StockChange) -> str:
        """What is since."""
        return short(change.new)

    @display(
        description=_("state"),
        label={
            StockChange.State.APPLIED: "success",
            StockChange.State.STARTED: "warning",
            StockChange.State.FAILED: "danger",
        },
    )
    def state_label(self, change: StockChange) -> tuple[str, str]:
        """How far it came."""
        return change.state, change.get_state_display()

    @display(description=_("state"))
    def state_text(self, change: StockChange) -> str:
        """The same without a label's colours: forms have none."""
        return change.get_state_display()


def short(values: Any) -> str:
    """A change on one line: `1001: 3, 1002: 5`."""
    if not isinstance(values, dict):
        return UNKNOWN
    known = {key: value for key, value in values.items() if value is not None}
    text = ", ".join(f"{key}: {_plain(value)}" for key, value in known.items()) or UNKNOWN
    return text if len(text) <= SHOWN else text[: SHOWN - 1] + "…"


def _plain(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)

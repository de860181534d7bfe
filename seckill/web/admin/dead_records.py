"""Dead records: accepted orders that could not be stored, and why. Read-only."""

from typing import Any

from django.contrib import admin
from django.db.models import Case, QuerySet, Value, When
from django.http import HttpRequest
from django.utils.safestring import SafeString
from django.utils.translation import gettext_lazy as _
from unfold.decorators import display

from seckill.models import DeadRecord
from seckill.process.printable import preview
from seckill.web.admin.base import UNKNOWN, ReadOnlyAdmin, activity_link, item_link, orders_link
from seckill.web.admin.export import CsvExport
from seckill.web.admin.filters import ActivityFilter
from seckill.web.admin.journal import ActFilter
from seckill.web.admin.times import clock

# How many bytes of the text are shown.
SHOWN = 2_000
OPEN, SETTLED, DISMISSED = "open", "settled", "dismissed"
STATES = {OPEN: _("needs a person"), SETTLED: _("stored later"), DISMISSED: _("dismissed")}


class KindFilter(ActFilter):
    """By the reason why it was not stored."""

    title = _("kind")
    parameter_name = "kind"
    field = "kind"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, Any]]:
        """The kinds."""
        return list(DeadRecord.Kind.choices)


class DeadStateFilter(ActFilter):
    """By whether it needs a person."""

    title = _("state")
    parameter_name = "state"
    field = "dead_state"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, Any]]:
        """The states."""
        return list(STATES.items())


@admin.register(DeadRecord)
class DeadRecordAdmin(CsvExport, ReadOnlyAdmin):
    """The same records as in `manage.py dead_letters list`."""

    rows_name = _("dead records")
    export_name = "dead-records"
    export_columns = (
        "id",
        "at",
        "kind",
        "reason",
        "source",
        "partition",
        "offset",
        "item_id",
        "activity_id",
        "user_id",
        "quantity",
        "dismissed_at",
        "dismissed_by",
        "note",
    )
    list_display = (
        "id",
        "when",
        "kind_name",
        "state_label",
        "reason",
        "origin",
        "user",
        "activity",
        "item",
        "quantity",
    )
    list_filter = (ActivityFilter, KindFilter, DeadStateFilter)
    filter_parameters = ("activity", "kind", "state")
    fieldsets = (
        (
            _("Order"),
            {
                "fields": (
                    ("kind_name", "state_text", "when"),
                    ("activity", "item", "quantity", "user"),
                    "origin",
                )
            },
        ),
        (_("Why"), {"fields": ("reason", "text")}),
        (_("Settled by hand"), {"fields": (("dismissed", "dismissed_by"), "note")}),
    )
    readonly_fields = (
        *("kind_name", "state_text", "when", "origin", "text"),
        *("user", "activity", "item", "dismissed"),
    )

    def get_queryset(self, request: HttpRequest) -> QuerySet[DeadRecord]:
        """Adds whether a row with the same identity and content has been stored since."""
        return (
            super()
            .get_queryset(request)
            .annotate(
                dead_state=Case(
                    When(DeadRecord.settled(), then=Value(SETTLED)),
                    When(dismissed_at__isnull=False, then=Value(DISMISSED)),
                    default=Value(OPEN),
                )
            )
        )

    @display(description=_("when"))
    def when(self, dead: DeadRecord) -> str | None:
        """When it became a dead record."""
        return clock(dead.at)

    @display(description=_("dismissed"))
    def dismissed(self, dead: DeadRecord) -> str | None:
        """When somebody settled it by hand."""
        return clock(dead.dismissed_at)

    @display(description=_("user"))
    def user(self, dead: DeadRecord) -> SafeString | str:
        """The buyer, as a link to all orders of theirs."""
        return orders_link(dead.user_id)

    @display(description=_("activity"))
    def activity(self, dead: DeadRecord) -> SafeString | str:
        """The activity, as a link."""
        return activity_link(dead.activity_id)

    @display(description=_("item"))
    def item(self, dead: DeadRecord) -> SafeString | str:
        """The item, as a link to the inventory."""
        return item_link(dead.activity_id, dead.item_id)

    @display(description=_("kind"))
    def kind_name(self, dead: DeadRecord) -> str:
        """Why it could not be stored."""
        return dead.get_kind_display()

    @display(description=_("message"))
    def origin(self, dead: DeadRecord) -> str:
        """The Kafka message that it comes from."""
        return f"{dead.source}:{dead.partition}:{dead.offset}" if dead.source else UNKNOWN

    @display(description=_("text"))
    def text(self, dead: DeadRecord) -> str:
        """The entry as it was in the list; only the start if it is long."""
        return preview(bytes(dead.raw), SHOWN)

    @display(
        description=_("state"),
        label={OPEN: "danger", SETTLED: "success", DISMISSED: "info"},
    )
    def state_label(self, dead: Any) -> tuple[str, Any]:
        """Whether it needs a person."""
        return dead.dead_state, STATES[dead.dead_state]

    @display(description=_("state"))
    def state_text(self, dead: Any) -> str:
        """The same as text: forms show no coloured labels."""
        return str(STATES[dead.dead_state])

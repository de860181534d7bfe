"""Orders: every accepted item. Read-only, and fast at ten million rows.

No query of this page counts or sorts the whole table: rows come in the order of an index, counts
stop at a cap, and choices come from small tables.
"""

import math
from typing import Any

from django.contrib import admin
from django.contrib.admin.options import IncorrectLookupParameters
from django.db.models import Q, QuerySet
from django.http import HttpRequest
from django.urls import reverse
from django.utils import timezone
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _
from unfold.contrib.filters.admin import DropdownFilter
from unfold.decorators import display
from unfold.views import ChangeList

from seckill.formats import record as formats
from seckill.formats.outcomes import MAX_ID, MAX_REQUEST_ID
from seckill.models import Record, Settlement
from seckill.web.admin.base import (
    LINK,
    UNKNOWN,
    PlainChangeList,
    ReadOnlyAdmin,
    activity_link,
    item_link,
    orders_link,
)
from seckill.web.admin.export import CsvExport
from seckill.web.admin.filters import (
    ActivityFilter,
    ItemFilter,
    LastMinutesFilter,
    PeriodFilter,
    period_parameters,
)
from seckill.web.admin.times import clock
from seckill.web.shared.holds import (
    HELD,
    HOLDS,
    SOLD,
    all_held,
    attach_settlements,
    in_state,
    state_of,
    with_hold,
)


class OrderChangeList(PlainChangeList):
    """The newest first: by id, or by time if the period has an end."""

    def get_ordering(self, request: HttpRequest, queryset: Any) -> list[str]:
        """By time for an old period: going down the ids would read everything after it."""
        return ["-ts", "-id"] if self.params.get("ts_to_0") else ["-id"]

    def get_results(self, request: HttpRequest) -> None:
        """The page's rows. Each knows whether it belongs to the same request as the row above."""
        super().get_results(request)
        self.result_list = list(self.result_list)
        above = None
        for row in self.result_list:
            message = (row.source, row.partition, row.offset)
            row.goes_on = message == above
            above = message
        attach_settlements(self.result_list)


class HoldFilter(DropdownFilter):
    """By where an order stands."""

    title = _("state")
    parameter_name = "hold"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, Any]]:
        """The states."""
        return [(SOLD, _("sold")), (HELD, _("held")), *Settlement.Kind.choices]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        """The rows in that state."""
        value = self.value()
        if not value:
            return queryset
        if value not in (SOLD, *HOLDS):
            raise IncorrectLookupParameters
        return all_held(queryset) if value == HELD else in_state(queryset, value)


@admin.register(Record)
class RecordAdmin(CsvExport, ReadOnlyAdmin):
    """The order lines."""

    list_per_page = 100
    export_name = "orders"
    export_columns = (
        "id",
        "ts",
        "user_id",
        "activity_id",
        "item_id",
        "quantity",
        "cost_ms",
        "status",
        "due",
        "hold",
        "source",
        "partition",
        "offset",
        "request_id",
        "version",
    )
    list_display = (
        "number",
        "decided_at",
        "user",
        "activity",
        "item",
        "quantity",
        "state_label",
        "latency",
        "own_id",
    )
    list_display_links = ("number",)
    list_filter = (
        *(ActivityFilter, ItemFilter, HoldFilter, LastMinutesFilter),
        ("ts", PeriodFilter),
    )
    filter_parameters = ("activity", "item", "hold", "last", *period_parameters("ts"))
    search_fields = ("user_id",)
    search_help_text = _("User id or request id, exact")
    fieldsets = (
        (
            _("Order"),
            {
                "fields": (
                    ("user", "activity"),
                    ("item", "quantity"),
                    ("decided_at", "latency"),
                    ("state_text", "reference"),
                    ("status", "version"),
                )
            },
        ),
        (
            _("Origin in Kafka"),
            {
                "fields": ("source", ("partition", "offset")),
                "description": _("This order comes from exactly this message."),
            },
        ),
        (_("Request"), {"fields": ("own_id", "same_request")}),
    )
    readonly_fields = (
        *("user", "activity", "item"),
        *("decided_at", "latency", "own_id", "same_request", "state_text", "reference"),
    )

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[ChangeList]:
        """The list's class."""
        return OrderChangeList

    def export_rows(self, rows: QuerySet[Any]) -> QuerySet[Any]:
        """With what became of each."""
        return with_hold(rows)

    def get_object(self, request: HttpRequest, object_id: str, from_field: Any = None) -> Any:
        """The order, with what became of it."""
        record = super().get_object(request, object_id, from_field)
        if record is not None:
            attach_settlements([record])
        return record

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Record], search_term: str
    ) -> tuple[QuerySet[Record], bool]:
        """Exact user or exact request id; a term that can be neither finds nothing."""
        term = search_term.strip()
        if not term:
            return queryset, False
        found = Q(pk__in=[])
        if len(term) <= MAX_REQUEST_ID:
            found |= Q(request_id=term)
        if term.isascii() and term.isdigit() and len(term) <= 19 and int(term) <= MAX_ID:
            found |= Q(user_id=int(term))
        return queryset.filter(found), False

    @display(description=_("order"))
    def number(self, record: Any) -> SafeString | str:
        """The order's number, marked if it belongs to the request of the row above."""
        if not record.goes_on:
            return str(record.pk)
        same = _("Same request as the row above")
        return format_html('<span class="goes-on" title="{}">{}</span>', same, record.pk)

    @display(description=_("user"))
    def user(self, record: Record) -> SafeString | str:
        """The buyer, as a link to all orders of theirs."""
        return orders_link(record.user_id)

    @display(description=_("activity"))
    def activity(self, record: Record) -> SafeString | str:
        """The activity, as a link."""
        return activity_link(record.activity_id)

    @display(description=_("item"))
    def item(self, record: Record) -> SafeString | str:
        """The item, as a link to the inventory."""
        return item_link(record.activity_id, record.item_id)

    @display(
        description=_("state"),
        label={
            SOLD: "success",
            HELD: "warning",
            formats.PAID: "success",
            formats.EXPIRED: "default",
            formats.CANCELLED: "default",
        },
    )
    def state_label(self, record: Any) -> tuple[str, str]:
        """Sold, held and for how long still, or what became of the hold."""
        return state_of(record), self.state_text(record)

    @display(description=_("state"))
    def state_text(self, record: Any) -> str:
        """The same as text: forms show no coloured labels."""
        if record.settlement is not None:
            return str(record.settlement.get_kind_display())
        if record.due is None:
            return gettext("sold")
        left = math.ceil((record.due - timezone.now()).total_seconds())
        if left <= 0:
            return gettext("held, its time is over")
        minutes, seconds = divmod(left, 60)
        return gettext("held, %(m)s:%(s)s left") % {"m": f"{minutes:,}", "s": f"{seconds:02}"}

    @display(description=_("reference of the payment"))
    def reference(self, record: Any) -> str:
        """What the shop said of it."""
        return (record.settlement and record.settlement.reference) or UNKNOWN

    @display(description=_("decided at"))
    def decided_at(self, record: Record) -> str | None:
        """The time of the decision, by Redis's clock."""
        return clock(record.ts)

    @display(description=_("latency"))
    def latency(self, record: Record) -> str:
        """From the buyer's request to its decision."""
        return f"{record.cost_ms:,} ms"

    @display(description=_("request id"))
    def own_id(self, record: Record) -> SafeString | str:
        """The request's own id, as a link to its order lines."""
        return orders_link(record.request_id)

    @display(description=_("other items of the request"))
    def same_request(self, record: Record) -> SafeString | str:
        """Links to the other order lines of the same message."""
        others = Record.objects.filter(
            source=record.source, partition=record.partition, offset=record.offset
        ).exclude(pk=record.pk)
        links = format_html_join(
            ", ",
            '<a class="{}" href="{}">{} × {}</a>',
            (
                (
                    LINK,
                    reverse("admin:seckill_record_change", args=[other.pk]),
                    other.quantity,
                    _("item %(id)s") % {"id": other.item_id},
                )
                for other in others
            ),
        )
        return format_html("{}", links) if links else str(_("none: the request had one item"))

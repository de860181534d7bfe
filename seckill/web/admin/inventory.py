"""Inventory: units put on sale, units in stored orders, and units left in Redis now.

Each page reads Redis once. Only names are edited here; units change through
`seckill.web.admin.steering`.
"""

from collections.abc import Iterator
from typing import Any

from django.contrib import admin
from django.contrib.admin.helpers import ACTION_CHECKBOX_NAME
from django.db import transaction
from django.db.models import Q, QuerySet
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.translation import gettext_lazy as _
from unfold.decorators import action, display
from unfold.views import ChangeList

from seckill.formats.outcomes import MAX_ID
from seckill.lane.status import ItemStatus
from seckill.models import Item
from seckill.web.admin import desk_acts
from seckill.web.admin.base import UNKNOWN, SeckillAdmin, activity_link, link
from seckill.web.admin.export import CsvExport, lines
from seckill.web.admin.filters import ActivityFilter
from seckill.web.admin.live import LiveChangeList, attach, look


@admin.register(Item)
class ItemAdmin(CsvExport, SeckillAdmin):
    """The items."""

    rows_name = _("items")
    export_name = "inventory"
    export_columns = (
        "activity_id",
        "item_id",
        "name",
        "allocation",
        "sold",
        "returned",
        "left_now",
    )
    list_display = (
        "item_id",
        "name_",
        "activity_",
        "left",
        "sold_",
        "waiting",
        "held",
        "share",
        "allocation_",
        "steer",
    )
    list_display_links = ("item_id", "name_")
    list_filter = (ActivityFilter,)
    list_select_related = ("activity",)
    filter_parameters = ("activity",)
    list_before_template = "seckill/lane.html"
    search_fields = ("item_id",)
    search_help_text = _("Item id, or a part of the name")
    actions = ("sync_selected",)
    actions_list = ("put_on_sale",)
    actions_detail = ("set_stock",)
    fields = (
        ("activity", "item_id"),
        "name",
        ("left", "allocation_"),
        ("sold_", "waiting"),
        ("held", "returned_"),
        "share",
    )
    readonly_fields = (
        *("activity", "item_id", "allocation_", "sold_", "left", "waiting", "share"),
        *("held", "returned_"),
    )

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[ChangeList]:
        """The list's class."""
        return LiveChangeList

    def get_list_display(self, request: HttpRequest) -> tuple[str, ...]:
        """Without the link to the act if the user may not steer."""
        columns = tuple(super().get_list_display(request))
        return columns if self.has_steer_permission(request) else columns[:-1]

    def get_object(self, request: HttpRequest, object_id: str, from_field: Any = None) -> Any:
        """The item, with its state in Redis."""
        item = super().get_object(request, object_id, from_field)
        if item is not None and request.method == "GET":
            attach([item], look(request))
        return item

    def export_chunks(self, request: HttpRequest, rows: QuerySet[Item]) -> Iterator[bytes]:
        """The items with the units left now; that column is empty while Redis is away."""
        lanes = look(request)

        def found() -> Iterator[tuple[Any, ...]]:
            yield self.export_columns
            # Outside a transaction, pgbouncer could lose the server-side cursor between queries.
            with transaction.atomic():
                for row in rows.values_list(*self.export_columns[:-1]).iterator():
                    status = lanes.status(row[0])
                    item = status.items.get(row[1]) if status else None
                    yield (*row, item.left if item else None)

        return lines(found())

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Item], search_term: str
    ) -> tuple[QuerySet[Item], bool]:
        """By id or by a part of the name."""
        term = search_term.strip()
        if not term:
            return queryset, False
        found = Q(name__icontains=term)
        if term.isascii() and term.isdigit() and len(term) <= 19 and int(term) <= MAX_ID:
            found |= Q(item_id=int(term))
        return queryset.filter(found), False

    def has_add_permission(self, request: HttpRequest) -> bool:
        """Never: an item is created with its first stock."""
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Never: orders name it."""
        return False

    @display(description=_("name"))
    def name_(self, item: Item) -> str:
        """The name."""
        return item.name or UNKNOWN

    @display(description=_("activity"))
    def activity_(self, item: Item) -> SafeString | str:
        """The activity, as a link."""
        return activity_link(item.activity_id, item.activity.name)

    @display(description=_("left now"))
    def left(self, item: Any) -> SafeString | str:
        """Units left in Redis."""
        live: ItemStatus | None = getattr(item, "live", None)
        return format_html("<strong>{}</strong>", f"{live.left:,}") if live else UNKNOWN

    @display(description=_("sold, stored"))
    def sold_(self, item: Item) -> str:
        """Units in stored orders."""
        return f"{item.sold:,}"

    @display(description=_("sold, to be stored"))
    def waiting(self, item: Any) -> str:
        """Units that Redis has sold and PostgreSQL does not have yet."""
        live: ItemStatus | None = getattr(item, "live", None)
        return f"{max(live.sold - item.sold, 0):,}" if live else UNKNOWN

    @display(description=_("of these held"))
    def held(self, item: Any) -> str:
        """Units in holds that are neither paid nor ended: nobody else can buy them."""
        return UNKNOWN if item.held_units is None else f"{item.held_units:,}"

    @display(description=_("returned, stored"))
    def returned_(self, item: Item) -> str:
        """Units that came back from holds."""
        return f"{item.returned:,}"

    @display(description=_("sold share"))
    def share(self, item: Any) -> SafeString | str:
        """A bar with the share of units sold."""
        live: ItemStatus | None = getattr(item, "live", None)
        sold, loaded = (live.sold, live.loaded) if live else (item.sold, item.allocation)
        if not loaded:
            return UNKNOWN
        # Rounded down: 100 % means that nothing is left.
        percent = min(1000 * sold // loaded / 10, 100)
        return format_html(
            '<div class="flex items-center gap-2" style="min-width: 9rem">'
            '<div class="bg-base-200 dark:bg-base-700 grow overflow-hidden rounded-default">'
            '<div class="bg-primary-600 h-1.5" style="width: {}%"></div></div>'
            '<span style="width: 4rem; text-align: right; white-space: nowrap">{}</span></div>',
            f"{percent:.1f}",
            f"{percent:.1f} %",
        )

    @display(description=_("allocation"))
    def allocation_(self, item: Item) -> str:
        """Units ever put on sale."""
        return f"{item.allocation:,}"

    @display(description=_("act"))
    def steer(self, item: Item) -> SafeString:
        """A link to the act."""
        return link(_stock_url(item), str(_("Set stock")))

    @action(description=_("Set stock"), icon="edit", permissions=["steer"])
    def set_stock(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """Go to the act, with this item chosen."""
        item = super().get_object(request, object_id)
        if item is None:
            raise Http404
        return HttpResponseRedirect(_stock_url(item))

    @action(description=_("Put a new item on sale"), icon="add", permissions=["steer"])
    def put_on_sale(self, request: HttpRequest) -> HttpResponse:
        """Ask for item and units, then for confirmation, then act."""
        return desk_acts.new_item_page(self, request)

    @action(description=_("Sync from the database"), permissions=["steer"])
    def sync_selected(self, request: HttpRequest, queryset: QuerySet[Item]) -> HttpResponse:
        """Ask, then bring Redis in line with the database, for the activities of these items."""
        activities = sorted(set(queryset.values_list("activity_id", flat=True)))
        again: dict[str, str | list[str]] = {
            "action": "sync_selected",
            ACTION_CHECKBOX_NAME: [str(pk) for pk in queryset.values_list("pk", flat=True)],
        }
        return desk_acts.sync_many_page(self, request, activities, again)


def _stock_url(item: Item) -> str:
    address = reverse("admin:seckill_activity_act_stock", args=[item.activity_id])
    return f"{address}?item={item.item_id}"

"""What the admin's pages share: read-only lists, strict look-ups, plain times, links in cells.

Owns no page. Each page has its own file; acts are in `seckill.web.admin.steering`.
"""

from collections.abc import Iterable
from datetime import datetime
from typing import Any
from urllib.parse import urlencode

from django.contrib.admin import ShowFacets
from django.db.models import Model
from django.http import HttpRequest
from django.urls import reverse
from django.utils import timezone
from django.utils.functional import lazy
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.text import capfirst
from unfold.admin import ModelAdmin
from unfold.views import ChangeList

from seckill.formats.times import moment_text, zone_text
from seckill.web.shared import auth
from seckill.web.shared.paginator import CappedPaginator

# Shown instead of an unknown number.
UNKNOWN = "–"
# CSS classes of a link in a cell.
LINK = "text-primary-600 dark:text-primary-500 font-medium"


class PlainChangeList(ChangeList):
    """A list with a plain title, always in the order of its model.

    `?o=` is ignored: sorting by a column without an index would read the whole table.
    """

    result_list: Any

    def __init__(self, request: HttpRequest, *args: Any, **kwargs: Any) -> None:
        super().__init__(request, *args, **kwargs)
        self.title = capfirst(self.opts.verbose_name_plural)

    def get_results(self, request: HttpRequest) -> None:
        """The page's rows, at most one page: rows may be added between the count and this query."""
        super().get_results(request)
        if not self.multi_page:
            self.result_list = self.result_list[: self.list_per_page]
        # With equal counts the heading has no link "show all".
        self.full_result_count = self.result_count

    @property
    def export_url(self) -> str:
        """The URL of the same rows as CSV, with all pages."""
        return "export/" + self.get_query_string(remove=["p"])

    def get_ordering(self, request: HttpRequest, queryset: Any) -> list[str]:
        """The order of the admin or the model."""
        return list(self.model_admin.get_ordering(request) or self.opts.ordering)


class SeckillAdmin(ModelAdmin):
    """Base of all pages. Rows can be looked up only by the filters that the page shows."""

    paginator = CappedPaginator
    # The word for the rows in a count, if it differs from the page's name.
    rows_name: Any = None
    list_max_show_all = 0
    show_facets = ShowFacets.NEVER
    show_full_result_count = False
    list_filter_submit = True
    list_fullwidth = True
    list_per_page = 50
    sortable_by: Iterable[str] = ()
    empty_value_display = UNKNOWN
    # Query parameters of filters that are not plain field names.
    filter_parameters: tuple[str, ...] = ()

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[ChangeList]:
        """The list's class."""
        return PlainChangeList

    def lookup_allowed(self, lookup: str, value: str, request: HttpRequest | None = None) -> bool:
        """Only what a filter of the page sends: any other look-up could be slow or fail."""
        return lookup in self.filter_parameters

    def has_steer_permission(self, request: HttpRequest, object_id: Any = None) -> bool:
        """Whether this user may change a sale. unfold calls it for its actions."""
        return auth.may_steer(request.user)


class ReadOnlyAdmin(SeckillAdmin):
    """Pages of rows that only the system writes."""

    actions: Any = None

    def has_add_permission(self, request: HttpRequest) -> bool:
        """Never."""
        return False

    def has_change_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        """Never."""
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        """Never."""
        return False


def clock(moment: datetime | None) -> str | None:
    """A time as text, to the second, in the reader's time zone, with UTC beside it."""
    return moment_text(moment, timezone.get_current_timezone()) if moment else None


def _zone() -> str:
    return zone_text(timezone.get_current_timezone(), timezone.now())


# The reader's time zone by name, for the labels of forms.
ZONE: Any = lazy(_zone, str)()


def activity_link(activity_id: int | None, name: str = "") -> SafeString | str:
    """An activity as a link to its page."""
    if activity_id is None:
        return UNKNOWN
    text = f"{activity_id} · {name}" if name else str(activity_id)
    return link(reverse("admin:seckill_activity_change", args=[activity_id]), text)


def item_link(activity_id: int | None, item_id: int | None) -> SafeString | str:
    """An item as a link to its row of the inventory."""
    if item_id is None:
        return UNKNOWN
    query = {"activity": activity_id, "q": item_id} if activity_id is not None else {"q": item_id}
    return link(f"{reverse('admin:seckill_item_changelist')}?{urlencode(query)}", str(item_id))


def orders_link(term: int | str | None) -> SafeString | str:
    """A user or a request as a link to its orders."""
    if term is None or term == "":
        return UNKNOWN
    query = urlencode({"q": term})
    return link(f"{reverse('admin:seckill_record_changelist')}?{query}", str(term))


def link(url: str, text: str) -> SafeString:
    """A link in a cell."""
    return format_html('<a class="{}" href="{}">{}</a>', LINK, url, text)

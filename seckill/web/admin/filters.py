"""Filters of the lists. Their choices come from small tables, never from the orders."""

from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Any

from django.contrib.admin.options import IncorrectLookupParameters
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils import timezone
from django.utils.dateparse import parse_date, parse_time
from django.utils.translation import gettext_lazy as _
from unfold.contrib.filters.admin import DropdownFilter, RangeDateTimeFilter

from seckill.formats.outcomes import MAX_ID
from seckill.models import Activity, Item

# How many choices a filter offers; the URL accepts any.
MAX_CHOICES = 1_000


def number(text: str) -> int:
    """An id from a URL. Raises IncorrectLookupParameters, which shows the list unfiltered."""
    if not (text.isascii() and text.isdigit() and len(text) <= 19 and 1 <= int(text) <= MAX_ID):
        raise IncorrectLookupParameters
    return int(text)


class ActivityFilter(DropdownFilter):
    """By activity."""

    title = _("activity")
    parameter_name = "activity"

    def lookups(self, request: HttpRequest, model_admin: Any) -> Iterable[tuple[str, str]]:
        """The activities."""
        named = Activity.objects.values_list("pk", "name")[:MAX_CHOICES]
        return [(str(pk), f"{pk} · {name}" if name else str(pk)) for pk, name in named]

    def has_output(self) -> bool:
        """Show it even if there is nothing to choose yet."""
        return True

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        """The rows of the activity; of a sale over several lanes those of all parts."""
        value = self.value()
        if not value:
            return queryset
        return queryset.filter(activity_id__in=Activity.of_sale(number(value)))


class ItemFilter(DropdownFilter):
    """By item of an activity, as `activity-item`: the index has both."""

    title = _("item")
    parameter_name = "item"

    def lookups(self, request: HttpRequest, model_admin: Any) -> Iterable[tuple[str, str]]:
        """The items; if an activity is chosen, only its items."""
        items = Item.objects.all()
        activity = request.GET.get(ActivityFilter.parameter_name)
        if activity:
            items = items.filter(activity_id=number(activity))
        named = items.values_list("activity_id", "item_id", "name")[:MAX_CHOICES]
        return [
            (
                f"{activity_id}-{item_id}",
                f"{item_id} · {name}"
                if name
                else str(item_id) + ("" if activity else f" ({_('activity')} {activity_id})"),
            )
            for activity_id, item_id, name in named
        ]

    def has_output(self) -> bool:
        """Show it even if there is nothing to choose yet."""
        return True

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        """The rows of the item."""
        value = self.value()
        if not value:
            return queryset
        activity, _dash, item = value.partition("-")
        return queryset.filter(activity_id=number(activity), item_id=number(item))


class LastMinutesFilter(DropdownFilter):
    """By age."""

    title = _("last minutes")
    parameter_name = "last"
    field = "ts"
    CHOICES = (
        ("1", _("1 minute")),
        ("5", _("5 minutes")),
        ("15", _("15 minutes")),
        ("60", _("1 hour")),
        ("1440", _("1 day")),
    )

    def lookups(self, request: HttpRequest, model_admin: Any) -> Iterable[tuple[str, Any]]:
        """The ages."""
        return self.CHOICES

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        """The rows that are not older."""
        value = self.value()
        if not value:
            return queryset
        if value not in dict(self.CHOICES):
            raise IncorrectLookupParameters
        since = timezone.now() - timedelta(minutes=int(value))
        return queryset.filter(**{f"{self.field}__gte": since})


class PeriodFilter(RangeDateTimeFilter):
    """From and to; a day without a time means the whole day."""

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        """The rows of the period. Raises IncorrectLookupParameters for a bad date."""
        conditions = {}
        for end, lookup, default in (("from", "gte", "00:00:00"), ("to", "lte", "23:59:59.999999")):
            day = self.used_parameters.get(f"{self.parameter_name}_{end}_0") or ""
            time = self.used_parameters.get(f"{self.parameter_name}_{end}_1") or default
            if day:
                conditions[f"{self.parameter_name}__{lookup}"] = _moment(str(day), str(time))
        return queryset.filter(**conditions)


def _moment(day: str, time: str) -> datetime:
    try:
        date, clock = parse_date(day), parse_time(time)
    except ValueError:
        date = clock = None
    if date is None or clock is None:
        raise IncorrectLookupParameters
    try:
        return timezone.make_aware(datetime.combine(date, clock))
    except (ValueError, OverflowError):
        raise IncorrectLookupParameters from None


def period_parameters(field: str) -> tuple[str, ...]:
    """The query parameters of a PeriodFilter."""
    return tuple(f"{field}_{end}_{part}" for end in ("from", "to") for part in (0, 1))

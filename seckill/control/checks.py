"""Checks of an operator's input: ids, units, windows. Each raises Refused with the field."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from django.utils.translation import gettext as _

from seckill.errors import Refused
from seckill.formats.outcomes import MAX_ID, MAX_UNITS
from seckill.models import MAX_HOLD_S

# Fields of an activity's row that operators may change.
FIELDS = ("name", "opens_at", "closes_at", "user_limit", "timeout_ms", "hold_s")
MAX_NAME = 200
# The longest timeout, in ms: a hundred years.
MAX_TIMEOUT_MS = 3_155_760_000_000
# The most of each field that is a number.
MOST = {"user_limit": MAX_UNITS, "timeout_ms": MAX_TIMEOUT_MS, "hold_s": MAX_HOLD_S}


def check_activity(activity_id: int) -> None:
    """The id must be one that an activity can have."""
    if not 1 <= activity_id <= MAX_ID:
        raise Refused(_("an activity is a number from 1 to 2^63 - 1"), "activity_id")


def check_stock(stock: Mapping[int, int], least: int = 0) -> None:
    """Items and units must be in range."""
    if not stock:
        raise Refused(_("no item is given"), "value")
    for item, units in stock.items():
        if not 1 <= item <= MAX_ID:
            raise Refused(_("an item is a number from 1 to 2^63 - 1"), "value")
        if not least <= units <= MAX_UNITS:
            raise Refused(
                _("units are a whole number from %(least)s to 10^12") % {"least": least}, "value"
            )


def checked_fields(fields: Mapping[str, Any]) -> dict[str, Any]:
    """The fields, checked. Times are in UTC, because PostgreSQL does not know every time zone."""
    checked = dict(fields)
    for name, value in fields.items():
        if name not in FIELDS:
            known = ", ".join(FIELDS)
            raise Refused(_("unknown field; known: %(known)s") % {"known": known}, name)
        if name == "name":
            if not isinstance(value, str) or len(value) > MAX_NAME or "\0" in value:
                raise Refused(_("a name is a text of at most 200 characters"), name)
        elif name in ("opens_at", "closes_at"):
            checked[name] = None if value is None else _moment(value, name)
        else:
            most = MOST[name]
            if value is not None and not 1 <= value <= most:
                raise Refused(_("a whole number from 1 to %(most)s") % {"most": most}, name)
    return checked


def _moment(value: object, field: str) -> datetime:
    refused = Refused(_("a time with its time zone, for example 2026-11-11T20:00Z"), field)
    if not isinstance(value, datetime) or value.tzinfo is None:
        raise refused
    try:
        return value.astimezone(UTC)
    except OverflowError:
        # A time in the first or last possible year, which has no equal in UTC.
        raise refused from None


def check_window(opens_at: datetime | None, closes_at: datetime | None) -> None:
    """The window must close after it opens."""
    if opens_at and closes_at and closes_at <= opens_at:
        raise Refused(_("it must close later than it opens"))

"""PostgreSQL's tables made to say what Redis has: items, and the activity's row.

Owns what acts write besides the journal, and the two forms of an activity's fields: those of the
row, and those that the journal shows. The caller holds the turn.
"""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from django.db import connection

from seckill.control.acts import ACTS, BY_ITEM, CONFIGURE, CREATE, SPLIT
from seckill.control.part_rows import make_parts
from seckill.lane.keys import Lane
from seckill.lane.status import ActivityStatus
from seckill.models import Activity, Item


def follow(
    activity_id: int, act: str, wanted: Mapping[str, Any], status: ActivityStatus, actor: str
) -> None:
    """Update the tables to what an act has done in Redis."""
    kind = ACTS.get(act)
    if kind is CREATE or (kind is not None and kind.fields is BY_ITEM):
        items = [int(name) for name in wanted if name.isdigit()]
        allocate(activity_id, {n: status.items[n].loaded for n in items if n in status.items})
    fields: dict[str, Any] = {"finished": status.over == "finished", "paused": status.paused}
    if kind is CONFIGURE:
        fields.update(row_fields(wanted))
    if kind is SPLIT:
        make_parts(activity_id, lanes_of_split(wanted), actor)
    Activity.objects.filter(pk=activity_id).update(**fields)


def split_in(lanes: Sequence[str]) -> dict[str, str]:
    """The lanes of a split sale as the journal shows them."""
    return {"lanes": ", ".join(lanes)}


def lanes_of_split(shown: Mapping[str, str]) -> list[str]:
    """The inverse of `split_in`."""
    return shown["lanes"].split(", ")


def follow_redis(activity_id: int, now: ActivityStatus, lane: Lane) -> None:
    """Make the tables say what a lane's Redis has: an older PostgreSQL has lost acts of operators
    too.
    """
    row, _made = Activity.objects.get_or_create(pk=activity_id, defaults={"lane": lane.name})
    row.paused, row.finished = now.paused, now.over == "finished"
    row.opens_at, row.closes_at = moment(now.opens_at_ms), moment(now.closes_at_ms)
    row.user_limit, row.timeout_ms = now.user_limit, now.timeout_ms
    row.hold_s = now.hold_s
    row.save()
    for item in now.items.values():
        Item.objects.update_or_create(
            activity_id=activity_id, item_id=item.item_id, defaults={"allocation": item.loaded}
        )


def allocate(activity_id: int, loaded: Mapping[int, int]) -> None:
    """Write the units ever put on sale to the items' rows."""
    with connection.cursor() as cursor:
        cursor.executemany(
            "INSERT INTO seckill_item (activity_id, item_id, allocation) VALUES (%s, %s, %s)"
            " ON CONFLICT (activity_id, item_id)"
            " DO UPDATE SET allocation = EXCLUDED.allocation",
            [(activity_id, item, units) for item, units in sorted(loaded.items())],
        )


def shown_fields(fields: Mapping[str, Any]) -> dict[str, Any]:
    """Fields of an activity's row in the form of the journal: times in ms."""
    return {
        "timeout" if name == "timeout_ms" else name: milliseconds(value)
        if isinstance(value, datetime)
        else value
        for name, value in fields.items()
    }


def row_fields(shown: Mapping[str, Any]) -> dict[str, Any]:
    """The inverse of `shown_fields`."""
    fields: dict[str, Any] = {}
    for name, value in shown.items():
        if name in ("opens_at", "closes_at"):
            fields[name] = moment(value)
        else:
            fields["timeout_ms" if name == "timeout" else name] = value
    return fields


def milliseconds(at: datetime | None) -> int | None:
    """A time in ms, as Redis stores it."""
    return None if at is None else round(at.timestamp() * 1000)


def moment(at_ms: int | None) -> datetime | None:
    """The inverse of `milliseconds`."""
    return None if at_ms is None else datetime.fromtimestamp(at_ms / 1000, UTC)

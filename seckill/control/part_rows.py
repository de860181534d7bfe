"""The rows of a split sale: its parts, their items, and the first moves of units to them.

Owns how an allocation is divided. The caller holds the turn of the head and its transaction.
"""

from collections.abc import Sequence

from django.db import connection

from seckill.formats.outcomes import MAX_ID
from seckill.models import Activity, Item, Move

# The advisory lock under which activities are created: any number that nothing else uses.
MAKING = 7_351_001
# What a part repeats of its head.
REPEATED = (
    "name",
    "opens_at",
    "closes_at",
    "user_limit",
    "timeout_ms",
    "hold_s",
    "paused",
    "finished",
)


def shares(units: int, parts: int, first: int = 0) -> list[int]:
    """Units divided over the parts: the sum is exact. The part `first` and those after it get one
    of the remainder each.
    """
    each, rest = divmod(units, parts)
    return [each + ((part - first) % parts < rest) for part in range(parts)]


def make_parts(head_id: int, lanes: Sequence[str], actor: str) -> list[int]:
    """Make the parts of a head that has none yet, and plan the moves of their shares to them.

    Returns the activities of all parts. Nothing is done twice.
    """
    head = Activity.objects.get(pk=head_id)
    if head.part_of is not None:
        return [part.pk for part in parts_of(head_id)]
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_xact_lock(%s)", [MAKING])
    last: int = Activity.objects.order_by("-id").values_list("id", flat=True)[0]
    if last + len(lanes) > MAX_ID:
        raise ValueError("the highest number is taken")
    Activity.objects.filter(pk=head_id).update(part_of=head_id, part=0, parts=len(lanes))
    items = list(Item.objects.filter(activity_id=head_id).order_by("item_id"))
    numbers = [head_id]
    for part, lane in enumerate(lanes[1:], 1):
        row = Activity.objects.create(
            pk=last + part,
            lane=lane,
            part_of=head_id,
            part=part,
            parts=len(lanes),
            **{name: getattr(head, name) for name in REPEATED},
        )
        Item.objects.bulk_create(
            Item(activity_id=row.pk, item_id=item.item_id, name=item.name) for item in items
        )
        numbers.append(row.pk)
    plan_shares(head_id, {item.item_id: item.allocation for item in items}, actor)
    return numbers


def plan_shares(head_id: int, units: dict[int, int], actor: str) -> None:
    """Plan the moves that bring each part its share of units which are in the head now."""
    parts = parts_of(head_id)
    divided = {
        item: shares(number, len(parts), place)
        for place, (item, number) in enumerate(units.items())
    }
    for place, part in enumerate(parts[1:], 1):
        move = {str(item): each[place] for item, each in divided.items() if each[place]}
        if move:
            Move.objects.create(
                actor=actor, head=head_id, source=head_id, target=part.pk, units=move
            )


def parts_of(activity_id: int) -> list[Activity]:
    """The parts of a split sale in their order; none if it is not the head of one."""
    return list(Activity.objects.filter(part_of=activity_id).order_by("part"))

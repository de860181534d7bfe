"""Where stored orders stand: sold at once, held until they are paid, or what became of the hold.

Owns the questions about it. Each asks for settlements by the identity of the orders, for which both
tables have an index. A list of one state reads past orders of the others, but for the held ones.
"""

from collections.abc import Collection, Iterable
from typing import Any

from django.db.models import Case, CharField, Exists, OuterRef, QuerySet, Subquery, Value, When
from django.db.models.functions import Coalesce

from seckill.models import Record, Settlement
from seckill.web.shared.open_holds import may_be_held

# Where an order stands that nothing has become of yet.
SOLD, HELD = "sold", "held"
# Of holds: the one that has not ended, and the ways to end.
HOLDS = (HELD, *Settlement.Kind.values)
# So many orders are asked for held ones before all are.
NEAR = 3_000


def attach_settlements(rows: Iterable[Any]) -> None:
    """Set `settlement` on each order: what became of it, None for nothing yet. One query."""
    rows = list(rows)
    held = [row for row in rows if row.due is not None]
    found = Settlement.objects.filter(
        source__in={row.source for row in held},
        partition__in={row.partition for row in held},
        offset__in={row.offset for row in held},
    )
    ended = {(str(s.source), s.partition, s.offset, s.item_id): s for s in found} if held else {}
    for row in rows:
        row.settlement = ended.get((str(row.source), row.partition, row.offset, row.item_id))


def state_of(record: Any) -> str:
    """SOLD, HELD, or the kind of its settlement. The order has its `settlement`."""
    if record.settlement is not None:
        return str(record.settlement.kind)
    return SOLD if record.due is None else HELD


def in_state(rows: "QuerySet[Record]", state: str) -> "QuerySet[Record]":
    """The orders in one state: SOLD, or one of HOLDS."""
    if state == SOLD:
        return rows.filter(due=None)
    rows = rows.exclude(due=None)
    if state == HELD:
        return rows.filter(~Exists(_settlement()))
    return rows.filter(Exists(_settlement().filter(kind=state)))


def first_held(rows: "QuerySet[Record]", most: int, sale: Collection[int] | None) -> "list[Record]":
    """The first `most` of ordered orders that are held. `sale`: their activities, None for all.

    The nearest orders are asked first. Held ones are mostly the newest, but PostgreSQL, which
    expects few of them anywhere, may read all orders to find these. Then those that Redis knows of.
    Only where Redis cannot say it all orders are read.
    """
    near = list(rows.values_list("pk", flat=True)[:NEAR])
    found = list(in_state(rows.filter(pk__in=near), HELD)[:most])
    if len(found) < most and len(near) == NEAR:
        found = list(all_held(rows, sale)[:most])
    return found


def all_held(rows: "QuerySet[Record]", sale: Collection[int] | None = None) -> "QuerySet[Record]":
    """The orders that are held, looked up by what Redis knows, or else by reading all.

    `sale`: their activities, None for all.
    """
    some = may_be_held(sale)
    return in_state(rows if some is None else rows.filter(pk__in=some), HELD)


def with_hold(rows: "QuerySet[Record]") -> "QuerySet[Any]":
    """The orders with `hold`: one of HOLDS, None for what was sold at once."""
    kind = Subquery(_settlement().values("kind")[:1])
    text = CharField(null=True)
    return rows.annotate(
        hold=Case(
            When(due=None, then=Value(None, output_field=text)),
            default=Coalesce(kind, Value(HELD), output_field=text),
            output_field=text,
        )
    )


def _settlement() -> "QuerySet[Settlement]":
    """What became of the order of the outer query."""
    same = ("source", "partition", "offset", "item_id")
    return Settlement.objects.filter(**{name: OuterRef(name) for name in same})

"""Orders: the lines in PostgreSQL, by filters, in pages; and one of them.

Owns which index each list is read by: no page reads more than it shows, at ten million rows too.
"""

from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from typing import Annotated, Any, Literal

from django.db.models import F, Q, QuerySet
from django.http import HttpRequest
from ninja import Path, Query, Router
from pydantic import (
    AfterValidator,
    AwareDatetime,
    BaseModel,
    BeforeValidator,
    Field,
    WithJsonSchema,
)

from seckill.errors import NoSuchThing, Poison
from seckill.formats.record import ACCEPTED, WireRecord, parse
from seckill.models import Activity, DeadRecord, Item, Record
from seckill.web.api.operations import LOOK
from seckill.web.api.problems import Problem
from seckill.web.api.strict import OptionalTextId, TextId, moment_text, moment_utc
from seckill.web.api.v1.calls import LOOKS, page
from seckill.web.api.v1.schemas import DEFAULT_PAGE, ActivityFilter, Cursor, Limit, Page, RequestId
from seckill.web.shared.holds import HELD, HOLDS, attach_settlements, first_held, in_state

router = Router(tags=["lookups"])
Moment = Annotated[
    AwareDatetime | None,
    BeforeValidator(moment_text),
    AfterValidator(moment_utc),
    WithJsonSchema({"type": "string", "format": "date-time"}),
]
Hold = Annotated[
    Literal["held", "paid", "expired", "cancelled"] | None,
    WithJsonSchema({"type": "string", "enum": list(HOLDS)}),
]
STORED, PARKED = "stored", "parked"


class OrderOut(BaseModel):
    """One order line, and the Kafka message that it comes from."""

    order_id: int | None = Field(
        description="Its number; null for a parked one, which is no row.", examples=[1]
    )
    state: str = Field(
        description="`stored`, or `parked`: accepted, but PostgreSQL refuses it (a dead record).",
        examples=[STORED],
    )
    user_id: int = Field(examples=[564])
    activity_id: int = Field(examples=[1])
    item_id: int = Field(examples=[1001])
    quantity: int = Field(examples=[2])
    request_id: str | None = Field(examples=[None])
    decided_at: datetime
    cost_ms: int = Field(description="From the buyer's request to its decision.", examples=[12])
    version: int = Field(description="The activity's version at the decision.", examples=[4])
    source: str = Field(examples=["0f9a2c51-6f0e-4b8e-9d0c-3a54f1f2a111"])
    partition: int = Field(examples=[0])
    offset: int = Field(examples=[1234])
    hold: str | None = Field(
        description="`held`, `paid`, `expired`, `cancelled`: null if it was sold at once.",
        examples=["paid"],
    )
    pay_until: datetime | None = Field(
        description="Until when it could be paid; null if it was sold at once."
    )
    settled_at: datetime | None = Field(
        description="When it was paid, given back, or expired; null if it was not."
    )
    reference: str | None = Field(
        description="Of the payment, as the shop gave it.", examples=["pi_1"]
    )

    @classmethod
    def of_rows(cls, rows: Iterable[Record]) -> "list[OrderOut]":
        """The responses for rows, with what became of their holds."""
        rows = list(rows)
        attach_settlements(rows)
        return [cls._of(row, order_id=row.pk, state=STORED, decided_at=row.ts) for row in rows]

    @classmethod
    def of_parked(cls, record: WireRecord) -> "OrderOut":
        """The response for the record of a parked one. Its hold is settled without a row."""
        at = datetime.fromtimestamp(record.timestamp, UTC)
        return cls._of(record, order_id=None, state=PARKED, decided_at=at)

    @classmethod
    def _of(cls, row: Any, **given: Any) -> "OrderOut":
        settlement, due = getattr(row, "settlement", None), row.due
        given |= {
            "source": str(row.source),
            "hold": settlement.kind if settlement else None if due is None else HELD,
            "pay_until": datetime.fromtimestamp(due / 1000, UTC) if isinstance(due, int) else due,
            "settled_at": settlement.ts if settlement else None,
            "reference": settlement.reference if settlement else None,
        }
        rest = [name for name in cls.model_fields if name not in given]
        return cls(**given, **{name: getattr(row, name) for name in rest})


class OrderPage(Page):
    """Order lines, the newest first."""

    orders: list[OrderOut]


@router.get(
    "/orders",
    auth=LOOK,
    response={200: OrderPage, LOOKS - {404}: Problem},
    summary="Orders, the newest first",
)
def list_orders(
    request: HttpRequest,
    activity_id: ActivityFilter = Query(None),
    item_id: OptionalTextId = Query(None, description="Only of this item."),
    user_id: OptionalTextId = Query(None, description="Only of this user."),
    request_id: RequestId = Query(None, description="Only of this request."),
    since: Moment = Query(None, description="Decided then or later, with a time zone."),
    until: Moment = Query(None, description="Decided before then, with a time zone."),
    state: Literal["stored", "parked"] = Query(
        STORED,
        description="`stored`: rows in PostgreSQL. `parked`: accepted, but refused by PostgreSQL.",
    ),
    hold: Hold = Query(
        None,
        description="Only stored orders that were to be paid in time, and stand so.",
    ),
    before: Cursor = Query(None),
    limit: Limit = Query(DEFAULT_PAGE),
) -> OrderPage:
    """All filters must fit. The head of a sale over several lanes stands for all of its parts.
    Orders that were just accepted appear within moments; until then
    `POST /v1/results` finds them."""
    wanted = {
        name: value
        for name, value in (
            ("activity_id", activity_id),
            ("item_id", item_id),
            ("user_id", user_id),
            ("request_id", request_id),
        )
        if value is not None
    }
    # Of a sale over several lanes the orders of all parts.
    sale = None if activity_id is None else Activity.of_sale(activity_id)
    wanted.pop("activity_id", None)
    if state == PARKED:
        if hold is not None:
            return OrderPage(orders=[], next=None)
        return _parked(wanted, sale, since, until, before, limit)
    rows = Record.objects.filter(**wanted)
    if sale is not None:
        rows = rows.filter(activity_id__in=sale)
    if item_id is not None and activity_id is None:
        # The index has the activity first.
        sold_in = Item.objects.filter(item_id=item_id).values_list("activity_id", flat=True)
        rows = rows.filter(activity_id__in=list(sold_in))
    if since is not None:
        rows = rows.filter(ts__gte=since)
    if until is not None:
        rows = rows.filter(ts__lt=until)
    if hold not in (None, HELD):
        rows = in_state(rows, str(hold))
    rows = _ordered(rows, wanted, until, before)
    shown = first_held(rows, limit + 1, sale) if hold == HELD else rows
    found, following = page(shown, limit, lambda row: row.pk)
    return OrderPage(orders=OrderOut.of_rows(found), next=following)


@router.get(
    "/orders/{order_id}",
    auth=LOOK,
    response={200: OrderOut, LOOKS: Problem},
    summary="One order",
)
def show_order(
    request: HttpRequest, order_id: Annotated[TextId, Path(description="Its number.")]
) -> OrderOut:
    """One line of a stored order. The other items of its request have the same `source`,
    `partition` and `offset`."""
    row = Record.objects.filter(pk=order_id).first()
    if row is None:
        raise NoSuchThing(f"order {order_id} is not known", "order_id")
    [order] = OrderOut.of_rows([row])
    return order


def _ordered(
    rows: "QuerySet[Record]", wanted: dict[str, Any], until: datetime | None, before: int | None
) -> "QuerySet[Any]":
    """The rows after the cursor, in an order for which there is an index."""
    if "user_id" in wanted or "request_id" in wanted:
        # Few rows, found by their index. Sorting by an expression keeps PostgreSQL from reading
        # all orders backwards by id instead.
        rows = rows.annotate(newest=-F("pk")).order_by("newest")
        return rows if before is None else rows.filter(pk__lt=before)
    if until is None:
        rows = rows.order_by("-pk")
        return rows if before is None else rows.filter(pk__lt=before)
    # Going down the ids would read everything after an old period.
    rows = rows.order_by("-ts", "-pk")
    if before is None:
        return rows
    at = Record.objects.filter(pk=before).values_list("ts", flat=True).first()
    if at is None:
        return rows.none()
    return rows.filter(ts__lte=at).filter(Q(ts__lt=at) | Q(pk__lt=before))


def _parked(
    wanted: dict[str, Any],
    sale: list[int] | None,
    since: datetime | None,
    until: datetime | None,
    before: int | None,
    limit: int,
) -> OrderPage:
    """A page of dead records that are orders. There are few, or an alarm: they are read in turn."""
    orders: list[OrderOut] = []
    last = 0
    for number, record in _unsettled(before):
        order = OrderOut.of_parked(record)
        if sale is not None and order.activity_id not in sale:
            continue
        if any(getattr(order, name) != value for name, value in wanted.items()):
            continue
        if (since and order.decided_at < since) or (until and order.decided_at >= until):
            continue
        if len(orders) == limit:
            return OrderPage(orders=orders, next=str(last))
        orders.append(order)
        last = number
    return OrderPage(orders=orders, next=None)


def _unsettled(before: int | None) -> Iterator[tuple[int, WireRecord]]:
    """Dead records that are accepted orders without a row of theirs, the newest first."""
    rows = DeadRecord.objects.filter(
        ~DeadRecord.settled(), kind=DeadRecord.Kind.REFUSED, entry=ACCEPTED
    )
    if before is not None:
        rows = rows.filter(pk__lt=before)
    for row in rows.order_by("-pk").iterator():
        try:
            yield row.pk, parse(bytes(row.raw))
        except Poison:
            continue

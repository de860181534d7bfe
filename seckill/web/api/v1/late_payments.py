"""Late payments: money for holds that had ended. A list, and the tick of whoever has paid it back.

Nothing here gives money back: that is done at the provider.
"""

from datetime import datetime
from typing import Annotated, Any, Literal

from django.http import HttpRequest
from ninja import Path, Query, Router
from pydantic import BaseModel, ConfigDict, Field, WithJsonSchema

from seckill.control.late_payments import settle
from seckill.errors import NoSuchThing
from seckill.models import LatePayment
from seckill.web.api.operations import LOOK, STEER, actor
from seckill.web.api.problems import Problem
from seckill.web.api.strict import TextId
from seckill.web.api.v1.calls import LOOKS, newest, page
from seckill.web.api.v1.schemas import DEFAULT_PAGE, ActivityFilter, Cursor, Limit, Note, Page

router = Router(tags=["lookups"])
OPEN, SETTLED = "open", "settled"
State = Annotated[
    Literal["open", "settled"] | None,
    WithJsonSchema({"type": "string", "enum": [OPEN, SETTLED]}),
]


class LatePaymentOut(BaseModel):
    """One payment, and the hold for which it came too late."""

    late_payment_id: int = Field(examples=[1])
    state: str = Field(description="`open`: to be paid back. `settled`.", examples=["open"])
    activity_id: int = Field(examples=[1])
    user_id: int = Field(examples=[564])
    reference: str | None = Field(description="As the shop gave it.", examples=["pi_1"])
    decided_at: datetime = Field(description="When it was found to be too late.")
    source: str = Field(examples=["0f9a2c51-6f0e-4b8e-9d0c-3a54f1f2a111"])
    partition: int = Field(examples=[0])
    offset: int = Field(description="With the two before it: the order.", examples=[1234])
    settled_at: datetime | None
    settled_by: str = Field(examples=[""])
    note: str = Field(examples=[""])

    @classmethod
    def of(cls, row: LatePayment) -> "LatePaymentOut":
        """The response for a row."""
        given: dict[str, Any] = {
            "late_payment_id": row.pk,
            "state": OPEN if row.resolved_at is None else SETTLED,
            "decided_at": row.ts,
            "source": str(row.source),
            "settled_at": row.resolved_at,
            "settled_by": row.resolved_by,
        }
        rest = [name for name in cls.model_fields if name not in given]
        return cls(**given, **{name: getattr(row, name) for name in rest})


class LatePaymentPage(Page):
    """Late payments, the newest first."""

    late_payments: list[LatePaymentOut]


class SettledBody(BaseModel):
    """How it was paid back."""

    model_config = ConfigDict(
        extra="forbid", json_schema_extra={"examples": [{"note": "refunded: re_1"}]}
    )
    note: Note = Field("", description="For the journal.")


@router.get(
    "/late-payments",
    auth=LOOK,
    response={200: LatePaymentPage, LOOKS - {404}: Problem},
    summary="Money that came too late, the newest first",
)
def list_late_payments(
    request: HttpRequest,
    activity_id: ActivityFilter = Query(None),
    state: State = Query(
        None, description="`open`: to be paid back; `settled`: somebody has said that it was."
    ),
    before: Cursor = Query(None),
    limit: Limit = Query(DEFAULT_PAGE),
) -> LatePaymentPage:
    """Payments for holds that had expired or were given back. One that is reported twice is two."""
    rows = newest(LatePayment, activity_id, before)
    if state is not None:
        rows = rows.filter(resolved_at__isnull=state == OPEN)
    found, following = page(rows, limit, lambda row: row.pk)
    return LatePaymentPage(late_payments=[LatePaymentOut.of(row) for row in found], next=following)


@router.post(
    "/late-payments/{late_payment_id}/settle",
    auth=STEER,
    response={200: LatePaymentOut, LOOKS: Problem},
    summary="Say that a late payment was paid back",
)
def settle_late_payment(
    request: HttpRequest,
    late_payment_id: Annotated[TextId, Path(description="Its number.")],
    body: SettledBody | None = None,
) -> LatePaymentOut:
    """Ticks it off, with a row in the journal. It pays nothing back. A repeat changes nothing, and
    gets the first tick."""
    settle([late_payment_id], actor(request), body.note if body else "")
    row = LatePayment.objects.filter(pk=late_payment_id).first()
    if row is None:
        raise NoSuchThing(f"late payment {late_payment_id} is not known", "late_payment_id")
    return LatePaymentOut.of(row)

"""Looking: the whole lane, the journal, orders, the last audit's verdict."""

from typing import Annotated

from django.db.models import F
from django.http import HttpRequest, HttpResponse
from ninja import Query, Router
from pydantic import Field

from seckill import web
from seckill.api.operations import LOOK
from seckill.api.problems import Problem, problem
from seckill.api.strict import OptionalTextId
from seckill.api.v1.calls import LOOKS, page
from seckill.api.v1.schemas import (
    DEFAULT_PAGE,
    AuditOut,
    Cursor,
    JournalOut,
    JournalPage,
    Limit,
    OrderOut,
    OrderPage,
    RequestId,
    StateOut,
)
from seckill.keys import Lane
from seckill.last_audit import read_last_audit
from seckill.models import Record, StockChange
from seckill.series import fresh_sample
from seckill.workers import read_workers

router = Router(tags=["lookups"])
ActivityFilter = Annotated[OptionalTextId, Field(description="Only of this activity.")]


@router.get(
    "/status",
    auth=LOOK,
    response={200: StateOut, LOOKS - {404}: Problem},
    summary="Everything at one glance",
)
def show_status(request: HttpRequest) -> StateOut:
    """The lane, all loaded activities, the workers that were heard of, the last audit."""
    client = web.redis_client()
    return StateOut.of(
        web.lane_status(),
        read_workers(client, Lane()),
        read_last_audit(client),
        fresh_sample(client, Lane()),
    )


@router.get(
    "/journal",
    auth=LOOK,
    response={200: JournalPage, LOOKS - {404}: Problem},
    summary="Acts, the newest first",
)
def list_journal(
    request: HttpRequest,
    activity_id: ActivityFilter = Query(None),
    before: Cursor = Query(None),
    limit: Limit = Query(DEFAULT_PAGE),
) -> JournalPage:
    """Who did what, when, from what to what, and the version after it."""
    rows = StockChange.objects.order_by("-pk")
    if activity_id is not None:
        rows = rows.filter(activity_id=activity_id)
    if before is not None:
        rows = rows.filter(pk__lt=before)
    found, following = page(rows, limit, lambda row: row.pk)
    return JournalPage(journal=[JournalOut.of(row) for row in found], next=following)


@router.get(
    "/orders",
    auth=LOOK,
    response={200: OrderPage, LOOKS - {404}: Problem},
    summary="Stored orders, the newest first",
)
def list_orders(
    request: HttpRequest,
    user_id: OptionalTextId = Query(None, description="Only of this user."),
    request_id: RequestId = Query(None, description="Only of this request."),
    before: Cursor = Query(None),
    limit: Limit = Query(DEFAULT_PAGE),
) -> OrderPage:
    """Order lines that are in PostgreSQL; what was just accepted follows within moments."""
    rows = Record.objects.order_by("-pk")
    if user_id is not None or request_id is not None:
        # By a value: PostgreSQL must not walk all orders backwards to find a few of one user.
        rows = Record.objects.annotate(newest=-F("pk")).order_by("newest")
    if user_id is not None:
        rows = rows.filter(user_id=user_id)
    if request_id is not None:
        rows = rows.filter(request_id=request_id)
    if before is not None:
        rows = rows.filter(pk__lt=before)
    found, following = page(rows, limit, lambda row: row.pk)
    return OrderPage(orders=[OrderOut.of(row) for row in found], next=following)


@router.get(
    "/audit",
    auth=LOOK,
    response={200: AuditOut, LOOKS: Problem},
    summary="The last audit's verdict",
)
def show_audit(request: HttpRequest) -> AuditOut | HttpResponse:
    """What it said, and when: it was true then. 404 where none was run yet."""
    verdict = read_last_audit(web.redis_client())
    if verdict is None:
        return problem(404, "no audit was run yet: manage.py audit runs one")
    return AuditOut.of(verdict)

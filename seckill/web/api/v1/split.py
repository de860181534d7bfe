"""A sale over several lanes: split and balance."""

from typing import Annotated

from django.http import HttpRequest, HttpResponse
from ninja import Body, Router

from seckill.control import acts
from seckill.control.balance import rows_of
from seckill.web.api.operations import REFUSALS, STEER, actor
from seckill.web.api.problems import Problem
from seckill.web.api.schemas import ActOut
from seckill.web.api.v1.calls import (
    ACT_OPTIONS,
    MATCHING,
    NAMED,
    ActivityPath,
    IdempotencyKey,
    IfMatch,
    act,
)
from seckill.web.api.v1.schemas import BalanceOut, MoveOut, NoteBody, SplitBody
from seckill.web.shared import services

router = Router(tags=["acts"])


@router.post(acts.SPLIT.route, **ACT_OPTIONS, summary="Split a sale over lanes")
def split(
    request: HttpRequest,
    response: HttpResponse,
    activity_id: ActivityPath,
    body: SplitBody,
    key: IdempotencyKey = NAMED,
    if_match: IfMatch = MATCHING,
) -> ActOut:
    """Each lane gets its share of the units; each buyer is served by one of them. Only before the
    first request was decided, and for good. A repeat ends what was cut off."""
    lanes = [services.check_lane(name) for name in body.lanes]
    return act(
        request, response, activity_id, body, key, if_match,
        lambda control, version: control.split(activity_id, lanes, expected_version=version),
    )  # fmt: skip


@router.post(
    acts.TAKE_STOCK.route,
    auth=STEER,
    response={200: BalanceOut, REFUSALS | {409}: Problem},
    summary="Move units to the lanes that run dry",
)
def balance(
    request: HttpRequest,
    activity_id: ActivityPath,
    body: Annotated[NoteBody | None, Body()] = None,
) -> BalanceOut:
    """One round: it ends moves that were cut off, then moves what is needed. Safe to repeat."""
    rows_of(activity_id)
    done = services.balancer(activity_id, actor(request), body.note if body else "").round()
    return BalanceOut(
        moved=[MoveOut.of(move) for move in done.moved], waits=len(done.waits), over=done.over
    )

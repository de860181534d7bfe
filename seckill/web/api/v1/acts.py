"""The acts of operators, one route each, below /v1/activities/{activity_id}."""

from typing import Annotated

from django.http import HttpRequest, HttpResponse
from ninja import Body, Router

from seckill.control import acts
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
from seckill.web.api.v1.schemas import ActBody, AddBody, SetBody

router = Router(tags=["acts"])
NoBody = Annotated[ActBody | None, Body()]


@router.post(acts.SET_STOCK.route, **ACT_OPTIONS, summary="Set the units left of items")
def set_stock(
    request: HttpRequest,
    response: HttpResponse,
    activity_id: ActivityPath,
    body: SetBody,
    key: IdempotencyKey = NAMED,
    if_match: IfMatch = MATCHING,
) -> ActOut:
    """Set how many units of the named items are left from now on; other items stay as they are.

    Sold units stay sold. Statistics start again, and a sale that was over is open again.
    An unknown activity or item is created.
    """
    return act(
        request, response, activity_id, body, key, if_match,
        lambda control, version: control.set_stock(
            activity_id, body.value, expected_version=version
        ),
    )  # fmt: skip


@router.post(acts.ADD_STOCK.route, **ACT_OPTIONS, summary="Put more units on sale")
def add_stock(
    request: HttpRequest,
    response: HttpResponse,
    activity_id: ActivityPath,
    body: AddBody,
    key: IdempotencyKey = NAMED,
    if_match: IfMatch = MATCHING,
) -> ActOut:
    """Statistics continue. A sold-out sale opens again, a finished one stays finished.

    A repeat adds the units again: send an `Idempotency-Key` or a version.
    """
    return act(
        request, response, activity_id, body, key, if_match,
        lambda control, version: control.add_stock(
            activity_id, body.value, expected_version=version
        ),
    )  # fmt: skip


@router.post(acts.PAUSE.route, **ACT_OPTIONS, summary="Pause a sale")
def pause(
    request: HttpRequest,
    response: HttpResponse,
    activity_id: ActivityPath,
    body: NoBody = None,
    key: IdempotencyKey = NAMED,
    if_match: IfMatch = MATCHING,
) -> ActOut:
    """Every request from now on is answered NOT_OPEN, until `resume`."""
    return act(
        request, response, activity_id, body, key, if_match,
        lambda control, version: control.pause(activity_id, expected_version=version),
    )  # fmt: skip


@router.post(acts.RESUME.route, **ACT_OPTIONS, summary="Resume a paused sale")
def resume(
    request: HttpRequest,
    response: HttpResponse,
    activity_id: ActivityPath,
    body: NoBody = None,
    key: IdempotencyKey = NAMED,
    if_match: IfMatch = MATCHING,
) -> ActOut:
    """Requests are decided again from the next batch."""
    return act(
        request, response, activity_id, body, key, if_match,
        lambda control, version: control.resume(activity_id, expected_version=version),
    )  # fmt: skip


@router.post(acts.FINISH.route, **ACT_OPTIONS, summary="End a sale")
def finish(
    request: HttpRequest,
    response: HttpResponse,
    activity_id: ActivityPath,
    body: NoBody = None,
    key: IdempotencyKey = NAMED,
    if_match: IfMatch = MATCHING,
) -> ActOut:
    """Every request from now on is answered OVER, even if units are left, until `reopen`."""
    return act(
        request, response, activity_id, body, key, if_match,
        lambda control, version: control.finish(activity_id, expected_version=version),
    )  # fmt: skip


@router.post(acts.REOPEN.route, **ACT_OPTIONS, summary="Reopen a finished sale")
def reopen(
    request: HttpRequest,
    response: HttpResponse,
    activity_id: ActivityPath,
    body: NoBody = None,
    key: IdempotencyKey = NAMED,
    if_match: IfMatch = MATCHING,
) -> ActOut:
    """The sale continues with the units left. If no unit is left, it is sold out."""
    return act(
        request, response, activity_id, body, key, if_match,
        lambda control, version: control.reopen(activity_id, expected_version=version),
    )  # fmt: skip


@router.post(acts.SYNC.route, **ACT_OPTIONS, summary="Bring Redis in line with the database")
def sync_from_db(
    request: HttpRequest,
    response: HttpResponse,
    activity_id: ActivityPath,
    body: NoBody = None,
    key: IdempotencyKey = NAMED,
    if_match: IfMatch = MATCHING,
) -> ActOut:
    """Set left = allocation - sold for each item, never below 0. Waiting records count as sold.

    Repeating it changes nothing but the version, even during a sale.
    """
    return act(
        request, response, activity_id, body, key, if_match,
        lambda control, version: control.sync_from_db(activity_id, expected_version=version),
    )  # fmt: skip

"""The acts of operators, one route each, below /v1/activities/{activity_id}."""

from typing import Annotated

from django.http import HttpRequest, HttpResponse
from ninja import Body, Router

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
PLACE = "/activities/{activity_id}"
NoBody = Annotated[ActBody | None, Body()]


@router.post(PLACE + "/set_stock", **ACT_OPTIONS, summary="Put items at so many units")
def set_stock(
    request: HttpRequest,
    response: HttpResponse,
    activity_id: ActivityPath,
    body: SetBody,
    key: IdempotencyKey = NAMED,
    if_match: IfMatch = MATCHING,
) -> ActOut:
    """Each named item has so many units left from now on; others stay as they are.

    What was sold stays sold. Statistics start again, and a sale that was over is open again.
    An activity or an item that is not known is made.
    """
    return act(
        request, response, body, key, if_match,
        lambda control, version: control.set_stock(
            activity_id, body.value, expected_version=version
        ),
    )  # fmt: skip


@router.post(PLACE + "/add_stock", **ACT_OPTIONS, summary="Put more units on sale")
def add_stock(
    request: HttpRequest,
    response: HttpResponse,
    activity_id: ActivityPath,
    body: AddBody,
    key: IdempotencyKey = NAMED,
    if_match: IfMatch = MATCHING,
) -> ActOut:
    """Statistics go on. What was sold out is open again, what was finished stays finished.

    A repeat adds again: give it an `Idempotency-Key` or a version.
    """
    return act(
        request, response, body, key, if_match,
        lambda control, version: control.add_stock(
            activity_id, body.value, expected_version=version
        ),
    )  # fmt: skip


@router.post(PLACE + "/pause", **ACT_OPTIONS, summary="Hold a sale")
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
        request, response, body, key, if_match,
        lambda control, version: control.pause(activity_id, expected_version=version),
    )  # fmt: skip


@router.post(PLACE + "/resume", **ACT_OPTIONS, summary="Let a held sale go on")
def resume(
    request: HttpRequest,
    response: HttpResponse,
    activity_id: ActivityPath,
    body: NoBody = None,
    key: IdempotencyKey = NAMED,
    if_match: IfMatch = MATCHING,
) -> ActOut:
    """Takes back a pause."""
    return act(
        request, response, body, key, if_match,
        lambda control, version: control.resume(activity_id, expected_version=version),
    )  # fmt: skip


@router.post(PLACE + "/finish", **ACT_OPTIONS, summary="End a sale")
def finish(
    request: HttpRequest,
    response: HttpResponse,
    activity_id: ActivityPath,
    body: NoBody = None,
    key: IdempotencyKey = NAMED,
    if_match: IfMatch = MATCHING,
) -> ActOut:
    """Every request from now on is answered OVER, whatever is left, until `reopen`."""
    return act(
        request, response, body, key, if_match,
        lambda control, version: control.finish(activity_id, expected_version=version),
    )  # fmt: skip


@router.post(PLACE + "/reopen", **ACT_OPTIONS, summary="Take back the end of a sale")
def reopen(
    request: HttpRequest,
    response: HttpResponse,
    activity_id: ActivityPath,
    body: NoBody = None,
    key: IdempotencyKey = NAMED,
    if_match: IfMatch = MATCHING,
) -> ActOut:
    """The sale goes on with what is left; where nothing is, it is sold out."""
    return act(
        request, response, body, key, if_match,
        lambda control, version: control.reopen(activity_id, expected_version=version),
    )  # fmt: skip


@router.post(PLACE + "/sync_from_db", **ACT_OPTIONS, summary="Make Redis what the database says")
def sync_from_db(
    request: HttpRequest,
    response: HttpResponse,
    activity_id: ActivityPath,
    body: NoBody = None,
    key: IdempotencyKey = NAMED,
    if_match: IfMatch = MATCHING,
) -> ActOut:
    """left = allocation - sold for each item, never below 0, counting what still waits for storage.

    Repeating it changes nothing but the version, in the middle of a sale too.
    """
    return act(
        request, response, body, key, if_match,
        lambda control, version: control.sync_from_db(activity_id, expected_version=version),
    )  # fmt: skip

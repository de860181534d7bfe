"""The operations of the control API at the original's paths. Each act goes through Control."""

from typing import Annotated, Any

from django.http import HttpRequest
from ninja import Query, Router
from pydantic import Field

from seckill.control.control import NoSuchActivity, Refused
from seckill.formats.lanes import MAIN
from seckill.formats.outcomes import DEFAULT_ACTIVITY
from seckill.web.api.problems import Problem
from seckill.web.api.schemas import ActivityBody, ActOut, SetStockBody, StatusOut
from seckill.web.api.strict import OptionalTextId
from seckill.web.shared import services
from seckill.web.shared.auth import credentials

LOOK = credentials(steer=False)
STEER = credentials(steer=True)
REFUSALS = frozenset({400, 401, 403, 404, 413, 422, 429, 503})
ActivityQuery = Annotated[
    OptionalTextId,
    Field(description=f"The activity; by default {DEFAULT_ACTIVITY}."),
]

router = Router(tags=["control"])


@router.post(
    "/set_stock",
    auth=STEER,
    response={200: ActOut, REFUSALS | {409}: Problem},
    summary="Set the units left of items",
)
def set_stock(
    request: HttpRequest, body: SetStockBody, activity_id: ActivityQuery = Query(None)
) -> ActOut:
    """Set how many units of the named items are left from now on; other items stay as they are.

    Sold units stay sold. Statistics start again, and a sale that was over is open again.
    An unknown activity or item is created.
    """
    chosen = choose(activity_id, body.activity_id)
    return ActOut.of(
        services.control(actor(request), activity_id=chosen).set_stock(chosen, body.value)
    )


@router.post(
    "/finish_activity",
    auth=STEER,
    response={200: ActOut, REFUSALS | {409}: Problem},
    summary="End a sale",
)
def finish_activity(
    request: HttpRequest,
    body: ActivityBody | None = None,
    activity_id: ActivityQuery = Query(None),
) -> ActOut:
    """Every request from now on is OVER, even if units are left. `set_stock` opens it again."""
    chosen = choose(activity_id, body.activity_id if body else None)
    return ActOut.of(services.control(actor(request), activity_id=chosen).finish(chosen))


@router.post(
    "/sync_from_db",
    auth=STEER,
    response={200: ActOut, REFUSALS | {409}: Problem},
    summary="Bring Redis in line with the database",
)
def sync_from_db(
    request: HttpRequest,
    body: ActivityBody | None = None,
    activity_id: ActivityQuery = Query(None),
) -> ActOut:
    """Set left = allocation - sold for each item, never below 0. Waiting records count as sold.

    Repeating it changes nothing, even during a sale.
    """
    chosen = choose(activity_id, body.activity_id if body else None)
    return ActOut.of(services.control(actor(request), activity_id=chosen).sync_from_db(chosen))


@router.get(
    "/status",
    auth=LOOK,
    response={200: StatusOut, frozenset({401, 403, 404, 422, 429, 503}): Problem},
    summary="Stock, statistics and versions",
)
def status(request: HttpRequest, activity_id: ActivityQuery = Query(None)) -> StatusOut:
    """The top level shows one activity: `activity_id` (404 if it is not loaded), or 1.

    Without `activity_id`, `activities` has all loaded activities of lane main too. If activity 1 is
    not loaded then, that is no error: `loaded` is false.
    """
    home = MAIN if activity_id is None else services.lane_name_of(activity_id)
    lane = services.lane_status(home)
    if activity_id is not None and activity_id not in lane.activities:
        raise NoSuchActivity(f"activity {activity_id} is not loaded in Redis", "activity_id")
    return StatusOut.of(lane, activity_id or DEFAULT_ACTIVITY, with_all=activity_id is None)


def actor(request: HttpRequest) -> str:
    """The actor of the request, from its credential."""
    return str(request.auth)  # type: ignore[attr-defined]


def choose(in_query: Any, in_body: int | None) -> int:
    """The activity that a call means. Raises Refused if query and body differ."""
    if in_query is not None and in_body is not None and in_query != in_body:
        raise Refused("query and body name different activities")
    return in_query or in_body or DEFAULT_ACTIVITY

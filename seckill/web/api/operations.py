"""The operations of the control API, at the original's paths. Each act goes through Control."""

from typing import Annotated, Any

from django.http import HttpRequest
from ninja import Query, Router
from pydantic import Field

from seckill.control.control import NoSuchActivity, Refused
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
    Field(description=f"The activity; {DEFAULT_ACTIVITY} where it is named nowhere."),
]

router = Router(tags=["control"])


@router.post(
    "/set_stock",
    auth=STEER,
    response={200: ActOut, REFUSALS | {409}: Problem},
    summary="Put items at so many units",
)
def set_stock(
    request: HttpRequest, body: SetStockBody, activity_id: ActivityQuery = Query(None)
) -> ActOut:
    """Each named item has so many units left from now on; others stay as they are.

    What was sold stays sold. Statistics start again, and a sale that was over is open again.
    An activity or an item that is not known is made.
    """
    chosen = choose(activity_id, body.activity_id)
    return ActOut.of(services.control(actor(request)).set_stock(chosen, body.value))


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
    """Every request from now on is answered OVER, whatever is left. `set_stock` opens it again."""
    chosen = choose(activity_id, body.activity_id if body else None)
    return ActOut.of(services.control(actor(request)).finish(chosen))


@router.post(
    "/sync_from_db",
    auth=STEER,
    response={200: ActOut, REFUSALS | {409}: Problem},
    summary="Make Redis what the database says",
)
def sync_from_db(
    request: HttpRequest,
    body: ActivityBody | None = None,
    activity_id: ActivityQuery = Query(None),
) -> ActOut:
    """left = allocation - sold for each item, never below 0, counting what still waits for storage.

    Repeating it changes nothing, in the middle of a sale too.
    """
    chosen = choose(activity_id, body.activity_id if body else None)
    return ActOut.of(services.control(actor(request)).sync_from_db(chosen))


@router.get(
    "/status",
    auth=LOOK,
    response={200: StatusOut, frozenset({401, 403, 404, 422, 429, 503}): Problem},
    summary="Stock, statistics and versions",
)
def status(request: HttpRequest, activity_id: ActivityQuery = Query(None)) -> StatusOut:
    """One activity at the top level: the one that is asked for (404 when it is not loaded), or 1.

    Without `activity_id`, `activities` holds all loaded ones too, and an activity 1 that is not
    loaded is no error: `loaded` is false then.
    """
    lane = services.lane_status()
    if activity_id is not None and activity_id not in lane.activities:
        raise NoSuchActivity(f"activity {activity_id} is not loaded in Redis", "activity_id")
    return StatusOut.of(lane, activity_id or DEFAULT_ACTIVITY, with_all=activity_id is None)


def actor(request: HttpRequest) -> str:
    """Who asks, as the credential said."""
    return str(request.auth)  # type: ignore[attr-defined]


def choose(in_query: Any, in_body: int | None) -> int:
    """The activity that a call means. Raises Refused where query and body contradict."""
    if in_query is not None and in_body is not None and in_query != in_body:
        raise Refused("query and body name different activities; nothing was guessed")
    return in_query or in_body or DEFAULT_ACTIVITY

"""Activities and their items: list, show, create, change."""

from django.http import HttpRequest, HttpResponse
from ninja import Query, Router, Status

from seckill.control.checks import FIELDS
from seckill.control.control import NoSuchActivity
from seckill.formats.lanes import MAIN
from seckill.models import Activity, Item
from seckill.web.api.operations import LOOK, REFUSALS, STEER
from seckill.web.api.problems import Problem
from seckill.web.api.schemas import ActOut
from seckill.web.api.v1.calls import (
    ACT_OPTIONS,
    LOOKS,
    MATCHING,
    NAMED,
    ActivityPath,
    IdempotencyKey,
    IfMatch,
    act,
    answer,
    control,
    page,
)
from seckill.web.api.v1.schemas import (
    DEFAULT_PAGE,
    ActivityPage,
    ActivityRow,
    CreateBody,
    Cursor,
    FieldsBody,
    ItemOut,
    ItemPage,
    Limit,
)
from seckill.web.shared import services
from seckill.web.shared.sale import sale_of

router = Router(tags=["activities"])


@router.get(
    "/activities",
    auth=LOOK,
    response={200: ActivityPage, LOOKS - {404}: Problem},
    summary="Activities by id",
)
def list_activities(
    request: HttpRequest, after: Cursor = Query(None), limit: Limit = Query(DEFAULT_PAGE)
) -> ActivityPage:
    """A page of activities, each with its current state in Redis."""
    rows, following = page(
        Activity.objects.filter(pk__gt=after or 0).order_by("pk"), limit, lambda row: row.pk
    )
    lanes = {name: services.lane_status(name) for name in {MAIN, *(row.lane for row in rows)}}
    return ActivityPage(
        activities=[ActivityRow.of(row, lanes[row.lane].activities.get(row.pk)) for row in rows],
        next=following,
    )


@router.post(
    "/activities",
    auth=STEER,
    response={201: ActOut, (REFUSALS - {404}) | {409}: Problem},
    summary="Create an activity",
)
def create_activity(
    request: HttpRequest, response: HttpResponse, body: CreateBody, key: IdempotencyKey = NAMED
) -> Status:
    """With `stock` it is on sale at once; all of it is done, or nothing, and the journal has one
    row. Without, its first `set_stock` puts it on sale. 409 if the id is taken."""
    fields = body.model_dump(exclude_unset=True, exclude={"activity_id", "stock", "note", "lane"})
    lane = services.check_lane(body.lane)
    done = control(request, body, key, lane=lane).create(body.activity_id, body.stock, **fields)
    response["Location"] = f"{request.path}/{done.activity_id}"
    return Status(201, answer(response, done))


@router.get(
    "/activities/{activity_id}",
    auth=LOOK,
    response={200: ActivityRow, LOOKS: Problem},
    summary="One activity",
)
def show_activity(
    request: HttpRequest, response: HttpResponse, activity_id: ActivityPath
) -> ActivityRow:
    """Its row and its current state in Redis; its version is in ETag too. A sale over several lanes
    is shown as a whole too, by its head and by each part."""
    row = _row(activity_id)
    status = services.lane_status(row.lane).activities.get(activity_id)
    shown = ActivityRow.of(row, status, sale_of(activity_id))
    response["ETag"] = f'"{shown.version}"'
    return shown


@router.patch("/activities/{activity_id}", **ACT_OPTIONS, summary="Change an activity")
def change_activity(
    request: HttpRequest,
    response: HttpResponse,
    activity_id: ActivityPath,
    body: FieldsBody,
    key: IdempotencyKey = NAMED,
    if_match: IfMatch = MATCHING,
) -> ActOut:
    """Change name, window, limit per user, timeout or hold; it applies from the next batch.

    Fields that are not given stay. A limit also counts units bought before it was set.
    """
    fields = {name: getattr(body, name) for name in FIELDS if name in body.model_fields_set}
    return act(
        request, response, activity_id, body, key, if_match,
        lambda control, version: control.configure_fields(
            activity_id, expected_version=version, **fields
        ),
    )  # fmt: skip


@router.get(
    "/activities/{activity_id}/items",
    auth=LOOK,
    response={200: ItemPage, LOOKS: Problem},
    summary="Items of an activity",
)
def list_items(
    request: HttpRequest,
    activity_id: ActivityPath,
    after: Cursor = Query(None),
    limit: Limit = Query(DEFAULT_PAGE),
) -> ItemPage:
    """A page of items by id, each with its current state in Redis."""
    status = services.lane_status(_row(activity_id).lane).activities.get(activity_id)
    rows, following = page(
        Item.objects.filter(activity_id=activity_id, item_id__gt=after or 0).order_by("item_id"),
        limit,
        lambda row: row.item_id,
    )
    return ItemPage(items=[ItemOut.of(row, status) for row in rows], next=following)


def _row(activity_id: int) -> Activity:
    row = Activity.objects.filter(pk=activity_id).first()
    if row is None:
        raise NoSuchActivity(f"activity {activity_id} is not known", "activity_id")
    return row

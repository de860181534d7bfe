"""Read-only routes: the whole lane, the journal, the last audit's verdict."""

from django.http import HttpRequest, HttpResponse
from ninja import Query, Router
from ninja.errors import HttpError

from seckill.audit.verdict import read_last_audit
from seckill.errors import Refused
from seckill.formats.advice import in_lane
from seckill.formats.lanes import MAIN
from seckill.lane.keys import Lane
from seckill.models import StockChange
from seckill.monitoring.look import look
from seckill.web.api.operations import LOOK
from seckill.web.api.problems import Problem, problem
from seckill.web.api.v1.calls import LOOKS, newest, page
from seckill.web.api.v1.schemas import (
    DEFAULT_PAGE,
    ActivityFilter,
    AuditOut,
    Cursor,
    JournalOut,
    JournalPage,
    LaneFilter,
    Limit,
    StateOut,
)
from seckill.web.shared import services

router = Router(tags=["lookups"])


@router.get(
    "/status",
    auth=LOOK,
    response={200: StateOut, LOOKS: Problem},
    summary="Everything at a glance",
)
def show_status(request: HttpRequest, lane: LaneFilter = Query(MAIN)) -> StateOut:
    """What a lane does now, all of its loaded activities, all known workers, the last audit.

    404 for a lane that is not configured.
    """
    name = _known(lane)
    return StateOut.of(look(services.redis_client(name), Lane.named(name)))


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
    """Who did what and when, the values before and after, and the version after it."""
    rows = newest(StockChange, activity_id, before)
    found, following = page(rows, limit, lambda row: row.pk)
    return JournalPage(journal=[JournalOut.of(row) for row in found], next=following)


@router.get(
    "/audit",
    auth=LOOK,
    response={200: AuditOut, LOOKS: Problem},
    summary="The last audit's verdict",
)
def show_audit(request: HttpRequest, lane: LaneFilter = Query(MAIN)) -> AuditOut | HttpResponse:
    """The verdict on a lane and its time: it was true then. 404 if no audit has run yet."""
    name = _known(lane)
    verdict = read_last_audit(services.redis_client(name), Lane.named(name))
    if verdict is None:
        return problem(404, in_lane("no audit has run yet: manage.py audit runs one", name))
    return AuditOut.of(verdict)


def _known(lane: str) -> str:
    """The lane's name unchanged. A 404 if it is not configured here."""
    try:
        return services.check_lane(lane)
    except Refused as unknown:
        raise HttpError(404, str(unknown)) from None

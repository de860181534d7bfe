"""Reads Redis for the admin's pages: once per page, for all rows that it shows.

Owns what a row knows of Redis, which activity is the busiest, and what a page shows while Redis is
away.
"""

from collections.abc import Iterable, Mapping
from typing import Any

from django.contrib import messages
from django.http import HttpRequest
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from seckill.errors import RedisAway
from seckill.lane.held import units_by_item
from seckill.lane.phase import Phase
from seckill.lane.status import ActivityStatus, LaneStatus
from seckill.models import Activity
from seckill.monitoring.verdict import RATE_MS, Verdict, rate_of
from seckill.monitoring.verdict_text import in_words
from seckill.telemetry.history import read_series
from seckill.web.admin.base import PlainChangeList
from seckill.web.shared import services

# The state of an activity: (kind of label, text). Red is for danger, and none of these is one.
STATES = {
    "open": ("success", _("open")),
    "waiting": ("info", _("not open yet")),
    "closed": ("default", _("window closed")),
    "paused": ("warning", _("paused")),
    "finished": ("default", _("finished")),
    "sold_out": ("info", _("sold out")),
    "not loaded": ("default", _("not loaded")),
}
# The states in the order in which somebody wants to see them.
INTEREST = ("open", "paused", "waiting", "sold_out", "finished", "closed", "not loaded")


def look(request: HttpRequest) -> LaneStatus | None:
    """The lane for this page; None and a message to the user while Redis is away."""
    try:
        return services.lane_status()
    except RedisAway as away:
        messages.warning(
            request,
            gettext("%(away)s. Units left and versions are unknown now.") % {"away": away},
        )
        return None


def attach(rows: Iterable[Any], lane: LaneStatus | None) -> None:
    """Set `live` on each activity or item: its part of the lane, None if there is none.

    `unknown` tells whether Redis is away, or just does not have the row. An item has `held_units`
    too; None: they are not known.
    """
    rows = list(rows)
    held = _held(rows, lane)
    for row in rows:
        row.held_units = None
        number = row.pk if isinstance(row, Activity) else row.activity_id
        status = lane.activities.get(number) if lane else None
        if isinstance(row, Activity) or status is None:
            row.live = status
        else:
            row.live = status.items.get(row.item_id)
            if held is not None:
                row.held_units = held.get(row.activity_id, {}).get(row.item_id, 0)
        row.unknown = lane is None
        row.now_ms = lane.now_ms if lane else 0


def _held(rows: Iterable[Any], lane: LaneStatus | None) -> Mapping[int, Mapping[int, int]] | None:
    """{activity: {item: units in holds}} of the items among the rows; None: Redis went away."""
    activities = lane.activities if lane else {}
    numbers = {row.activity_id for row in rows if not isinstance(row, Activity)}
    try:
        return {
            number: units_by_item(services.redis_client(), services.lane(), number)
            for number in numbers
            if number in activities and activities[number].holds.held
        }
    except RedisAway:
        return None


class LiveChangeList(PlainChangeList):
    """A list that reads Redis once for all of its rows."""

    def get_results(self, request: HttpRequest) -> None:
        """The page's rows, each with its state in Redis."""
        super().get_results(request)
        self.lane = look(request)
        self.result_list = list(self.result_list)
        attach(self.result_list, self.lane)


def state_of(status: ActivityStatus | None, now_ms: int) -> str:
    """A key of STATES, at this time of Redis's clock."""
    if status is None:
        return "not loaded"
    phase = status.phase(now_ms)
    return "waiting" if phase is Phase.SOON else str(phase)


def rates(lane: LaneStatus) -> dict[int, float]:
    """{activity: requests decided a second} now, of the loaded ones. Raises RedisAway."""
    samples = read_series(services.redis_client(), services.lane(), lane.now_ms - 3 * RATE_MS)
    return {number: rate_of(lane, samples, number) or 0.0 for number in lane.activities}


def busiest_first(
    numbers: Iterable[int], lane: LaneStatus | None, rates: Mapping[int, float]
) -> list[int]:
    """Activities as somebody wants to see them: the busiest, the open ones, the newest first."""

    def place(number: int) -> tuple[float, int, int]:
        status = lane.activities.get(number) if lane else None
        state = state_of(status, lane.now_ms if lane else 0)
        return -rates.get(number, 0.0), INTEREST.index(state), -number

    return sorted(numbers, key=place)


def verdict_json(verdict: Verdict, now_ms: int) -> dict[str, str]:
    """A verdict for a page: what it is, how bad it is, and its words in the reader's language."""
    return {"state": verdict.state, "level": verdict.level, "text": in_words(verdict, now_ms)}

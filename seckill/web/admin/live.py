"""Reads Redis for the admin's pages: once per page, for all rows that it shows.

Owns what a row knows of Redis, which activity is the busiest, and what a page shows while Redis is
away.
"""

import logging
from collections.abc import Iterable, Mapping
from typing import Any

from django.contrib import messages
from django.http import HttpRequest
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from seckill.errors import RedisAway
from seckill.lane.held import units_by_item
from seckill.lane.keys import Lane
from seckill.lane.phase import Phase
from seckill.lane.status import ActivityStatus
from seckill.models import Activity
from seckill.monitoring.verdict import RATE_MS, Verdict, rate_of
from seckill.monitoring.verdict_text import in_words
from seckill.process.events import event
from seckill.telemetry.history import read_series
from seckill.web.admin.base import PlainChangeList
from seckill.web.shared import services
from seckill.web.shared.services import Lanes

log = logging.getLogger(__name__)

# The state of an activity: (kind of label, text). Red is for danger, and none of these is one.
STATES = {
    "open": ("success", _("open")),
    "waiting": ("info", _("not open yet")),
    "closed": ("default", _("window closed")),
    "paused": ("warning", _("paused")),
    "finished": ("default", _("finished")),
    "sold_out": ("info", _("sold out")),
    "not loaded": ("default", _("not loaded")),
    "archived": ("default", _("archived")),
}
# The states in the order in which somebody wants to see them.
INTEREST = ("open", "paused", "waiting", "sold_out", "finished", "closed", "not loaded", "archived")


def look(request: HttpRequest) -> Lanes:
    """The lanes for this page, and a message to the user for each Redis that is away."""
    lanes, gone = services.all_lanes()
    for name, why in gone.items():
        log.warning("%s: lane %s: %s", request.path, name, why, extra=event("redis-away"))
        messages.warning(
            request,
            gettext("%(away)s. Units left and versions are unknown now.")
            % {"away": services.away_text(name)},
        )
    return lanes


def attach(rows: Iterable[Any], lanes: Lanes) -> None:
    """Set `live` on each activity or item: its part of its lane, None if there is none.

    `unknown` tells whether Redis is away, or just does not have the row. An item has `held_units`
    too; None: they are not known.
    """
    rows = list(rows)
    held = _held(rows, lanes)
    for row in rows:
        row.held_units = None
        number = row.pk if isinstance(row, Activity) else row.activity_id
        lane, status = lanes.of(number), lanes.status(number)
        if isinstance(row, Activity) or status is None:
            row.live = status
        else:
            row.live = status.items.get(row.item_id)
            if held is not None:
                row.held_units = held.get(row.activity_id, {}).get(row.item_id, 0)
        row.unknown = lane is None
        row.now_ms = lane.now_ms if lane else 0


def _held(rows: Iterable[Any], lanes: Lanes) -> Mapping[int, Mapping[int, int]] | None:
    """{activity: {item: units in holds}} of the items among the rows; None: Redis went away."""
    activities = lanes.loaded
    numbers = {row.activity_id for row in rows if not isinstance(row, Activity)}
    found: dict[int, Mapping[int, int]] = {}
    try:
        for number in numbers & activities.keys():
            if activities[number].holds.held:
                name = lanes.name_of(number)
                found[number] = units_by_item(services.redis_client(name), Lane.named(name), number)
        return found
    except RedisAway:
        return None


class LiveChangeList(PlainChangeList):
    """A list that reads Redis once for all of its rows."""

    def get_results(self, request: HttpRequest) -> None:
        """The page's rows, each with its state in Redis."""
        super().get_results(request)
        lanes = look(request)
        # What the page says of each: its name, if there are several, and its figures.
        self.lanes = [
            (name if services.several_lanes() else "", lane)
            for name, lane in lanes.by_name.items()
            if lane is not None
        ]
        self.result_list = list(self.result_list)
        attach(self.result_list, lanes)


def state_of(status: ActivityStatus | None, now_ms: int) -> str:
    """A key of STATES, at this time of Redis's clock."""
    if status is None:
        return "not loaded"
    phase = status.phase(now_ms)
    return "waiting" if phase is Phase.SOON else str(phase)


def state_of_row(row: Any) -> str:
    """The same of an activity that `attach` has seen."""
    return "archived" if row.archived_at else state_of(row.live, row.now_ms)


def rates(lanes: Lanes) -> dict[int, float]:
    """{activity: requests decided a second} now, of the loaded ones. Raises RedisAway."""
    found = {}
    for name, lane in lanes.by_name.items():
        if lane is None:
            continue
        since_ms = lane.now_ms - 3 * RATE_MS
        samples = read_series(services.redis_client(name), Lane.named(name), since_ms)
        found.update({n: rate_of(lane, samples, n) or 0.0 for n in lane.activities})
    return found


def verdict_json(verdict: Verdict, now_ms: int) -> dict[str, str]:
    """A verdict for a page: what it is, how bad it is, and its words in the reader's language."""
    return {"state": verdict.state, "level": verdict.level, "text": in_words(verdict, now_ms)}

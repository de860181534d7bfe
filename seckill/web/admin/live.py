"""Reads Redis for the admin's pages: once per page, for all rows that it shows.

Owns what a row knows of Redis, and what a page shows while Redis is away.
"""

from collections.abc import Iterable
from typing import Any

from django.contrib import messages
from django.http import HttpRequest
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from seckill.control.control import is_open
from seckill.errors import RedisAway
from seckill.lane.status import ActivityStatus, LaneStatus
from seckill.models import Activity
from seckill.web.admin.base import PlainChangeList
from seckill.web.shared import services

# The state of an activity: (kind of label, text).
STATES = {
    "open": ("success", _("open")),
    "waiting": ("info", _("not open yet")),
    "closed": ("warning", _("window closed")),
    "paused": ("warning", _("paused")),
    "finished": ("danger", _("finished")),
    "sold_out": ("danger", _("sold out")),
    "not loaded": ("default", _("not loaded")),
}


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

    `unknown` tells whether Redis is away, or just does not have the row.
    """
    for row in rows:
        number = row.pk if isinstance(row, Activity) else row.activity_id
        status = lane.activities.get(number) if lane else None
        if isinstance(row, Activity) or status is None:
            row.live = status
        else:
            row.live = status.items.get(row.item_id)
        row.unknown = lane is None
        row.now_ms = lane.now_ms if lane else 0


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
    if status.over:
        return status.over if status.over in STATES else "finished"
    if status.paused:
        return "paused"
    if is_open(status, now_ms):
        return "open"
    return "waiting" if status.opens_at_ms and now_ms < status.opens_at_ms else "closed"

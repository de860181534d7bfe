"""What a web request works with: each lane's Redis client, and Control for its actor.

Owns how these are made from Django's settings, and which lane an activity is in. One connection
pool per process and lane, one attempt per command: a page or an API call never waits for a retry.
"""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from django.conf import settings
from django.db import connection
from django.http import HttpRequest
from django.utils.translation import gettext as _
from django_redis import get_redis_connection

from seckill.control.balance import Balancer
from seckill.control.control import Control, Once
from seckill.control.sale import SaleControl
from seckill.errors import RedisAway, Refused
from seckill.formats.lanes import MAIN, cache_of
from seckill.lane.client import redis_errors
from seckill.lane.keys import Lane
from seckill.lane.status import ActivityStatus, LaneStatus, read_lane
from seckill.postgres.lanes import lanes_of
from seckill.process.events import event
from seckill.web.shared import rate_limit

if TYPE_CHECKING:
    import redis


log = logging.getLogger(__name__)


def address_of(request: HttpRequest) -> str:
    """The address of the connection: behind a proxy it is the proxy's."""
    return str(request.META.get("REMOTE_ADDR", ""))


def count_call(callers: Sequence[str], rate: float, burst: int) -> rate_limit.Verdict | None:
    """Count a call in these buckets. None: nothing was counted (no limit is set, or Redis is away).

    Calls that are not counted continue: operators are never locked out.
    """
    if not settings.RATE_LIMIT:
        return None
    try:
        return rate_limit.count(redis_client(), callers, rate, burst)
    except RedisAway as away:
        log.warning("calls are not counted: %s", away, extra=event("not-counted"))
        return None


def redis_client(lane: str = MAIN) -> "redis.Redis":
    """The client of a lane's Redis, not connected yet. Its replies are bytes. Raises RedisAway."""
    if lane not in settings.LANES:
        raise RedisAway(f"lane {lane} is not in section lanes of config.yaml", "is not known here")
    client: redis.Redis = get_redis_connection(cache_of(lane))
    return client


def check_lane(name: str) -> str:
    """The name unchanged. Raises Refused if the lane is not configured here."""
    if name not in settings.LANES:
        known = ", ".join(settings.LANES)
        raise Refused(
            _("there is no lane %(lane)s; known: %(known)s") % {"lane": name, "known": known}
        )
    return name


def several_lanes() -> bool:
    """Whether people have to be told which lane something is in."""
    return len(settings.LANES) > 1


def lane_name_of(activity_id: int) -> str:
    """The lane of an activity; main for one without a row."""
    return homes().get(activity_id, MAIN)


def homes() -> dict[int, str]:
    """{activity: its lane} of those that are not in main. PostgreSQL is asked if there are any."""
    if not several_lanes():
        return {}
    with connection.cursor() as cursor:
        return lanes_of(cursor)


def control(
    actor: str,
    note: str = "",
    once: Once | None = None,
    *,
    activity_id: int | None = None,
    lane: str = MAIN,
) -> SaleControl:
    """The acts of a lane: that of the activity, if one is given; of a sale over several lanes the
    acts of all of them. The journal gets `actor`, and `note` as the reason. Raises RedisAway.
    """
    if activity_id is not None:
        lane = lane_name_of(activity_id)
    return SaleControl(
        redis_client,
        actor,
        lane,
        note=note,
        once=once,
        expired_gives_back=settings.EXPIRED_GIVES_BACK,
    )


def balancer(activity_id: int, actor: str, note: str = "") -> Balancer:
    """What moves units between the parts of a split sale."""

    def control_of(lane: str, who: str, once: Once | None) -> Control:
        return control(who, note, once, lane=lane)

    return Balancer(activity_id, control_of, actor)


def redis_now_ms(lane: str = MAIN) -> int:
    """The clock of a lane's Redis in ms. Raises RedisAway."""
    client = redis_client(lane)
    with redis_errors():
        seconds, micros = client.time()
    return int(seconds) * 1000 + int(micros) // 1000


def lane_status(lane: str = MAIN) -> LaneStatus:
    """A lane as it is now. Raises RedisAway."""
    return read_lane(redis_client(lane), Lane.named(lane))


def activity_status(activity_id: int) -> ActivityStatus | None:
    """An activity in the Redis of its lane; None if it is not loaded. Raises RedisAway."""
    return lane_status(lane_name_of(activity_id)).activities.get(activity_id)


@dataclass(frozen=True)
class Lanes:
    """Lanes at one moment, by name. None: that lane's Redis is away, and nothing is known of it."""

    by_name: Mapping[str, LaneStatus | None]
    homes: Mapping[int, str]

    def name_of(self, activity_id: int) -> str:
        """The lane of an activity."""
        return self.homes.get(activity_id, MAIN)

    def of(self, activity_id: int) -> LaneStatus | None:
        """The lane of an activity as it is now."""
        return self.by_name.get(self.name_of(activity_id))

    def status(self, activity_id: int) -> ActivityStatus | None:
        """An activity; None if it is not loaded, or nobody knows."""
        lane = self.of(activity_id)
        return lane.activities.get(activity_id) if lane else None

    @property
    def loaded(self) -> dict[int, ActivityStatus]:
        """All loaded activities, each in its own lane."""
        return {
            number: status
            for name, lane in self.by_name.items()
            for number, status in (lane.activities.items() if lane else ())
            if self.name_of(number) == name
        }


def away_text(lane: str) -> str:
    """That a lane's Redis is away, for people: without its address, and the lane if it matters."""
    if not several_lanes():
        return _("Redis is away")
    return _("Redis of lane %(lane)s is away") % {"lane": lane}


def all_lanes() -> tuple[Lanes, dict[str, RedisAway]]:
    """All configured lanes, and why those that nothing is known of are away."""
    found: dict[str, LaneStatus | None] = {}
    away = {}
    for name in settings.LANES:
        try:
            found[name] = lane_status(name)
        except RedisAway as gone:
            found[name] = None
            away[name] = gone
    return Lanes(found, homes()), away

"""What a web request works with: the Redis client of the settings, and Control for its actor.

Owns how these are made from Django's settings. One connection pool per process, one attempt per
command: a page or an API call never waits for a retry.
"""

import logging
from collections.abc import Sequence
from typing import TYPE_CHECKING

from django.conf import settings
from django.http import HttpRequest
from django_redis import get_redis_connection

from seckill.control.control import Control, Once
from seckill.errors import RedisAway
from seckill.lane.client import redis_errors
from seckill.lane.keys import Lane
from seckill.lane.status import LaneStatus, read_lane
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


def redis_client() -> "redis.Redis":
    """The client of CACHES["default"], not connected yet. Its replies are bytes."""
    client: redis.Redis = get_redis_connection("default")
    return client


def control(actor: str, note: str = "", once: Once | None = None) -> Control:
    """The acts of the default lane. The journal gets `actor`, and `note` as the reason."""
    return Control(
        redis_client(),
        actor,
        lane(),
        note=note,
        once=once,
        expired_gives_back=settings.EXPIRED_GIVES_BACK,
    )


def lane() -> Lane:
    """The lane that requests are about."""
    return Lane()


def redis_now_ms() -> int:
    """Redis's clock in ms. Raises RedisAway."""
    with redis_errors():
        seconds, micros = redis_client().time()
    return int(seconds) * 1000 + int(micros) // 1000


def lane_status() -> LaneStatus:
    """The lane as it is now. Raises RedisAway."""
    return read_lane(redis_client(), lane())

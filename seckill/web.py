"""What a web request works with: the Redis client of the settings, and Control in its actor's name.

Owns the way from Django's settings to those collaborators, and nothing of what they do. One pool of
connections a process, one attempt a command: a page or an API call never waits for a retry.
"""

from typing import TYPE_CHECKING

from django_redis import get_redis_connection

from seckill.control import Control
from seckill.stats import LaneStatus, read_lane

if TYPE_CHECKING:
    import redis


def redis_client() -> "redis.Redis":
    """The client of CACHES["default"]; nothing is sent yet. Its replies are bytes."""
    client: redis.Redis = get_redis_connection("default")
    return client


def control(actor: str) -> Control:
    """The acts of the default lane, journalled under this name."""
    return Control(redis_client(), actor)


def lane_status() -> LaneStatus:
    """The default lane as it is now. Raises RedisAway."""
    return read_lane(redis_client())

"""Connections to Redis for everything but the engine. One attempt a command: retries are ours.

redis-py repeats commands by itself otherwise, scripts too, which is wrong for acts of an operator.
"""

from typing import Any

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from seckill import scripts
from seckill.engine import is_elsewhere, is_transient
from seckill.errors import RedisAway


def no_retry() -> Retry:
    """A policy of one attempt."""
    return Retry(NoBackoff(), 0)


def connect(url: str, timeout_s: float = 10.0) -> "redis.Redis":
    """A client; nothing is sent yet. Its replies are bytes."""
    return redis.Redis.from_url(
        url, socket_timeout=timeout_s, socket_connect_timeout=5.0, retry=no_retry()
    )


def run_script(
    client: "redis.Redis", name: str, keys: list[str], args: list[str | int | bytes]
) -> Any:
    """Run `lua/<name>.lua`. Raises RedisAway when Redis cannot do it now."""
    script = scripts.load(name)
    try:
        try:
            return client.evalsha(script.sha, len(keys), *keys, *args)
        except redis.exceptions.NoScriptError:
            return client.eval(script.text, len(keys), *keys, *args)
    except redis.RedisError as refused:
        if is_elsewhere(refused):
            # After a failover the name leads to another server: not to the one of this socket.
            client.connection_pool.disconnect()
        if is_transient(refused):
            raise RedisAway(refused) from None
        raise

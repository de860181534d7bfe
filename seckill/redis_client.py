"""Connections to Redis, and what its errors mean. One attempt a command: retries are ours.

Owns the ladder from an error of redis-py to one of our three kinds. redis-py repeats commands by
itself otherwise, scripts too, which is wrong for acts of an operator.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import msgspec
import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from seckill import scripts
from seckill.errors import RedisAway, RedisRefuses

# What Redis says when it cannot do the work now, and may later: full, loading, read-only, no disk.
TRANSIENT_REPLIES = (
    "OOM",
    "LOADING",
    "MISCONF",
    "NOREPLICAS",
    "BUSY",
    "UNKILLABLE",
    "max number of clients",
)
# What it says when a person must mend something first: a right, a password, a key that another
# program has written. BROKEN is the word of our own scripts for a value that cannot be.
REFUSALS = ("NOPERM", "WRONGPASS", "NOAUTH", "WRONGTYPE", "BROKEN")


def no_retry() -> Retry:
    """A policy of one attempt."""
    return Retry(NoBackoff(), 0)


def connect(url: str, timeout_s: float = 10.0) -> "redis.Redis":
    """A client; nothing is sent yet. Its replies are bytes."""
    return redis.Redis.from_url(
        url, socket_timeout=timeout_s, socket_connect_timeout=5.0, retry=no_retry()
    )


def is_elsewhere(refused: Exception) -> bool:
    """Whether it says that this server is not, or not now, the one to ask: a failover."""
    return isinstance(
        refused,
        redis.exceptions.ReadOnlyError
        | redis.exceptions.ClusterDownError
        | redis.exceptions.TryAgainError,
    )


def judged(error: Exception) -> Exception:
    """What an error of redis-py means: RedisAway, RedisRefuses, or itself, which is a bug of ours.

    RedisAway: not now. RedisRefuses: not before a person has mended something; waited for all the
    same, since nothing was done.
    """
    text = str(error)
    if isinstance(error, redis.AuthenticationError | redis.exceptions.NoPermissionError):
        return RedisRefuses(error)
    if isinstance(error, redis.ConnectionError | redis.TimeoutError | OSError):
        return RedisAway(error)
    if is_elsewhere(error) or isinstance(error, redis.exceptions.OutOfMemoryError):
        return RedisAway(error)
    if any(word in text for word in TRANSIENT_REPLIES):
        return RedisAway(error)
    if text.startswith(REFUSALS):
        return RedisRefuses(error)
    return error


@contextmanager
def redis_errors() -> Iterator[None]:
    """Errors of redis-py as what they mean. Raises RedisAway, RedisRefuses, or the error itself."""
    try:
        yield
    except (redis.RedisError, OSError) as error:
        meaning = judged(error)
        if meaning is error:
            raise
        raise meaning from None


def read_together(client: "redis.Redis", *questions: tuple[str, ...]) -> list[Any]:
    """The answers to (command, key, argument...) at one moment. A hash is a flat list, see `pairs`.

    Raises RedisAway, RedisRefuses.
    """
    keys = sorted({question[1] for question in questions if len(question) > 1})
    answers: list[Any] = run_script(
        client, "read_together", keys, [msgspec.msgpack.encode(questions)]
    )
    return answers


def pairs(flat: list[bytes]) -> dict[bytes, bytes]:
    """A hash as a script tells it, {field: value}."""
    return dict(zip(flat[::2], flat[1::2], strict=True))


def run_script(
    client: "redis.Redis", name: str, keys: list[str], args: list[str | int | bytes]
) -> Any:
    """Run `lua/<name>.lua`. Raises RedisAway when Redis cannot do it now."""
    script = scripts.load(name)
    with redis_errors():
        try:
            try:
                return client.evalsha(script.sha, len(keys), *keys, *args)
            except redis.exceptions.NoScriptError:
                return client.eval(script.text, len(keys), *keys, *args)
        except redis.RedisError as refused:
            if is_elsewhere(refused):
                # After a failover the name leads to another server: not to the one of this socket.
                client.connection_pool.disconnect()
            raise

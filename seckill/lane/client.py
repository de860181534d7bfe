"""Connections to Redis, and what its errors mean. Each command is tried once.

Owns the mapping from redis-py's errors to our three kinds. We retry, not redis-py: it would also
repeat scripts, which is wrong for an operator's act.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import msgspec
import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from seckill.errors import RedisAway, RedisRefuses
from seckill.lane import scripts
from seckill.lane.pools import pool

# Replies that mean "not now": Redis is full, loading or read-only, or cannot write its disk.
TRANSIENT_REPLIES = (
    "OOM",
    "LOADING",
    "MISCONF",
    "NOREPLICAS",
    "BUSY",
    "UNKILLABLE",
    "max number of clients",
)
# Replies that mean "not until a person fixes it": a right, a password, or a key that another
# program has overwritten. Our own scripts say BROKEN for a value that cannot be valid.
REFUSALS = ("NOPERM", "WRONGPASS", "NOAUTH", "WRONGTYPE", "BROKEN")
# Words of a TLS handshake that fails until a person fixes a certificate, a CA file or the address.
TLS_REFUSALS = ("CERTIFICATE", "UNKNOWN_CA", "WRONG_VERSION_NUMBER")


def no_retry() -> Retry:
    """A policy of one attempt."""
    return Retry(NoBackoff(), 0)


def connect(url: str, timeout_s: float = 10.0, connect_timeout_s: float = 5.0) -> "redis.Redis":
    """A client whose replies are bytes. It connects with the first command."""
    return redis.Redis.from_pool(
        pool(
            url,
            socket_timeout=timeout_s,
            socket_connect_timeout=connect_timeout_s,
            retry=no_retry(),
        )
    )


def is_elsewhere(refused: Exception) -> bool:
    """Whether the error means that another server must be asked, as after a failover."""
    return isinstance(
        refused,
        redis.exceptions.ReadOnlyError
        | redis.exceptions.ClusterDownError
        | redis.exceptions.TryAgainError
        | redis.exceptions.AskError,
    )


def judged(error: Exception) -> Exception:
    """What an error of redis-py means: RedisAway, RedisRefuses, or itself, which is a bug of ours.

    RedisAway: not now. RedisRefuses: not until a person fixes something. Nothing was done in either
    case, so the caller retries both.
    """
    text = str(error)
    if isinstance(error, redis.AuthenticationError | redis.exceptions.NoPermissionError):
        return RedisRefuses(error)
    if isinstance(error, redis.ConnectionError | redis.TimeoutError | OSError):
        if "SSL" in text and any(word in text.upper() for word in TLS_REFUSALS):
            return RedisRefuses(error)
        if isinstance(error.__context__, FileNotFoundError) and "connecting to /" not in text:
            return RedisRefuses(f"{text} A certificate's file, which its address names, is missing")
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
    """Translate redis-py's errors. Raises RedisAway, RedisRefuses, or the error itself."""
    try:
        yield
    except (redis.RedisError, OSError) as error:
        meaning = judged(error)
        if meaning is error:
            raise
        raise meaning from None


def read_together(client: "redis.Redis", *questions: tuple[str, ...]) -> list[Any]:
    """The answers to several (command, key, argument...) at one moment. `pairs` reads a hash.

    Raises RedisAway, RedisRefuses.
    """
    keys = sorted({question[1] for question in questions if len(question) > 1})
    answers: list[Any] = run_script(
        client, "read_together", keys, [msgspec.msgpack.encode(questions)]
    )
    return answers


def pairs(flat: list[bytes]) -> dict[bytes, bytes]:
    """A hash from a script's flat list, as {field: value}."""
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
                # After a failover the host name resolves to another server than this socket's.
                client.connection_pool.disconnect()
            raise


def ping(client: "redis.Redis") -> None:
    """Raises RedisAway unless Redis answers and accepts our password."""
    with redis_errors():
        client.ping()


def why_away(url: str) -> str:
    """Why the Redis at this address does not answer now, in words; "" if it does."""
    with connect(url) as client:
        try:
            ping(client)
        except RedisAway as away:
            return str(away)
    return ""

"""Reads the whole list of accepted records in Redis while others push to it and trim it."""

from collections.abc import Iterator

import redis

from seckill.formats import record
from seckill.formats.record import WireRecord
from seckill.lane.client import redis_errors
from seckill.lane.keys import Lane

# Records per read. More would block Redis's single thread for too long.
CHUNK = 5_000


def scan(client: "redis.Redis", lane: Lane) -> Iterator[list[bytes]]:
    """All records that the list holds at the start, in chunks.

    Counts from the tail, so records pushed meanwhile are not read. A trim shifts records towards
    the tail: a record may be read twice, but none is missed. A record that was trimmed before it
    was read is in PostgreSQL, as a row or as a dead record.
    """
    left = client.llen(lane.list)
    while left > 0:
        end = CHUNK - left - 1 if left > CHUNK else -1
        chunk: list[bytes] = client.lrange(lane.list, -left, end)  # type: ignore[assignment]
        yield chunk
        left -= CHUNK


def readable(client: "redis.Redis", lane: Lane) -> Iterator[WireRecord]:
    """The same, parsed, without what is not a record. Raises RedisAway."""
    with redis_errors():
        for chunk in scan(client, lane):
            yield from record.readable(chunk)

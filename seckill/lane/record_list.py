"""The list of accepted records in Redis, read as a whole while it is pushed to and trimmed."""

from collections.abc import Iterator

import redis

from seckill.lane.keys import Lane

# Records that are read at once. More would hold up Redis's one thread.
CHUNK = 5_000


def scan(client: "redis.Redis", lane: Lane) -> Iterator[list[bytes]]:
    """All records that the list holds now, in chunks, while it is being pushed to and trimmed.

    Counted from the tail, so that what is pushed meanwhile is not looked at. A trim shifts records
    towards the tail: one may come twice then and none is passed over; what was trimmed before it
    was read is in PostgreSQL, or parked.
    """
    left = client.llen(lane.list)
    while left > 0:
        end = CHUNK - left - 1 if left > CHUNK else -1
        chunk: list[bytes] = client.lrange(lane.list, -left, end)  # type: ignore[assignment]
        yield chunk
        left -= CHUNK

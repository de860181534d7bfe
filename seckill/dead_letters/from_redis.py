"""Moves dead records from the list in Redis, where earlier versions kept them, to PostgreSQL.

In PostgreSQL they outlive Redis. Nothing writes to that list any more.
"""

from collections.abc import Callable, Sequence
from typing import Any

import msgspec
import redis

from seckill.dead_letters.records import Dead, Kind
from seckill.errors import Poison
from seckill.formats.record import parse
from seckill.lane.client import redis_errors
from seckill.lane.keys import Lane
from seckill.lane.pools import in_cluster


def adopt(client: "redis.Redis", lane: Lane, keep: Callable[[Sequence[Dead]], None]) -> int:
    """Pass all entries of the old list to `keep`, then empty it. How many. Raises RedisAway.

    If it is interrupted in between, entries are kept again, which changes nothing.
    """
    if in_cluster(client):
        # Versions that kept them in Redis could not use a cluster.
        return 0
    with redis_errors():
        letters: Any = client.lrange(lane.dead, 0, -1)
    if not letters:
        return 0
    letters.reverse()
    keep([_dead(letter, place) for place, letter in enumerate(letters)])
    with redis_errors():
        client.delete(lane.dead)
    return len(letters)


def _dead(letter: bytes, place: int) -> Dead:
    try:
        known = msgspec.json.decode(letter)
        raw, reason = str(known["record"]).encode(), str(known["reason"])
        parse(raw)
    except (msgspec.MsgspecError, KeyError, TypeError) as wrong:
        return Dead(Kind.UNREADABLE, letter, f"not a letter: {wrong}", f"old list:{place}")
    except Poison:
        return Dead(Kind.UNREADABLE, raw, reason, f"old list:{place}")
    return Dead(Kind.REFUSED, raw, reason, "")

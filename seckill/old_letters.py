"""The list of records that could not be stored, as earlier versions kept it in Redis.

Owns moving it to PostgreSQL, where dead records outlive Redis. Nothing writes to that list any
more.
"""

from collections.abc import Callable, Sequence
from typing import Any

import msgspec
import redis

from seckill.dead_records import Dead, Kind
from seckill.errors import Poison
from seckill.keys import Lane
from seckill.records import parse
from seckill.redis_client import redis_errors


def adopt(client: "redis.Redis", lane: Lane, keep: Callable[[Sequence[Dead]], None]) -> int:
    """Give all that the old list holds to `keep`, then empty it. How many. Raises RedisAway.

    Cut off in between, it is kept once more, which changes nothing.
    """
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
        return Dead(Kind.UNREADABLE, letter, f"no letter: {wrong}", f"old list:{place}")
    except Poison:
        return Dead(Kind.UNREADABLE, raw, reason, f"old list:{place}")
    return Dead(Kind.REFUSED, raw, reason, "")

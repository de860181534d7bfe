"""Holds in Redis as tests write and read them: blocks of `seckill.lane.held`, and the counter."""

from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import replace

import redis
from redis.client import Pipeline

from seckill.lane.clicks import Place, place_of, place_value
from seckill.lane.held import Hold, block_of, holds_in, text_of
from seckill.lane.keys import Lane


def text(place: Place) -> str:
    """A place in one text."""
    return place_value(place.source, place.partition, place.offset)


def holds_of(client: "redis.Redis", activity: int = 1) -> dict[str, Hold]:
    """{place: hold}, and the time of each block is that of its earliest hold."""
    keys, found = Lane().activity(activity), {}
    times = dict(client.zrange(keys.due, 0, -1, withscores=True))  # type: ignore[arg-type]
    for name, block in client.hgetall(keys.held).items():  # type: ignore[union-attr]
        holds = holds_in(name, block)
        found |= {text(hold.place): hold for hold in holds}
        assert times.pop(name) == min(hold.due_ms for hold in holds)
    assert not times
    return found


def write(client: "redis.Redis", *holds: Hold, activity: int = 1) -> None:
    """Add holds, as decide_batch.lua does."""
    client.hincrby(Lane().activity(activity).stats, "held", len(holds))
    for name, new in _by_block(holds).items():
        _change(client, activity, name, lambda there, new=new: [*there, *new])  # type: ignore[misc]


def remove(client: "redis.Redis", *places: str, activity: int = 1) -> None:
    """Take holds away from their blocks, as a settler's scripts do."""
    client.hincrby(Lane().activity(activity).stats, "held", -len(places))
    for name in {_block(place) for place in places}:
        _change(
            client, activity, name, lambda there: [h for h in there if text(h.place) not in places]
        )


def set_due(client: "redis.Redis", due_ms: int, *places: str, activity: int = 1) -> None:
    """These holds, or all, are due at this time."""
    names = {_block(place) for place in places} or {
        name.decode()
        for name in client.hkeys(Lane().activity(activity).held)  # type: ignore[union-attr]
    }
    for name in names:
        _change(
            client,
            activity,
            name,
            lambda there: [
                replace(hold, due_ms=due_ms) if not places or text(hold.place) in places else hold
                for hold in there
            ],
        )


def _block(place: str) -> str:
    found = place_of(place.encode())
    assert found is not None
    return block_of(found)


def _by_block(holds: Iterable[Hold]) -> dict[str, list[Hold]]:
    blocks = defaultdict(list)
    for hold in holds:
        blocks[block_of(hold.place)].append(hold)
    return blocks


def _change(
    client: "redis.Redis", activity: int, name: str, change: Callable[[list[Hold]], list[Hold]]
) -> None:
    keys = Lane().activity(activity)

    def once(pipe: Pipeline) -> None:
        there: bytes = pipe.hget(keys.held, name) or b""  # type: ignore[assignment]
        holds = change(holds_in(name.encode(), there))
        pipe.multi()
        if holds:
            pipe.hset(keys.held, name, "".join(map(text_of, holds)))
            pipe.zadd(keys.due, {name: min(hold.due_ms for hold in holds)})
        else:
            pipe.hdel(keys.held, name)
            pipe.zrem(keys.due, name)

    # Again, if a settler has changed it meanwhile.
    client.transaction(once, keys.held)

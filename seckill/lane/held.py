"""Open holds as Redis keeps them: the holds of neighbouring offsets are one text, a block.

Owns the form of a block, for all who read or count holds; the scripts change them. A block is a
field `source:partition:<offset div 16>` of the hash `held`. Its text is
`;<offset mod 16>|<due in ms>|<user>|<item>:<n>|<item>:<n>...` for each hold.
"""

import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

import redis

from seckill.lane.clicks import Place, place_of, place_value
from seckill.lane.client import read_together, redis_errors
from seckill.lane.keys import Lane

# Offsets in one block: BLOCK of lua/include/batch.lua.
BLOCK = 16
# Blocks that one step reads.
STEP = 1_000
_DUES = re.compile(rb";\d+\|(\d+)\|")


@dataclass(frozen=True, slots=True)
class Hold:
    """A hold that nobody has settled. `items` are units by item."""

    place: Place
    due_ms: int
    user_id: int
    items: dict[int, int]


def block_of(place: Place) -> str:
    """The name of the block that a request's hold is in."""
    return place_value(place.source, place.partition, place.offset // BLOCK)


def text_of(hold: Hold) -> str:
    """A hold in the text of its block."""
    items = "|".join(f"{item}:{units}" for item, units in hold.items.items())
    return f";{hold.place.offset % BLOCK}|{hold.due_ms}|{hold.user_id}|{items}"


def holds_in(name: bytes, text: bytes) -> list[Hold]:
    """The holds of a block."""
    block = place_of(name)
    assert block is not None
    found = []
    for hold in text.split(b";")[1:]:
        nth, due, user, *items = hold.split(b"|")
        place = Place(block.source, block.partition, block.offset * BLOCK + int(nth))
        bought = (item.partition(b":") for item in items)
        units = {int(item): int(number) for item, _, number in bought}
        found.append(Hold(place, int(due), int(user), units))
    return found


def due_in(text: bytes | None, offset: int) -> int | None:
    """When the hold of a request is due, from the text of its block, ms; None: it has none."""
    if text is None:
        return None
    _, found, rest = text.partition(b";%d|" % (offset % BLOCK))
    return int(rest.partition(b"|")[0]) if found else None


def all_of(client: "redis.Redis", lane: Lane, activity_id: int) -> Iterator[Hold]:
    """The holds of an activity that nobody has settled. Raises RedisAway.

    It is no moment's picture: of holds that come or go meanwhile some are there.
    """
    # By name: a step may bring one again.
    blocks: dict[bytes, bytes] = {}
    with redis_errors():
        for name, text in client.hscan_iter(lane.activity(activity_id).held, count=STEP):
            blocks[name] = text
    for name, text in blocks.items():
        yield from holds_in(name, text)


def units_by_item(client: "redis.Redis", lane: Lane, activity_id: int) -> Counter[int]:
    """{item: units} in the holds of an activity that nobody has settled. Raises RedisAway.

    No moment's picture either: see `all_of`.
    """
    units: Counter[int] = Counter()
    for hold in all_of(client, lane, activity_id):
        units.update(hold.items)
    return units


def look_through(client: "redis.Redis", lane: Lane, activity_id: int) -> tuple[int, str]:
    """How many holds an activity has, and what its two keys do not agree on, in words; "": nothing.

    No moment's picture either, but each block and its time are read together. Raises RedisAway.
    """
    keys, number, wrong = lane.activity(activity_id), 0, ""
    with redis_errors():
        names = list({name for name, _ in client.hscan_iter(keys.held, count=STEP)})
    for first in range(0, len(names), STEP):
        some = [name.decode() for name in names[first : first + STEP]]
        texts, times = read_together(
            client, ("HMGET", keys.held, *some), ("ZMSCORE", keys.due, *some)
        )
        for name, text, time in zip(some, texts, times, strict=True):
            dues = [int(due) for due in _DUES.findall(text or b"")]
            number += len(dues)
            if min(dues, default=None) != (None if time is None else int(time)):
                wrong = f"block {name} of holds and its time in {keys.due} differ"
    return number, wrong


def count_due(client: "redis.Redis", lane: Lane, activity_id: int, before_ms: int) -> int:
    """How many holds of an activity are due before this time. Raises RedisAway."""
    keys, number, start = lane.activity(activity_id), 0, 0
    with redis_errors():
        while names := client.zrangebyscore(
            keys.due, "-inf", f"({before_ms}", start=start, num=STEP
        ):
            texts: list[bytes | None] = client.hmget(keys.held, names)  # type: ignore[assignment,arg-type]
            number += sum(int(due) < before_ms for t in texts if t for due in _DUES.findall(t))
            start += STEP
    return number

"""Building blocks of the tests of holds: settle messages, their answers, holds that are due."""

import time
from collections.abc import Mapping
from typing import Any

import redis

from seckill.lane.clicks import Place, place_value
from seckill.lane.holds import (
    ExpireReply,
    ReadMark,
    SettleBatch,
    Settlement,
    SettleOutcome,
    SettleReply,
    SettleStatus,
    expire_holds,
    settle_batch,
)
from seckill.lane.keys import Lane
from tests.helpers import blocks
from tests.helpers.sale import SOURCE

SETTLE_SOURCE = "1f9a2c51-6f0e-4b8e-9d0c-3a54f1f2a999"
PARTITIONS = [(SETTLE_SOURCE, 0), (SETTLE_SOURCE, 1)]


def paid(offset: int, user: int = 1, **more: Any) -> Settlement:
    """The message that a request is paid; `more`: activity, partition, source, reference, lost."""
    return _message(offset, user, True, **more)


def cancelled(offset: int, user: int = 1, **more: Any) -> Settlement:
    """The message that a request is given back, or that its payment failed."""
    return _message(offset, user, False, **more)


def _message(
    offset: int,
    user: int,
    is_paid: bool,
    *,
    activity: int = 1,
    partition: int = 0,
    source: str = SOURCE,
    reference: str | None = None,
    lost: bool = False,
) -> Settlement:
    place = Place(source, partition, offset)
    return Settlement(activity, user, place, is_paid, reference, lost)


def send(
    client: "redis.Redis",
    *messages: Settlement | None,
    start: int = 0,
    partition: int = 0,
    generation: int = 0,
    identity: str = "*",
) -> SettleReply:
    """Settle one batch of messages without gaps; None: INVALID."""
    end = start + len(messages)
    batch = SettleBatch(
        SETTLE_SOURCE, partition, start, end, generation, list(enumerate(messages, start))
    )
    return settle_batch(client, Lane(), batch, identity)


def settle(client: "redis.Redis", *messages: Settlement | None, start: int = 0) -> list[str]:
    """The outcomes of one batch that must be settled, in words; a dot for what was before."""
    reply = send(client, *messages, start=start)
    assert reply.status is SettleStatus.DECIDED
    return ["." if byte == ord(".") else SettleOutcome(byte).name for byte in reply.outcomes]


def redis_ms(client: "redis.Redis") -> int:
    """Redis's clock."""
    seconds, micros = client.time()
    return seconds * 1000 + micros // 1000


def make_due(client: "redis.Redis", *offsets: int, ago_ms: int = 60_000, activity: int = 1) -> None:
    """Holds of partition 0 that are due since so long; without offsets, all of the activity."""
    places = [place_value(SOURCE, 0, offset) for offset in offsets]
    blocks.set_due(client, redis_ms(client) - ago_ms, *places, activity=activity)


def read_all(client: "redis.Redis") -> dict[tuple[str, int], ReadMark]:
    """The marks of a settler that has read all there is, as of now."""
    marks = {}
    for source, partition in PARTITIONS:
        end = client.hget(Lane().settle_positions, f"{source}:{partition}")
        marks[source, partition] = ReadMark(redis_ms(client), int(end or 0))  # type: ignore[arg-type]
    return marks


def expire(
    client: "redis.Redis",
    marks: Mapping[tuple[str, int], ReadMark] | None = None,
    activity: int = 1,
    **more: Any,
) -> ExpireReply:
    """Expire, by a settler that has read all there is unless `marks` are given."""
    given = {"generation": 0, "grace_ms": 1000, **more}
    marks = read_all(client) if marks is None else marks
    return expire_holds(client, Lane(), activity, PARTITIONS, marks, **given)


def wait_ms(client: "redis.Redis", until: int) -> None:
    """Until Redis's clock is beyond it: a few ms at most."""
    while redis_ms(client) <= until:
        time.sleep(0.001)

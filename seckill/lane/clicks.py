"""Clicks: the accepted requests that have an id, so that the same click never buys twice.

decide_batch.lua writes them, per activity. Owns the form of a field and of a value, for those who
count clicks from the records, and for those who look one up.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import msgspec
import redis

from seckill.lane.client import redis_errors
from seckill.lane.keys import Lane

_to_json = msgspec.json.Encoder().encode


@dataclass(frozen=True, slots=True)
class Place:
    """Where a request was decided: its message."""

    source: str
    partition: int
    offset: int


def click_field(user_id: int, request_id: str) -> str:
    """The field of a click: the user, and the request id as a JSON text."""
    return f"{user_id}:{_to_json(request_id).decode()}"


def place_value(source: str, partition: int, offset: int) -> str:
    """The value of a click."""
    return f"{source}:{partition}:{offset}"


def look_up(
    client: "redis.Redis", lane: Lane, activity_id: int, fields: Sequence[str]
) -> list[Place | None]:
    """Where each of these clicks was accepted; None: it was not. Raises RedisAway."""
    if not fields:
        return []
    with redis_errors():
        found: list[bytes | None] = client.hmget(  # type: ignore[assignment]
            lane.activity(activity_id).clicks, list(fields)
        )
    return [place_of(value) for value in found]


def place_of(value: bytes | None) -> Place | None:
    """The place in a click's value; None for none."""
    if value is None:
        return None
    source, partition, offset = value.decode().rsplit(":", 2)
    return Place(source, int(partition), int(offset))

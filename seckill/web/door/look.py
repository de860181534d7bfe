"""Reads of the lane for all who ask: positions, activities, who leads; and the board."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import redis.asyncio

from seckill.lane.clicks import Place
from seckill.lane.keys import BOARD_STRING, Lane, position_field
from seckill.postgres.lease import CLAIM_FIELDS, Claim, claim_of
from seckill.web.door.showcase import Showcase, showcase_of
from seckill.web.door.tickets import Ticket

Pipeline = Any


@dataclass(frozen=True, slots=True)
class Look:
    """The lane at one moment. `at` is this process's monotonic clock; positions by partition.

    `stored` is {source:partition: the offset after the last stored record}, of every topic that
    this lane has had: a click is accepted once, and may be repeated in a later topic.
    """

    at: float = -1e9
    loaded: bool = False
    fenced: str = ""
    claim: Claim = field(default_factory=Claim)
    # Equal in a later read of the same lane: see `proof_of`.
    proof: tuple[object, ...] = ()
    positions: Mapping[int, int] = field(default_factory=dict)
    stored: Mapping[str, int] = field(default_factory=dict)
    activities: Mapping[int, Showcase | None] = field(default_factory=dict)

    @property
    def age_s(self) -> float:
        """Seconds since this look."""
        return time.monotonic() - self.at

    def is_stored(self, place: Place) -> bool:
        """Whether the order of a request that was accepted there is in PostgreSQL."""
        return place.offset < self.stored.get(position_field(place.source, place.partition), 0)


async def read_look(
    client: "redis.asyncio.Redis", lane: Lane, source: str, partitions: int, wanted: Sequence[int]
) -> Look:
    """The lane now, with the `wanted` activities. Raises redis.RedisError, OSError."""
    at = time.monotonic()
    fields = [position_field(source, n) for n in range(partitions)]
    pipe = client.pipeline(transaction=True)
    ask_proof(pipe, lane)
    pipe.hmget(lane.positions, fields)
    pipe.hgetall(lane.stored)
    pipe.time()
    for number in wanted:
        keys = lane.activity(number)
        pipe.sismember(lane.activities, str(number))
        pipe.hgetall(keys.state)
        pipe.hgetall(keys.stock)
        pipe.hgetall(keys.loaded)
    words, loaded, positions, stored, (seconds, micros), *rest = await pipe.execute()
    fenced, *claim = words
    now_ms = int(seconds) * 1000 + int(micros) // 1000
    return Look(
        at=at,
        loaded=bool(loaded),
        fenced=fenced.decode() if fenced else "",
        claim=claim_of(claim, empty=not loaded and not any(positions)),
        proof=proof_of(words, loaded),
        positions=_numbers(positions),
        stored={place.decode(): int(end) for place, end in stored.items()},
        activities={
            number: showcase_of(number, now_ms, *rest[4 * i + 1 : 4 * i + 4])
            if rest[4 * i]
            else None
            for i, number in enumerate(wanted)
        },
    )


def ask_proof(pipe: Pipeline, lane: Lane) -> None:
    """Ask a pipeline for the two answers of which `proof_of` makes a look's proof."""
    pipe.hmget(lane.state, ["fenced", *CLAIM_FIELDS])
    pipe.exists(lane.activities)


def proof_of(words: Sequence[bytes | None], loaded: int) -> tuple[object, ...]:
    """Two reads with the same proof are of one lane: not fenced, emptied or rebuilt in between."""
    return (*words, bool(loaded))


async def board_bytes(
    client: "redis.asyncio.Redis", lane: Lane, source: str, tickets: Sequence[Ticket]
) -> list[int]:
    """The board's byte of each: one range for each string of the board. 0: it has none."""
    spans: dict[tuple[int, int], list[int]] = {}
    for ticket in tickets:
        number, at = divmod(ticket.offset, BOARD_STRING)
        span = spans.setdefault((ticket.partition, number), [at, at])
        span[0], span[1] = min(span[0], at), max(span[1], at)
    if not spans:
        return []
    pipe = client.pipeline(transaction=False)
    for (partition, number), (first, last) in spans.items():
        pipe.getrange(lane.board(source, partition, number), first, last)
    texts = dict(zip(spans, await pipe.execute(), strict=True))
    codes = []
    for ticket in tickets:
        number, at = divmod(ticket.offset, BOARD_STRING)
        place = ticket.partition, number
        text: bytes = texts[place]
        at -= spans[place][0]
        codes.append(text[at] if at < len(text) else 0)
    return codes


def _numbers(values: Sequence[Any]) -> dict[int, int]:
    return {n: int(value) for n, value in enumerate(values) if value is not None}

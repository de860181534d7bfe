"""Reads of the lane for all who ask: positions, activities, who leads; the board, and holds."""

import time
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import redis.asyncio

from seckill.lane.clicks import Place, place_value
from seckill.lane.keys import BOARD_STRING, Lane, position_field
from seckill.postgres.lease import CLAIM_FIELDS, Claim, claim_of
from seckill.web.door.answers import Winner
from seckill.web.door.showcase import Showcase, showcase_of

Pipeline = Any


@dataclass(frozen=True, slots=True)
class Look:
    """The lane at one moment. `at` is this process's monotonic clock; positions by partition."""

    at: float = -1e9
    # Redis's clock, ms.
    now_ms: int = 0
    loaded: bool = False
    fenced: str = ""
    claim: Claim = field(default_factory=Claim)
    # Equal in a later read of the same lane: see `proof_of`.
    proof: tuple[object, ...] = ()
    positions: Mapping[int, int] = field(default_factory=dict)
    stored: Mapping[int, int] = field(default_factory=dict)
    activities: Mapping[int, Showcase | None] = field(default_factory=dict)

    @property
    def age_s(self) -> float:
        """Seconds since this look."""
        return time.monotonic() - self.at


async def read_look(
    client: "redis.asyncio.Redis", lane: Lane, source: str, partitions: int, wanted: Sequence[int]
) -> Look:
    """The lane now, with the `wanted` activities. Raises redis.RedisError, OSError."""
    at = time.monotonic()
    fields = [position_field(source, n) for n in range(partitions)]
    pipe = client.pipeline(transaction=True)
    ask_proof(pipe, lane)
    pipe.hmget(lane.positions, fields)
    pipe.hmget(lane.stored, fields)
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
        now_ms=now_ms,
        loaded=bool(loaded),
        fenced=fenced.decode() if fenced else "",
        claim=claim_of(claim, empty=not loaded and not any(positions)),
        proof=proof_of(words, loaded),
        positions=_numbers(positions),
        stored=_numbers(stored),
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


class Bytes:
    """The board's bytes of places: one range for each string of the board. 0: it has none."""

    def __init__(self, lane: Lane, places: Sequence[Place]) -> None:
        self._lane, self._places = lane, places
        self._spans: dict[tuple[str, int, int], list[int]] = {}
        for place in places:
            number, at = divmod(place.offset, BOARD_STRING)
            span = self._spans.setdefault((place.source, place.partition, number), [at, at])
            span[0], span[1] = min(span[0], at), max(span[1], at)

    def ask(self, pipe: Pipeline) -> None:
        """Add the questions."""
        for string, (first, last) in self._spans.items():
            pipe.getrange(self._lane.board(*string), first, last)

    def take(self, answers: Iterator[Any]) -> list[int]:
        """A byte for each place, from the answers to `ask`."""
        texts = {string: next(answers) for string in self._spans}
        codes = []
        for place in self._places:
            number, at = divmod(place.offset, BOARD_STRING)
            string = place.source, place.partition, number
            text: bytes = texts[string]
            at -= self._spans[string][0]
            codes.append(text[at] if at < len(text) else 0)
        return codes


class Winners:
    """Accepted requests as they stand now: their holds, and then their bytes.

    In this order: a hold that is settled between the two is told by its byte.
    """

    def __init__(self, lane: Lane, asked: Sequence[tuple[int, Place]]) -> None:
        """`asked`: activity and place of each."""
        self._lane, self._asked = lane, asked
        self._fields: dict[int, list[str]] = defaultdict(list)
        for activity_id, place in asked:
            self._fields[activity_id].append(
                place_value(place.source, place.partition, place.offset)
            )
        self._bytes = Bytes(lane, [place for _, place in asked])

    def ask(self, pipe: Pipeline) -> None:
        """Add the questions."""
        for activity_id, fields in self._fields.items():
            pipe.hmget(self._lane.activity(activity_id).held, fields)
        self._bytes.ask(pipe)

    def take(self, answers: Iterator[Any]) -> list[Winner]:
        """The winner at each place, from the answers to `ask`."""
        holds = {activity_id: iter(next(answers)) for activity_id in self._fields}
        codes = self._bytes.take(answers)
        return [
            Winner(place, byte, _due_of(next(holds[activity_id])))
            for (activity_id, place), byte in zip(self._asked, codes, strict=True)
        ]


def _due_of(held: bytes | None) -> int | None:
    """The first word of a hold, `due|user|item:n|...`."""
    return None if held is None else int(held.partition(b"|")[0])


def _numbers(values: Sequence[Any]) -> dict[int, int]:
    return {n: int(value) for n, value in enumerate(values) if value is not None}

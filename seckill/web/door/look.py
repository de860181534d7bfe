"""Reads of the lane for all who ask: positions, activities, who leads; and the board."""

import time
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import msgspec
import redis.asyncio

from seckill.lane import scripts
from seckill.lane.clicks import Place, place_of
from seckill.lane.client import pairs
from seckill.lane.keys import BOARD_STRING, Lane, position_field
from seckill.postgres.lease import CLAIM_FIELDS, Claim, claim_of
from seckill.web.door.showcase import Showcase, showcase_of
from seckill.web.door.tickets import Ticket

# A command, its key, its arguments.
Question = tuple[str, ...]
# Fields in one question: Lua hands no more than some thousand arguments to a command.
FIELDS = 1_000


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


@dataclass(frozen=True, slots=True)
class Decided:
    """What was read of decided requests. `codes` are the board's bytes; 0: it has none."""

    codes: list[int]
    places: list[Place | None]
    proof: tuple[object, ...]


async def read_look(
    client: "redis.asyncio.Redis", lane: Lane, source: str, partitions: int, wanted: Sequence[int]
) -> Look:
    """The lane now, with the `wanted` activities. Raises redis.RedisError, OSError."""
    at = time.monotonic()
    fields = [position_field(source, n) for n in range(partitions)]
    questions: list[Question] = [
        *_proof(lane),
        ("HMGET", lane.positions, *fields),
        ("HGETALL", lane.stored),
        ("TIME",),
    ]
    for number in wanted:
        keys = lane.activity(number)
        questions += [
            ("SISMEMBER", lane.activities, str(number)),
            ("HGETALL", keys.state),
            ("HGETALL", keys.stock),
            ("HGETALL", keys.loaded),
        ]
    words, loaded, positions, stored, (seconds, micros), *rest = await _ask(client, questions)
    fenced, *claim = words
    now_ms = int(seconds) * 1000 + int(micros) // 1000
    return Look(
        at=at,
        loaded=bool(loaded),
        fenced=fenced.decode() if fenced else "",
        claim=claim_of(claim, empty=not loaded and not any(positions)),
        proof=proof_of(words, loaded),
        positions=_numbers(positions),
        stored={place.decode(): int(end) for place, end in pairs(stored).items()},
        activities={
            number: showcase_of(number, now_ms, *map(pairs, rest[4 * i + 1 : 4 * i + 4]))
            if rest[4 * i]
            else None
            for i, number in enumerate(wanted)
        },
    )


async def read_decided(
    client: "redis.asyncio.Redis",
    lane: Lane,
    source: str,
    tickets: Sequence[Ticket],
    clicks: Sequence[tuple[int, str]],
) -> Decided:
    """The board at these tickets, and where these clicks (activity, field) were accepted.

    All of it at one moment. Raises redis.RedisError, OSError.
    """
    spans: dict[tuple[int, int], list[int]] = {}
    for ticket in tickets:
        number, at = divmod(ticket.offset, BOARD_STRING)
        span = spans.setdefault((ticket.partition, number), [at, at])
        span[0], span[1] = min(span[0], at), max(span[1], at)
    fields: dict[int, list[str]] = defaultdict(list)
    for activity_id, field_name in clicks:
        fields[activity_id].append(field_name)
    questions: list[Question] = [
        ("GETRANGE", lane.board(source, partition, number), str(first), str(last))
        for (partition, number), (first, last) in spans.items()
    ]
    parts = [
        (activity_id, part)
        for activity_id, names in fields.items()
        for part in (names[n : n + FIELDS] for n in range(0, len(names), FIELDS))
    ]
    questions += [("HMGET", lane.activity(number).clicks, *part) for number, part in parts]
    *answers, words, loaded = await _ask(client, [*questions, *_proof(lane)])
    texts = dict(zip(spans, answers[: len(spans)], strict=True))
    codes = []
    for ticket in tickets:
        number, at = divmod(ticket.offset, BOARD_STRING)
        place = ticket.partition, number
        text: bytes = texts[place]
        at -= spans[place][0]
        codes.append(text[at] if at < len(text) else 0)
    found: dict[int, list[bytes | None]] = defaultdict(list)
    for (activity_id, _), values in zip(parts, answers[len(spans) :], strict=True):
        found[activity_id] += values
    following = {activity_id: iter(values) for activity_id, values in found.items()}
    places = [place_of(next(following[activity_id])) for activity_id, _ in clicks]
    return Decided(codes, places, proof_of(words, loaded))


async def _ask(client: "redis.asyncio.Redis", questions: Sequence[Question]) -> list[Any]:
    """The answers at one moment. One script: redis-py needs a fifth of the time of a MULTI."""
    script = scripts.load("read_together")
    keys = sorted({question[1] for question in questions if len(question) > 1})
    values: list[str | bytes] = [*keys, msgspec.msgpack.encode(questions)]
    try:
        answers: list[Any] = await client.evalsha(script.sha, len(keys), *values)
    except redis.exceptions.NoScriptError:
        answers = await client.eval(script.text, len(keys), *values)
    return answers


def _proof(lane: Lane) -> list[Question]:
    """The two questions of whose answers `proof_of` makes a look's proof."""
    return [("HMGET", lane.state, "fenced", *CLAIM_FIELDS), ("EXISTS", lane.activities)]


def proof_of(words: Sequence[bytes | None], loaded: int) -> tuple[object, ...]:
    """Two reads with the same proof are of one lane: not fenced, emptied or rebuilt in between."""
    return (*words, bool(loaded))


def _numbers(values: Sequence[Any]) -> dict[int, int]:
    return {n: int(value) for n, value in enumerate(values) if value is not None}

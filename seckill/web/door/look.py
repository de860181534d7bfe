"""Reads of the lane for all who ask: positions, activities, who leads; the board, and holds."""

import time
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import msgspec
import redis.asyncio

from seckill.formats.parts import part_in
from seckill.lane import scripts
from seckill.lane.clicks import Place, place_of
from seckill.lane.client import pairs
from seckill.lane.held import block_of, due_in
from seckill.lane.keys import BOARD_STRING, Lane, position_field
from seckill.postgres.lease import CLAIM_FIELDS, Claim, claim_of
from seckill.web.door.answers import Winner
from seckill.web.door.showcase import Showcase, showcase_of

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
    # Redis's clock, ms.
    now_ms: int = 0
    loaded: bool = False
    fenced: str = ""
    claim: Claim = field(default_factory=Claim)
    # Equal in a later read of the same lane: see `proof_of`.
    proof: tuple[object, ...] = ()
    positions: Mapping[int, int] = field(default_factory=dict)
    stored: Mapping[str, int] = field(default_factory=dict)
    activities: Mapping[int, Showcase | None] = field(default_factory=dict)
    # Those of the activities that hold something.
    holding: frozenset[int] = frozenset()

    def holds_nothing(self, activity_id: int) -> bool:
        """Whether what the activity had accepted by then is sold for good, or settled."""
        return activity_id in self.activities and activity_id not in self.holding

    @property
    def age_s(self) -> float:
        """Seconds since this look."""
        return time.monotonic() - self.at

    def is_stored(self, place: Place) -> bool:
        """Whether the order of a request that was accepted there is in PostgreSQL."""
        return place.offset < self.stored.get(position_field(place.source, place.partition), 0)


@dataclass(frozen=True, slots=True)
class Decided:
    """What was read of decided requests. `codes` are the board's bytes; 0: it has none. `parts`
    are {activity: its number among so many parts of a sale}.
    """

    codes: list[int]
    places: list[Place | None]
    parts: Mapping[int, tuple[int, int]]
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
            ("EXISTS", keys.held),
        ]
    words, loaded, positions, stored, (seconds, micros), *rest = await _ask(client, questions)
    fenced, *claim = words
    of_each = {number: rest[5 * i : 5 * i + 5] for i, number in enumerate(wanted)}
    now_ms = int(seconds) * 1000 + int(micros) // 1000
    return Look(
        at=at,
        now_ms=now_ms,
        loaded=bool(loaded),
        fenced=fenced.decode() if fenced else "",
        claim=claim_of(claim, empty=not loaded and not any(positions)),
        proof=proof_of(words, loaded),
        positions=_numbers(positions),
        stored={place.decode(): int(end) for place, end in pairs(stored).items()},
        activities={
            number: showcase_of(number, now_ms, *map(pairs, hashes)) if on_sale else None
            for number, (on_sale, *hashes, _) in of_each.items()
        },
        holding=frozenset(number for number, (*_, holds) in of_each.items() if holds),
    )


class _Bytes:
    """The board's bytes of places: one range for each string of the board. 0: it has none."""

    def __init__(self, lane: Lane, places: Sequence[Place]) -> None:
        self._places = places
        self._spans: dict[tuple[str, int, int], list[int]] = {}
        for place in places:
            number, at = divmod(place.offset, BOARD_STRING)
            span = self._spans.setdefault((place.source, place.partition, number), [at, at])
            span[0], span[1] = min(span[0], at), max(span[1], at)
        self.questions: list[Question] = [
            ("GETRANGE", lane.board(*string), str(first), str(last))
            for string, (first, last) in self._spans.items()
        ]

    def take(self, answers: Iterator[Any]) -> list[int]:
        """A byte for each place, from the answers to the questions."""
        texts = {string: next(answers) for string in self._spans}
        codes = []
        for place in self._places:
            number, at = divmod(place.offset, BOARD_STRING)
            string = place.source, place.partition, number
            text: bytes = texts[string]
            at -= self._spans[string][0]
            codes.append(text[at] if at < len(text) else 0)
        return codes


class _Fields:
    """Fields of a hash of activities, so many in one question."""

    def __init__(self, asked: Sequence[tuple[int, str]], keys: Mapping[int, str]) -> None:
        """`asked`: activity and field of each; `keys`: the hash of each activity."""
        self._asked = asked
        fields: dict[int, list[str]] = defaultdict(list)
        for activity_id, name in asked:
            fields[activity_id].append(name)
        self._parts = [
            (activity_id, names[n : n + FIELDS])
            for activity_id, names in fields.items()
            for n in range(0, len(names), FIELDS)
        ]
        self.questions: list[Question] = [
            ("HMGET", keys[activity_id], *part) for activity_id, part in self._parts
        ]

    def take(self, answers: Iterator[Any]) -> list[bytes | None]:
        """A value for each, from the answers to the questions."""
        found: dict[int, list[bytes | None]] = defaultdict(list)
        for activity_id, _ in self._parts:
            found[activity_id] += next(answers)
        following = {activity_id: iter(values) for activity_id, values in found.items()}
        return [next(following[activity_id]) for activity_id, _ in self._asked]


async def read_decided(
    client: "redis.asyncio.Redis",
    lane: Lane,
    own: Sequence[Place],
    clicks: Sequence[tuple[int, str]],
) -> Decided:
    """The board at these places, where these clicks (activity, field) were accepted, and which
    parts of a sale their activities are.

    All of it at one moment. Raises redis.RedisError, OSError.
    """
    board = _Bytes(lane, own)
    keys = {number: lane.activity(number) for number, _ in clicks}
    fields = _Fields(clicks, {number: each.clicks for number, each in keys.items()})
    states: list[Question] = [("HMGET", each.state, "part") for each in keys.values()]
    answers = iter(
        await _ask(client, [*board.questions, *fields.questions, *states, *_proof(lane)])
    )
    codes, places = board.take(answers), [place_of(value) for value in fields.take(answers)]
    parts = {number: part_in((next(answers)[0] or b"").decode()) for number in keys}
    return Decided(codes, places, parts, proof_of(next(answers), next(answers)))


async def read_winners(
    client: "redis.asyncio.Redis", lane: Lane, asked: Sequence[tuple[int, Place]]
) -> tuple[list[Winner], tuple[object, ...]]:
    """Accepted requests (activity, place) as they stand now, at one moment, and its proof.

    Raises redis.RedisError, OSError.
    """
    board = _Bytes(lane, [place for _, place in asked])
    named = [(number, block_of(place)) for number, place in asked]
    fields = _Fields(named, {number: lane.activity(number).held for number, _ in asked})
    answers = iter(await _ask(client, [*board.questions, *fields.questions, *_proof(lane)]))
    codes, blocks = board.take(answers), fields.take(answers)
    winners = [
        Winner(place, byte, due_in(block, place.offset))
        for (_, place), byte, block in zip(asked, codes, blocks, strict=True)
    ]
    return winners, proof_of(next(answers), next(answers))


async def _ask(client: "redis.asyncio.Redis", questions: Sequence[Question]) -> list[Any]:
    """The answers at one moment. One script: for a MULTI redis-py needs twice the time."""
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

"""Fuzzing by mutation, and a slow second reader of requests to hold the decoder against.

Owns the corpus, the mutations and the reference. Everything comes from one seed.
"""

import json
import os
import random
import re
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import psutil

from loadgen.malformed import MALFORMED
from seckill.formats.outcomes import MAX_ID, MAX_ITEMS, MAX_QUANTITY, MAX_REQUEST_ID, MAX_TIME_MS

# Inputs of the short form; FUZZ=1000000 in the environment looks longer, FUZZ_SEED elsewhere.
INPUTS = int(os.environ.get("FUZZ", "20000"))
SEED = int(os.environ.get("FUZZ_SEED", "1"))

VALID = tuple(
    text.encode()
    for text in (
        '{"user_id": 564, "items": {"1001": 2, "1002": 1}, "request_initiation_time": 1795448539}',
        '{"user_id":1,"items":{"1":1},"request_initiation_time":0}',
        '{"request_id":"a:b\\"c","items":{"7":1000000},"user_id":9223372036854775807,'
        '"request_initiation_time":9007199254740992,"activity_id":9223372036854775807}',
        '{"user_id":5,"items":{"1":1,"2":2,"3":3},"request_initiation_time":5,"activity_id":null,'
        '"request_id":null,"x":{"y":[1,2.5e3,"z",{"user_id":1}],"n":null,"t":true}}',
        '{"user_id":8,"items":{"9":1},"request_initiation_time":1,"request_id":"漢字é\\u00e9"}',
        '{"\\u0075ser_id":3,"items":{"\\u0031":1},"request_initiation_time":1}',
    )
)
CORPUS = VALID * 20 + tuple(bad.body for bad in MALFORMED if bad.body and not bad.heavy)
# Pieces that parsers stumble over.
PIECES = (
    b'"', b":", b",", b"{", b"}", b"[", b"]", b"\\", b"0", b"-", b"e9", b".", b" ", b"\n", b"\0",
    b"null", b"true", b"NaN", b"Infinity", b"-0", b"1e999", b"\\u0000", b"\\ud800", b"\\u0031",
    b"\xff", b"\xc0\x80", b"\xed\xa0\x80", b"\xef\xbb\xbf", b'"user_id":1,', b'"1001":1,',
    b'"request_id":"\\u0000",', b"9223372036854775807", b"9223372036854775808", b"1000001",
    b"18446744073709551617", b"9007199254740993", b"1" * 400, b"[" * 300, b'{"a":' * 300,
    "漢".encode() * 65, b'"items":{},', b'"activity_id":', b"01", b"+1", b"1.0", b"/**/",
)  # fmt: skip
NUMBER = re.compile(rb"\d+")


def inputs(count: int, rng: random.Random, corpus: tuple[bytes, ...] = CORPUS) -> Iterator[bytes]:
    """Inputs made from the corpus by one to four mutations each."""
    for _ in range(count):
        value = rng.choice(corpus)
        for _ in range(rng.choice((1, 1, 1, 2, 4))):
            value = mutate(value, rng, corpus)
        yield value


def mutate(value: bytes, rng: random.Random, corpus: tuple[bytes, ...]) -> bytes:
    """One change somewhere."""
    at = rng.randint(0, len(value))
    to = min(len(value), at + rng.choice((1, 1, 2, 8, 40)))
    how = rng.randrange(8)
    if how == 0:
        return value[:at] + bytes([rng.randrange(256)]) + value[at + 1 :]
    if how == 1:
        return value[:at] + rng.choice(PIECES) + value[at:]
    if how == 2:
        return value[:at] + value[to:]
    if how == 3:
        return value[:to] + value[at:]
    if how == 4:
        other = rng.choice(corpus)
        return value[:at] + other[rng.randint(0, len(other)) :]
    if how == 5:
        return value[:at] + rng.choice(PIECES) + value[to:]
    if how == 6:
        # Moved as a whole: the same members in another order, or an object in an object.
        return value[to:] + value[at:to] + value[:at]
    numbers = list(NUMBER.finditer(value))
    if not numbers:
        return value
    number = rng.choice(numbers)
    new = rng.choice((b"0", b"1", b"50", b"1000000", b"1000001", b"9223372036854775808", b"-1"))
    return value[: number.start()] + new + value[number.end() :]


class NoRequest(Exception):
    """The reference's answer for a body that is none."""


@dataclass(frozen=True)
class Read:
    """What the reference reads out of a body."""

    user: int
    items: dict[int, int]
    at: int
    activity: int
    request_id: str


def reference(value: bytes) -> Read:
    """A request by Python's own parser and nothing of ours. Raises NoRequest."""

    def once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        if len(dict(pairs)) != len(pairs):
            raise NoRequest("a key is named twice")
        return dict(pairs)

    def constant(name: str) -> Any:
        raise NoRequest(name)

    try:
        found = json.loads(
            value.decode(), object_pairs_hook=once, parse_constant=constant, parse_int=_Number
        )
    except (ValueError, RecursionError) as wrong:
        raise NoRequest(str(wrong)) from None
    _no_lone_surrogates(found)
    if not isinstance(found, dict):
        raise NoRequest("no object")
    items = found.get("items")
    if not isinstance(items, dict) or not 1 <= len(items) <= MAX_ITEMS:
        raise NoRequest("items")
    request_id = found.get("request_id")
    if request_id is None:
        request_id = ""
    if type(request_id) is not str or len(request_id) > MAX_REQUEST_ID or "\0" in request_id:
        raise NoRequest("request_id")
    activity = found.get("activity_id")
    return Read(
        user=_whole(found.get("user_id"), 1, MAX_ID),
        items={
            _whole(_Number(item), 1, MAX_ID): _whole(units, 1, MAX_QUANTITY)
            for item, units in items.items()
        },
        at=_whole(found.get("request_initiation_time"), 0, MAX_TIME_MS),
        activity=1 if activity is None else _whole(activity, 1, MAX_ID),
        request_id=request_id,
    )


class _Number(str):
    """Digits as they stand in the text: told from a text, and from a number of another form."""


def _whole(number: Any, low: int, high: int) -> int:
    if not isinstance(number, _Number) or not re.fullmatch(r"0|-0|[1-9][0-9]{0,18}", number):
        raise NoRequest(f"{number!r} is no whole number of ours")
    if not low <= int(number) <= high:
        raise NoRequest(f"{number} is out of bounds")
    return int(number)


def _no_lone_surrogates(found: Any) -> None:
    """JSON's escapes can name half of a character; no UTF-8 can say it."""
    stack = [found]
    while stack:
        thing = stack.pop()
        if isinstance(thing, dict):
            stack += [*thing, *thing.values()]
        elif isinstance(thing, list):
            stack += thing
        elif isinstance(thing, str):
            try:
                thing.encode()
            except UnicodeEncodeError:
                raise NoRequest("half a character") from None


@dataclass
class Fuzz:
    """A run: how many inputs, the slowest one, and what memory did after the first tenth."""

    count: int = 0
    slowest_s: float = 0.0
    slowest: Any = None
    grown_mb: float = 0.0
    took_s: float = 0.0

    def run(self, things: Iterator[Any], total: int, one: Callable[[Any], None]) -> None:
        """Feed all inputs to `one`, which raises for what must not be."""
        process = psutil.Process()
        began, warm = time.monotonic(), 0
        for thing in things:
            start = time.perf_counter()
            one(thing)
            took = time.perf_counter() - start
            if took > self.slowest_s:
                self.slowest_s, self.slowest = took, thing
            self.count += 1
            if self.count == total // 10:
                warm = process.memory_info().rss
        self.took_s = time.monotonic() - began
        self.grown_mb = (process.memory_info().rss - warm) / 1e6

    def __str__(self) -> str:
        return (
            f"{self.count:,} inputs of seed {SEED} in {self.took_s:.1f} s, slowest "
            f"{self.slowest_s * 1000:.1f} ms ({str(self.slowest)[:80]}), memory "
            f"{self.grown_mb:+.1f} MB"
        )

"""The board: one byte per offset that says what became of the request there.

decide_batch.lua writes it. Owns reading it, comparing it with the records, and rebuilding it after
a loss of Redis. A byte is the digit of the outcome, or "L" for a counted loser, or REFUSED_UNKNOWN
where a loss of Redis took the reason. An offset that holds no request, or is undecided, has none.
The byte of an accepted request that was held changes once, when the hold is settled: see
seckill/lane/holds.py.
"""

import re
from collections.abc import Iterable, Iterator

import redis

from seckill.formats.outcomes import Outcome, digit_of
from seckill.lane.client import redis_errors
from seckill.lane.keys import BOARD_STRING, Lane

ACCEPTED = digit_of(Outcome.ACCEPTED)
# Settled holds: paid, expired, or given back (cancelled, or the payment failed).
PAID, EXPIRED, CANCELLED = b"PXC"
# All bytes of an accepted request: settled or not, there is an order.
WINNERS = frozenset((ACCEPTED, PAID, EXPIRED, CANCELLED))
_WINNER = re.compile(b"[%s]" % bytes(WINNERS))
# How a hold ended, as its settlement says it.
BYTE_OF = {"paid": PAID, "expired": EXPIRED, "cancelled": CANCELLED}
KIND_OF = {byte: kind for kind, byte in BYTE_OF.items()}
_ENDED = re.compile(b"[%s]" % bytes(KIND_OF))
# A counted loser: only the counters of its activity know why it lost.
LOSER = ord("L")
REFUSED_UNKNOWN = ord("R")


def read(client: "redis.Redis", lane: Lane, source: str, partition: int, number: int) -> bytearray:
    """BOARD_STRING bytes, for the offsets from number * BOARD_STRING on. Raises RedisAway."""
    with redis_errors():
        found: bytes = client.get(lane.board(source, partition, number)) or b""  # type: ignore[assignment]
    return bytearray(found.ljust(BOARD_STRING, b"\0"))


def ends(client: "redis.Redis", lane: Lane) -> dict[str, int]:
    """{source:partition: the offset after the last byte of its board}. Raises RedisAway."""
    prefix = lane.board("", 0, 0).removesuffix(":0:0")
    found: dict[str, int] = {}
    with redis_errors():
        for key in client.scan_iter(match=f"{prefix}*", count=1000):
            place, _, number = key.decode().removeprefix(prefix).rpartition(":")
            end = int(number) * BOARD_STRING + int(client.strlen(key))
            found[place] = max(found.get(place, 0), end)
    return found


def accepted(
    client: "redis.Redis", lane: Lane, source: str, partition: int, below: int
) -> Iterator[int]:
    """The offsets of accepted requests, settled or not, in order. Raises RedisAway."""
    for number in range(-(-below // BOARD_STRING)):
        first = number * BOARD_STRING
        text = read(client, lane, source, partition, number)[: below - first]
        yield from (first + found.start() for found in _WINNER.finditer(text))


def ended(
    client: "redis.Redis", lane: Lane, source: str, partition: int, below: int
) -> Iterator[tuple[int, str]]:
    """The offsets of settled holds, in order, and how each ended. Raises RedisAway."""
    for number in range(-(-below // BOARD_STRING)):
        first = number * BOARD_STRING
        text = read(client, lane, source, partition, number)[: below - first]
        yield from ((first + hit.start(), KIND_OF[hit[0][0]]) for hit in _ENDED.finditer(text))


def strings(end: int) -> int:
    """How many strings a partition's board has up to this offset."""
    return -(-end // BOARD_STRING)


def without(offsets: Iterable[int], recorded: Iterable[int]) -> Iterator[int]:
    """The offsets that are not recorded. Both arguments are in ascending order."""
    known = iter(recorded)
    following = next(known, None)
    for offset in offsets:
        while following is not None and following < offset:
            following = next(known, None)
        if following != offset:
            yield offset


def rebuild(
    client: "redis.Redis",
    lane: Lane,
    place: tuple[str, int],
    stood: int,
    position: int,
    recorded: Iterable[tuple[int, int]],
) -> None:
    """Write what the records prove about the offsets below a partition's new position.

    `place` is (source, partition). From `stood` on Redis knows nothing: a request there without a
    record was refused, for a reason that is lost. `recorded` are the offsets with records, in
    ascending order, each with its byte. Call only while the lane is fenced. Safe to repeat.
    Raises RedisAway.
    """
    known = iter(recorded)
    following = next(known, None)
    for number in range(-(-position // BOARD_STRING)):
        first = number * BOARD_STRING
        before = read(client, lane, *place, number)
        text = before.copy()
        last = min(first + BOARD_STRING, position)
        for offset in range(max(first, stood), last):
            text[offset - first] = REFUSED_UNKNOWN
        while following is not None and following[0] < last:
            text[following[0] - first] = following[1]
            following = next(known, None)
        if text != before:
            with redis_errors():
                client.set(lane.board(*place, number), bytes(text[: last - first].rstrip(b"\0")))

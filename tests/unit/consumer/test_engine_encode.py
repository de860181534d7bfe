"""Batches for the script: what stands where in the blob, holes, INVALID markers, answers back."""

import json
from dataclasses import asdict
from typing import Any

import msgspec
import pytest
import redis

from seckill.consumer.batch import Batch, Known, encode, skip
from seckill.consumer.engine import Reply, Status
from seckill.errors import RedisAway, RedisRefuses
from seckill.formats.outcomes import MAX_ID, Outcome
from seckill.lane.client import judged
from tests.helpers.sale import SOURCE, body

decode_blob = msgspec.msgpack.Decoder(list[Any]).decode


def one(start: int, messages: dict[int, bytes | None]) -> Batch:
    return encode(SOURCE, 3, start, list(messages), list(messages.values()))


def test_a_request_in_the_blob() -> None:
    batch = one(7, {7: body(564, {1001: 2, 1002: 1}, at=1795448539792, request_id='a"b')})
    assert decode_blob(batch.blob) == [
        2, 1, "564", 1795448539792, json.dumps('a"b'), "1001", 2, "1002", 1,
    ]  # fmt: skip
    assert (batch.source, batch.partition, batch.start, batch.end) == (SOURCE, 3, 7, 8)
    assert (batch.activities, batch.requests, batch.invalid) == ([1], 1, [])


def test_ids_travel_as_text() -> None:
    batch = one(0, {0: body(MAX_ID, {MAX_ID: 1}, at=5, activity_id=MAX_ID)})
    assert decode_blob(batch.blob) == [1, 1, str(MAX_ID), 5, "", str(MAX_ID), 1]
    assert batch.activities == [MAX_ID]


def test_each_activity_is_named_once_in_the_order_of_its_first_request() -> None:
    batch = one(0, {i: body(1, at=5, activity_id=a) for i, a in enumerate([7, 1, 7, 9, 1])})
    assert batch.activities == [7, 1, 9]
    assert decode_blob(batch.blob)[1::7] == [1, 2, 1, 3, 2]


def test_no_activity_named_is_the_default_one() -> None:
    batch = one(0, {0: body(1, at=5), 1: body(1, at=5, activity_id=1)})
    assert batch.activities == [1]


@pytest.mark.parametrize(
    ("start", "offsets", "markers"),
    [
        (0, [0, 1, 2], [0, 0, 0]),
        (0, [5], [-5, 0]),
        (3, [5, 6, 9], [-2, 0, 0, -2, 0]),
        (3, [3, 2**52], [0, -(2**52 - 4), 0]),
    ],
)
def test_missing_offsets_are_holes(start: int, offsets: list[int], markers: list[int]) -> None:
    batch = one(start, dict.fromkeys(offsets, b"bad"))
    assert decode_blob(batch.blob) == markers
    assert (batch.start, batch.end) == (start, offsets[-1] + 1)
    assert [invalid.offset for invalid in batch.invalid] == offsets


def test_an_invalid_body_is_a_marker_and_is_kept_with_its_reason() -> None:
    batch = one(10, {10: body(1, at=5), 11: b"{", 12: None, 13: body(2, at=6)})
    assert decode_blob(batch.blob) == [1, 1, "1", 5, "", "1001", 1, 0, 0, 1, 1, "2", 6, "",
                                       "1001", 1]  # fmt: skip
    assert batch.requests == 4
    (broken, tombstone) = batch.invalid
    assert (broken.offset, broken.value) == (11, b"{")
    assert "truncated" in broken.reason
    assert (tombstone.offset, tombstone.value) == (12, None)
    assert "null value" in tombstone.reason


def test_a_skip_is_one_hole() -> None:
    batch = skip(SOURCE, 1, 100, 250)
    assert decode_blob(batch.blob) == [-150]
    assert (batch.start, batch.end, batch.requests, batch.activities) == (100, 250, 0, [])


def test_a_reply_counts_by_outcome() -> None:
    reply = Reply(Status.DECIDED, 9, b"0.01234567889")
    counted = {outcome.name: reply.count(outcome) for outcome in Outcome}
    assert counted.pop("ACCEPTED") == 2
    assert counted.pop("INVALID") == 2
    assert set(counted.values()) == {1}


@pytest.mark.parametrize(
    "refused",
    [
        redis.exceptions.OutOfMemoryError("command not allowed when used memory > 'maxmemory'."),
        redis.exceptions.BusyLoadingError("Redis is loading the dataset in memory"),
        redis.exceptions.ReadOnlyError("You can't write against a read only replica."),
        redis.ResponseError("MISCONF Valkey is configured to save RDB snapshots"),
        redis.ResponseError("BUSY Redis is busy running a script"),
        redis.ResponseError("NOREPLICAS Not enough good replicas to write."),
        redis.exceptions.ClusterDownError("Hash slot not served"),
        redis.exceptions.MasterDownError("Link with MASTER is down"),
        redis.exceptions.TryAgainError("Multiple keys request during rehashing of slot"),
        redis.ConnectionError("max number of clients reached"),
        redis.TimeoutError("Timeout reading from socket"),
        ConnectionResetError("reset by peer"),
    ],
    ids=lambda refused: f"{type(refused).__name__}: {str(refused)[:12]}",
)
def test_what_redis_cannot_do_now(refused: Exception) -> None:
    meaning = judged(refused)
    assert type(meaning) is RedisAway
    assert "is away" in str(meaning)


@pytest.mark.parametrize(
    "refused",
    [
        redis.ResponseError("WRONGTYPE Operation against a key holding the wrong kind of value"),
        redis.ResponseError("BROKEN field 1 of {seckill:logs}:1:stats is no number"),
        redis.exceptions.NoPermissionError("this user may not run LPUSH on seckill:logs"),
        redis.AuthenticationError("invalid username-password pair or user is disabled."),
    ],
    ids=lambda refused: f"{type(refused).__name__}: {str(refused)[:9]}",
)
def test_what_a_person_must_mend_is_refused_and_not_away(refused: Exception) -> None:
    meaning = judged(refused)
    assert type(meaning) is RedisRefuses
    assert str(meaning) == f"Redis refuses: {refused}"


@pytest.mark.parametrize(
    "refused",
    [
        redis.ResponseError("user_script:12: attempt to compare nil with number"),
        redis.ResponseError("BADBATCH the requests end at 5, not at 6"),
        ValueError("x"),
    ],
    ids=lambda refused: str(refused)[:9],
)
def test_what_is_a_bug(refused: Exception) -> None:
    assert judged(refused) is refused


OVER = {1: Known(3, True, frozenset(), epoch=8)}


def plain(count: int) -> list[bytes | None]:
    """Requests of two moments that name no activity."""
    return [body(n, {1001: 1}, at=5 + n % 2) for n in range(1, count + 1)]


def test_a_batch_that_is_lost_for_certain_is_one_number() -> None:
    batch = encode(SOURCE, 0, 7, range(7, 12), plain(5), known=OVER)
    assert decode_blob(batch.blob) == [1005]
    assert decode_blob(batch.losers) == [1, 3, 8, 2, 6, 3, 5, 2]
    assert (batch.start, batch.end, batch.requests, batch.activities) == (7, 12, 5, [1])
    assert decode_blob(batch.whole().blob)[0] == 1
    assert batch.whole().losers == b""


@pytest.mark.parametrize(
    ("offsets", "blob"), [([7, 8, 10], [1002, -1, 1001]), ([9, 10, 11], [-2, 1003])]
)
def test_holes_among_the_lost_stay_holes(offsets: list[int], blob: list[int]) -> None:
    batch = encode(SOURCE, 0, 7, offsets, plain(3), known=OVER)
    assert decode_blob(batch.blob) == blob
    assert batch.end == offsets[-1] + 1


def test_bad_ones_among_the_lost_are_told_apart() -> None:
    batch = encode(SOURCE, 0, 0, range(4), [*plain(2), b"bad", *plain(1)], known=OVER)
    assert decode_blob(batch.blob) == [1002, 0, 1001]
    assert [invalid.offset for invalid in batch.invalid] == [2]


def test_of_another_activity_nothing_is_known() -> None:
    other = body(9, at=5, activity_id=2)
    batch = encode(SOURCE, 0, 0, range(3), [*plain(2), other], known=OVER)
    assert decode_blob(batch.blob)[:3] == [1002, 1, 1]
    assert batch.activities == [2, 1]
    assert decode_blob(batch.losers)[0] == 2


@pytest.mark.parametrize("known", [{}, OVER, {1: Known(3, False, frozenset({1001, 1002}))}])
def test_the_short_way_packs_what_the_long_one_does(known: dict[int, Known]) -> None:
    """A trace of an offset that is not there is enough to take the long way."""
    items: list[dict[int, int]] = [{1001: 1}, {1002: 2, 1001: 1}, {1003: 1}, {1001: 1, 1003: 2}]
    bodies = [body(n, items[n * 7 % 11 % 4], at=5 + n % 3) for n in range(1, 60)]
    short = encode(SOURCE, 0, 7, range(7, 66), bodies, known=known)
    long = encode(SOURCE, 0, 7, range(7, 66), bodies, known=known, traces={1: "none"})
    assert asdict(short) == asdict(long)

"""What an earlier version kept in Redis of records that could not be stored, taken over."""

import json
from typing import Any

import msgspec
import pytest
import redis

from seckill.dead_letters.from_redis import adopt
from seckill.dead_letters.records import Kind
from seckill.errors import PostgresAway
from seckill.lane.keys import Lane
from seckill.log_worker.storage import Storage
from seckill.log_worker.worker import LogWorker
from seckill.models import DeadRecord
from seckill.process.shutdown import Shutdown
from tests.helpers.books import record

LANE = Lane()
RECORD = msgspec.json.encode(record(7))
LETTERS: list[Any] = [
    {"record": RECORD.decode(), "reason": "out of range"},
    {"record": "nothing that can be read", "reason": "malformed"},
    {"record": RECORD.decode()},
    ["no", "letter"],
]
KINDS = [Kind.REFUSED, Kind.UNREADABLE, Kind.UNREADABLE, Kind.UNREADABLE]


@pytest.fixture
def letters(redis_client: "redis.Redis") -> list[bytes]:
    """The old list, its newest entry first, as it was written."""
    texts = [json.dumps(letter).encode() for letter in LETTERS]
    for text in texts:
        redis_client.lpush(LANE.dead, text)
    return texts


def kept() -> list[tuple[str, str, bytes]]:
    """(kind, reason, text) of what is kept apart, the oldest first."""
    rows = DeadRecord.objects.order_by("id")
    return [(row.kind, row.reason.partition(":")[0], bytes(row.raw)) for row in rows]


def test_a_log_worker_takes_them_over_when_it_starts(
    redis_client: "redis.Redis", pg_dsn: str, letters: list[bytes]
) -> None:
    storage = Storage(pg_dsn)
    worker = LogWorker(redis_client, storage, Shutdown(), say=lambda _: None)
    worker.run(drain=True)
    storage.close()
    texts = [RECORD, b"nothing that can be read", letters[2], letters[3]]
    reasons = ["out of range", "malformed", "not a letter", "not a letter"]
    assert kept() == list(zip(KINDS, reasons, texts, strict=True))
    assert DeadRecord.objects.get(kind=Kind.REFUSED).offset == 7
    assert not redis_client.exists(LANE.dead)


def test_cut_off_in_between_each_is_kept_once(
    redis_client: "redis.Redis", pg_dsn: str, letters: list[bytes]
) -> None:
    storage = Storage(pg_dsn)
    adopted = adopt(redis_client, LANE, storage.keep_apart)
    redis_client.lpush(LANE.dead, *letters)
    assert (adopted, adopt(redis_client, LANE, storage.keep_apart)) == (4, 4)
    assert [kind for kind, _, _ in kept()] == KINDS
    assert adopt(redis_client, LANE, storage.keep_apart) == 0
    storage.close()


def test_while_postgresql_is_away_they_stay(
    redis_client: "redis.Redis", letters: list[bytes]
) -> None:
    storage = Storage("postgresql://u@127.0.0.1:1/none")
    with pytest.raises(PostgresAway):
        adopt(redis_client, LANE, storage.keep_apart)
    assert redis_client.llen(LANE.dead) == len(letters)

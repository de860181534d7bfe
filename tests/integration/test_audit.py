"""The audit: clean beside a running sale, and red, with the right invariant, for each tampering."""

import threading
from collections.abc import Callable

import pytest
import redis
from django.db import connection

from devstack.endpoints import Endpoints
from seckill.audit import CannotCheck, audit
from seckill.audit_checks import NEVER_DROPPED, NEVER_LOST, NEVER_OVERSOLD, NEVER_TWICE
from seckill.control import Control
from seckill.engine import Engine, encode
from seckill.keys import Lane
from seckill.log_worker import LogWorker
from seckill.shutdown import Shutdown
from seckill.storage import Storage
from tests.sale import body, new_source

LANE = Lane()
KEYS = LANE.activity(1)
REQUESTS = 100


@pytest.fixture
def sale(redis_client: "redis.Redis", pg_dsn: str, stack: Endpoints) -> "redis.Redis":
    """A hundred accepted requests: sixty stored, forty waiting."""
    Control(redis_client, "test").set_stock(1, {1001: 1_000})
    engine = Engine(stack.redis_url, LANE)
    values = [body() for _ in range(REQUESTS)]
    engine.decide([encode(new_source(), 0, 0, range(REQUESTS), values)])
    engine.close()
    storage = Storage(pg_dsn)
    LogWorker(redis_client, storage, Shutdown(), batch_size=60).run_once()
    storage.close()
    report = audit(redis_client)
    assert report.clean, report.findings
    assert (report.records_stored, report.records_waiting) == (60, 40)
    return redis_client


def sql(statement: str) -> None:
    """Change a table by hand."""
    with connection.cursor() as cursor:
        cursor.execute(statement)


TAMPERINGS: dict[str, tuple[Callable[["redis.Redis"], object], str]] = {
    "stock given": (lambda r: r.hincrby(KEYS.stock, "1001", 5), NEVER_OVERSOLD),
    "stock taken": (lambda r: r.hincrby(KEYS.stock, "1001", -5), NEVER_LOST),
    "stock below zero": (lambda r: r.hset(KEYS.stock, "1001", "-1"), NEVER_OVERSOLD),
    "a record taken from the list": (lambda r: r.lpop(LANE.list), NEVER_LOST),
    "junk in the list": (lambda r: r.lpush(LANE.list, "junk"), NEVER_LOST),
    "a row removed": (
        lambda r: sql("DELETE FROM seckill_record WHERE id = (SELECT min(id) FROM seckill_record)"),
        NEVER_LOST,
    ),
    "an inventory changed": (
        lambda r: sql("UPDATE seckill_item SET sold = sold + 1"),
        NEVER_TWICE,
    ),
    "an allocation changed": (
        lambda r: sql("UPDATE seckill_item SET allocation = allocation + 1"),
        NEVER_OVERSOLD,
    ),
    "an outcome not counted": (lambda r: r.hincrby(KEYS.stats, "1", -1), NEVER_DROPPED),
    "a skip not counted": (lambda r: r.hincrby(LANE.stats, "skipped", 1), NEVER_DROPPED),
}


@pytest.mark.parametrize("name", TAMPERINGS)
def test_tampering_is_found(sale: "redis.Redis", name: str) -> None:
    tamper, invariant = TAMPERINGS[name]
    tamper(sale)
    report = audit(sale)
    assert not report.clean
    assert invariant in {finding.invariant for finding in report.findings}


def test_an_empty_redis_cannot_be_checked(redis_client: "redis.Redis", pg_dsn: str) -> None:
    with pytest.raises(CannotCheck, match="holds no sale"):
        audit(redis_client)


def test_it_never_cries_wolf_beside_a_running_sale(
    redis_client: "redis.Redis", pg_dsn: str, stack: Endpoints
) -> None:
    Control(redis_client, "test").set_stock(1, {1001: 10**9})
    ended = threading.Event()
    source = new_source()
    decided = 0

    def decide() -> None:
        nonlocal decided
        engine = Engine(stack.redis_url, LANE)
        while not ended.is_set():
            values = [body() for _ in range(20)]
            engine.decide([encode(source, 0, decided, range(decided, decided + 20), values)])
            decided += 20
        engine.close()

    def store() -> None:
        storage = Storage(pg_dsn)
        worker = LogWorker(redis_client, storage, Shutdown(), batch_size=50)
        while not ended.is_set():
            worker.run_once()
        storage.close()

    threads = [threading.Thread(target=work) for work in (decide, store)]
    for thread in threads:
        thread.start()
    seen = set()
    try:
        for _ in range(20):
            report = audit(redis_client)
            assert report.clean, report.findings
            seen.add(report.messages)
    finally:
        ended.set()
        for thread in threads:
            thread.join()
    # It was a running sale, and not the same one twenty times.
    assert len(seen) > 5
    assert audit(redis_client).messages == decided

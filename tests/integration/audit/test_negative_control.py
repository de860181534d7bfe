"""Wrong on purpose: systems that must be caught, or the tests of the right one mean nothing."""

import json
import threading
from collections.abc import Iterator, Sequence
from typing import Any

import msgspec
import pytest
import redis

from devstack.endpoints import Endpoints
from seckill.audit.audit import Report, audit
from seckill.audit.checks import NEVER_DROPPED, NEVER_LOST, NEVER_OVERSOLD, NEVER_TWICE
from seckill.consumer.batch import Batch
from seckill.consumer.engine import Engine, Reply, Status
from seckill.control.control import Control
from seckill.formats.outcomes import Outcome
from seckill.lane.client import connect
from seckill.lane.keys import Lane, position_field
from seckill.log_worker.storage import Storage, Stored
from seckill.log_worker.worker import LogWorker
from seckill.postgres.lease import PostgresOlder
from seckill.process.shutdown import Shutdown
from tests.helpers.sale import batch, body, now_ms, stock, waiting
from tests.helpers.wrong_scripts import POSITION, changed

LANE = Lane()
KEYS = LANE.activity(1)
WORKERS, ROUNDS, REQUESTS, UNITS = 5, 6, 20, 100


@pytest.fixture
def sale(redis_client: "redis.Redis", pg_dsn: str) -> "redis.Redis":
    """A hundred units, for which six hundred requests come."""
    Control(redis_client, "test", LANE).set_stock(1, {1001: UNITS})
    return redis_client


class ReadThenWrite(Engine):
    """Decides one item as the script does, but in Python: looks first, and writes afterwards.

    Between the two it waits for the others, as it would on a busy machine sooner or later.
    """

    def __init__(self, redis_url: str, together: threading.Barrier) -> None:
        super().__init__(redis_url, LANE)
        self.redis, self.together = connect(redis_url), together

    def decide(self, batches: Sequence[Batch]) -> list[Reply]:
        (sent,) = batches
        field = position_field(sent.source, sent.partition)
        left = int(self.redis.hget(KEYS.stock, "1001") or 0)  # type: ignore[arg-type]
        self.together.wait(120)
        flat = msgspec.msgpack.decode(sent.blob)
        outcomes, records = "", []
        # Seven values for a request of one item.
        for offset, first in enumerate(range(0, len(flat), 7), sent.start):
            if left < flat[first + 6]:
                outcomes += "2"
                continue
            left -= flat[first + 6]
            outcomes += "0"
            records.append(
                json.dumps({
                    "user_id": int(flat[first + 2]), "activity_id": 1, "item_id": 1001,
                    "quantity": 1, "cost_ms": 0, "status": "success",
                    "timestamp": now_ms() // 1000, "source": sent.source,
                    "partition": sent.partition, "offset": offset, "version": 1,
                })
            )  # fmt: skip
        pipe = self.redis.pipeline(transaction=True)
        pipe.hset(KEYS.stock, "1001", left)
        if records:
            pipe.lpush(LANE.list, *records)
        for name, count in (
            (str(int(Outcome.ACCEPTED)), len(records)),
            (str(int(Outcome.SOLD_OUT)), outcomes.count("2")),
            ("units", len(records)),
            ("records", len(records)),
        ):
            pipe.hincrby(KEYS.stats, name, count)
        pipe.hset(LANE.positions, field, sent.end)
        pipe.execute()
        return [Reply(Status.DECIDED, sent.end, outcomes.encode())]

    def close(self) -> None:
        self.redis.close()
        super().close()


def rush(engines: Sequence[Engine]) -> int:
    """All engines at once, each with its own partition. How many requests were accepted."""
    accepted = [0] * len(engines)
    failures: list[BaseException] = []

    def work(number: int) -> None:
        try:
            for turn in range(ROUNDS):
                values = [body(1 + n) for n in range(REQUESTS)]
                reply = engines[number].decide(
                    [batch(values, turn * REQUESTS, partition=number)]
                )[0]  # fmt: skip
                accepted[number] += reply.count(Outcome.ACCEPTED)
        except BaseException as failure:
            failures.append(failure)
            raise

    threads = [threading.Thread(target=work, args=(n,)) for n in range(len(engines))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(240)
    for engine in engines:
        engine.close()
    assert failures == []
    return sum(accepted)


def broken(report: Report) -> set[str]:
    """The invariants that the audit says do not hold."""
    return {finding.invariant for finding in report.findings}


def test_reading_first_and_writing_afterwards_oversells(
    sale: "redis.Redis", stack: Endpoints
) -> None:
    together = threading.Barrier(WORKERS)
    sold = rush([ReadThenWrite(stack.redis_url, together) for _ in range(WORKERS)])
    assert sold > UNITS
    assert len(waiting(sale)) == sold
    report = audit(sale, LANE)
    assert broken(report) == {NEVER_OVERSOLD}
    assert report.findings[0].culprit == "activity 1, item 1001"
    assert f"sold in records {sold}" in report.findings[0].explanation


def test_the_script_under_the_same_rush_does_not(sale: "redis.Redis", stack: Endpoints) -> None:
    sold = rush([Engine(stack.redis_url, LANE) for _ in range(WORKERS)])
    assert sold == UNITS == len(waiting(sale))
    assert stock(sale) == {1001: 0}
    assert audit(sale, LANE).findings == []


def test_the_counterfeit_sells_rightly_when_it_is_alone(
    sale: "redis.Redis", stack: Endpoints
) -> None:
    """So what the audit found above is the missing atomicity, and nothing else."""
    assert rush([ReadThenWrite(stack.redis_url, threading.Barrier(1))]) == UNITS
    assert audit(sale, LANE).findings == []


class Forgetful(Engine):
    """Decides whatever it is given, whether it was decided before or not."""

    def __init__(self, redis_url: str) -> None:
        super().__init__(redis_url, LANE)
        self._script = changed("decide_batch", POSITION, "local stored = nil")


@pytest.fixture
def forgetful(stack: Endpoints) -> Iterator[Engine]:
    """An engine that ignores the stored position."""
    engine = Forgetful(stack.redis_url)
    yield engine
    engine.close()


def test_ignoring_the_stored_position_is_caught(sale: "redis.Redis", forgetful: Engine) -> None:
    first = batch([body(n) for n in range(1, 11)])
    forgetful.decide([first])
    assert audit(sale, LANE).findings == []
    # Delivered again: the commit was lost.
    assert forgetful.decide([first])[0].count(Outcome.ACCEPTED) == 10
    report = audit(sale, LANE)
    assert not report.clean
    assert {NEVER_DROPPED, NEVER_LOST} <= broken(report)
    assert "outcomes to 20" in report.findings[-1].explanation


def test_a_record_that_differs_in_the_second_delivery_is_a_second_one(
    sale: "redis.Redis", forgetful: Engine
) -> None:
    at = now_ms() - 1000
    forgetful.decide([batch([body(1, at=at)])])
    forgetful.decide([batch([body(1, at=at - 1000)])])
    assert NEVER_TWICE in broken(audit(sale, LANE))


class TrimsFirst(LogWorker):
    """Takes records off the list, and means to store them afterwards."""

    def _store(self, batch: object) -> Stored:
        """Not yet."""
        return Stored()

    def _trim(self, batch: Any, result: Stored) -> bool:
        super()._trim(batch, result)
        raise SystemExit("killed")


def test_trimming_before_the_commit_is_caught(
    sale: "redis.Redis", stack: Endpoints, pg_dsn: str
) -> None:
    engine = Engine(stack.redis_url, LANE)
    engine.decide([batch([body(n) for n in range(1, 11)])])
    engine.close()
    storage = Storage(pg_dsn)
    with pytest.raises(SystemExit):
        TrimsFirst(sale, storage, Shutdown(), batch_size=4).run_once()
    report = audit(sale, LANE)
    assert broken(report) == {NEVER_LOST}
    assert "was stored, and is not there any more" in report.findings[0].explanation
    # The right one after it stores nothing until somebody has brought back what is lost.
    with pytest.raises(PostgresOlder):
        LogWorker(sale, storage, Shutdown()).run_once()
    storage.close()
    assert broken(audit(sale, LANE)) == {NEVER_LOST}

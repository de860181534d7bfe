"""Heartbeats: who is there, who holds and why, who is gone; and that none disturbs the sale."""

import os
import signal
import time
from collections.abc import Callable

import pytest
import redis

from seckill.config.sections import Server
from seckill.lane.keys import Lane
from seckill.lane.status import read_lane
from seckill.telemetry.heartbeats import (
    FORGET_MS,
    GONE_S,
    Heart,
    Kind,
    Worker,
    read_workers,
    worker_id,
)
from seckill.telemetry.history import read_series
from tests.conftest import Manage, wait_until
from tests.helpers import sale
from tests.helpers.messages import send

LANE = Lane()
SOON_S = 60.0


@pytest.fixture
def heart(server: Server) -> Heart:
    return Heart(server.redis_url, LANE, Kind.CONSUMER)


def make_older(client: "redis.Redis", ms: float) -> None:
    for worker in read_workers(client, LANE):
        client.zincrby(LANE.beats, -ms, worker.id)


def test_a_heartbeat_says_what_the_worker_is(redis_client: "redis.Redis", heart: Heart) -> None:
    heart.beat(5, "HOLD: NOT_LOADED", decided=5)
    (worker,) = read_workers(redis_client, LANE)
    assert (worker.kind, worker.id) == (Kind.CONSUMER, worker_id())
    assert (worker.detail, worker.counts) == ("HOLD: NOT_LOADED", {"decided": 5})
    assert worker.alive
    assert worker.started_ms <= worker.progress_ms <= worker.beat_ms
    assert abs(worker.beat_ms - sale.now_ms()) < 60_000


def test_a_heartbeat_is_no_progress(redis_client: "redis.Redis", heart: Heart) -> None:
    heart.beat(5)
    heart._progress -= 7
    heart._next = 0
    heart.beat(5)
    (worker,) = read_workers(redis_client, LANE)
    assert worker.beat_ms - worker.progress_ms >= 7000
    heart._next = 0
    heart.beat(6)
    (worker,) = read_workers(redis_client, LANE)
    assert worker.beat_ms == worker.progress_ms


def test_one_heartbeat_a_second(redis_client: "redis.Redis", heart: Heart) -> None:
    heart.beat(1)
    before: int = redis_client.info("stats")["total_commands_processed"]  # type: ignore[index]
    for turn in range(10_000):
        heart.beat(turn)
    after: int = redis_client.info("stats")["total_commands_processed"]  # type: ignore[index]
    # The second INFO itself, and a beat for each second that this took.
    assert after - before < 100


def test_who_is_silent_is_gone_and_later_forgotten(
    redis_client: "redis.Redis", heart: Heart, server: Server
) -> None:
    heart.beat(1)
    make_older(redis_client, GONE_S * 1000)
    (worker,) = read_workers(redis_client, LANE)
    assert not worker.alive
    other = Heart(server.redis_url, Lane("seckill:logs:2"), Kind.LOG_WORKER)
    other.beat(1)
    assert [w.id for w in read_workers(redis_client, LANE)] == [worker.id]
    make_older(redis_client, FORGET_MS)
    heart.forget(1)
    assert read_workers(redis_client, LANE) == []
    assert redis_client.exists(LANE.workers, LANE.beats) == 0


def test_who_ended_is_known_no_more(redis_client: "redis.Redis", heart: Heart) -> None:
    heart.beat(1)
    heart.close()
    assert read_workers(redis_client, LANE) == []


@pytest.mark.parametrize("wrong", ["nobody there", "other type"])
def test_a_heartbeat_that_cannot_be_written_is_left_out(
    redis_client: "redis.Redis", server: Server, wrong: str, caplog: pytest.LogCaptureFixture
) -> None:
    url = "redis://127.0.0.1:1/0" if wrong == "nobody there" else server.redis_url
    redis_client.set(LANE.workers, "no hash")
    heart = Heart(url, LANE, Kind.CONSUMER)
    began = time.monotonic()
    for turn in range(1000):
        heart.beat(turn)
    heart._next = 0
    heart.beat(0)
    assert time.monotonic() - began < 120
    assert len([r for r in caplog.records if "heartbeat" in r.getMessage()]) == 1


def of_kind(client: "redis.Redis", kind: Kind) -> list[Worker]:
    return [worker for worker in read_workers(client, LANE) if worker.kind is kind]


def test_all_workers_of_a_sale_beat_and_its_history_grows(
    manage: Manage, redis_client: "redis.Redis", server: Server, kafka_topic: str, pg_dsn: str
) -> None:
    sale.put_on_sale(redis_client, {1001: 10})
    consumers = manage(
        "run_consumer", "--consumers", "2", "--topic", kafka_topic, "--group-id", kafka_topic
    )
    storing = manage("run_log_worker")

    def counted(kind: Kind, number: int) -> Callable[[], bool]:
        return lambda: len(of_kind(redis_client, kind)) == number

    wait_until(counted(Kind.CONSUMER, 2), SOON_S, "two consumers beat")
    wait_until(counted(Kind.PARENT, 1), SOON_S, "their parent beats")
    wait_until(counted(Kind.LOG_WORKER, 1), SOON_S, "the log worker beats")
    send(server.brokers, kafka_topic, [sale.body(n) for n in range(1, 31)])
    wait_until(
        lambda: any(s.decided == 30 and s.stored == 10 and s.lag == {0: 0, 1: 0}
                    for s in read_series(redis_client, LANE)),
        SOON_S, "the history has the sale's end",
    )  # fmt: skip
    wait_until(
        lambda: sum(w.counts["stored"] for w in of_kind(redis_client, Kind.LOG_WORKER)) == 10,
        SOON_S, "the log worker says what it stored",
    )  # fmt: skip
    before = {worker.id for worker in of_kind(redis_client, Kind.CONSUMER)}
    killed = sorted(before)[0]

    os.kill(int(killed.rpartition(":")[2]), signal.SIGKILL)
    wait_until(
        lambda: len(now := {w.id for w in of_kind(redis_client, Kind.CONSUMER)}) == 2
        and killed not in now,
        SOON_S, "another consumer in the place of the killed one, which is forgotten",
    )  # fmt: skip
    for process in (consumers, storing):
        process.terminate()
    said = [process.communicate(timeout=240)[0] for process in (consumers, storing)]
    assert [process.returncode for process in (consumers, storing)] == [0, 0]
    # A busy Redis is not waited for with such news.
    untold = any("no heartbeat can be written" in text for text in said)
    assert untold or read_workers(redis_client, LANE) == []
    assert read_lane(redis_client, LANE).decided == 30

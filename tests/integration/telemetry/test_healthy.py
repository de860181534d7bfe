"""`manage.py healthy`: a worker that hangs is told from one that Redis keeps from speaking."""

import os
import signal
import subprocess
from collections.abc import Iterator
from typing import Any

import pytest
import redis

from seckill.lane.keys import Lane
from seckill.telemetry.heartbeats import Kind, read_workers
from tests.conftest import Manage, wait_until
from tests.helpers.commands import DEAD_REDIS, Ended

SOON_S = 60.0


def ask(manage: Manage, *flags: str) -> Ended:
    return Ended(manage("healthy", "log-worker", "--within-s", "8", *flags))


@pytest.fixture
def worker(manage: Manage, redis_client: "redis.Redis") -> "subprocess.Popen[str]":
    """A log worker that has beaten."""
    started = manage("run_log_worker")
    wait_until(
        lambda: [w for w in read_workers(redis_client, Lane()) if w.kind is Kind.LOG_WORKER],
        SOON_S, "the log worker beats",
    )  # fmt: skip
    return started


@pytest.fixture
def refusing(redis_client: "redis.Redis") -> Iterator[Any]:
    """Make Redis refuse what writes, as one without its replicas does."""

    def refuse(number: int) -> None:
        redis_client.config_set("min-replicas-to-write", number)

    yield refuse
    refuse(0)


def test_a_worker_that_hangs_is_told(
    manage: Manage, redis_client: "redis.Redis", worker: "subprocess.Popen[str]"
) -> None:
    well = ask(manage)
    assert (well.code, "1 of log-worker" in well.output) == (0, True), well.output
    assert read_workers(redis_client, Lane())[0].id.endswith(f":{worker.pid}"), "nothing was left"
    worker.send_signal(signal.SIGSTOP)
    hung = wait_until(lambda: (a := ask(manage)).code == 1 and a, SOON_S, "it counts as hung")
    assert f":{worker.pid} is silent for" in hung.output
    worker.send_signal(signal.SIGCONT)
    wait_until(lambda: ask(manage).code == 0, SOON_S, "it is well again")
    worker.kill()
    worker.wait()
    gone = ask(manage)
    assert (gone.code, "it ended" in gone.output) == (1, True), gone.output


def test_nobody_is_blamed_while_redis_takes_no_heartbeats(
    manage: Manage, redis_client: "redis.Redis", worker: "subprocess.Popen[str]", refusing: Any
) -> None:
    worker.send_signal(signal.SIGSTOP)
    wait_until(lambda: ask(manage).code == 1, SOON_S, "it counts as hung")
    refusing(1)
    unknown = ask(manage)
    assert (unknown.code, "unknown: Redis is away" in unknown.output) == (0, True), unknown.output
    refusing(0)
    assert ask(manage).code == 1
    away = ask(manage, "--redis-url", DEAD_REDIS)
    assert (away.code, "unknown: Redis is away" in away.output) == (0, True), away.output
    redis_client.delete(Lane().workers)
    redis_client.set(Lane().workers, "no hash")
    spoiled = ask(manage)
    assert (spoiled.code, "unknown: Redis refuses" in spoiled.output) == (0, True), spoiled.output


def test_a_consumer_that_hangs_below_a_parent_that_does_not(
    manage: Manage, redis_client: "redis.Redis", kafka_topic: str
) -> None:
    parent = manage("run_consumer", "--topic", kafka_topic, "--group-id", kafka_topic)

    def of(kind: Kind) -> list[int]:
        heard = read_workers(redis_client, Lane())
        return [int(each.id.rpartition(":")[2]) for each in heard if each.kind is kind]

    (child,) = wait_until(lambda: of(Kind.CONSUMER), SOON_S, "the consumer beats")
    asked = ("healthy", "consumer", "--within-s", "8")
    wait_until(lambda: "2 of consumer" in Ended(manage(*asked)).output, SOON_S, "both are well")
    os.kill(child, signal.SIGSTOP)
    hung = wait_until(lambda: (a := Ended(manage(*asked))).code == 1 and a, SOON_S, "it hangs")
    assert f":{child} is silent for" in hung.output
    # Its parent puts another one in its place, and what the dead one said last counts no more.
    os.kill(child, signal.SIGKILL)
    wait_until(lambda: Ended(manage(*asked)).code == 0, SOON_S, "another one is well")
    assert of(Kind.PARENT) == [parent.pid]

"""Requests behind an open transaction: they are lag, everybody says whose it is, a drain waits."""

import subprocess
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

import pytest
import redis
from confluent_kafka import Producer
from kafka.errors import TopicAuthorizationFailedError

from seckill.broker.topics import Topics
from seckill.broker.transactions import Open, find_open, quoted
from seckill.config.sections import Server
from seckill.consumer.group import ConsumerGroup
from seckill.lane.keys import Lane
from seckill.lane.status import read_lane
from seckill.monitoring.look import look
from seckill.process.exit_codes import NOT_IN_TIME, OK
from seckill.process.shutdown import Shutdown
from seckill.telemetry.blocked import Blocked, in_words
from seckill.telemetry.history import fresh_sample
from seckill.telemetry.lag import LagWatch, Tails
from seckill.telemetry.sampler import Sampler
from tests.conftest import Manage, wait_until
from tests.helpers.messages import send
from tests.helpers.node import SOON_S, Node
from tests.helpers.sale import body, put_on_sale

LANE = Lane()
# A name that would clear a terminal.
NAME = "shop\x1b[2J"
SHOWN = r"'shop\x1b[2J'"


@pytest.fixture
def transaction(server: Server) -> Iterator[Callable[[int], Producer]]:
    """Open a transaction with so many requests on partition 0."""
    opened: list[Producer] = []

    def begin(requests: int) -> Producer:
        producer = Producer({"bootstrap.servers": server.brokers, "transactional.id": NAME})
        producer.init_transactions(30)
        producer.begin_transaction()
        for number in range(requests):
            producer.produce(server.topic, body(1 + number), partition=0)
        assert producer.flush(60) == 0
        opened.append(producer)
        return producer

    yield begin
    for producer in opened:
        producer.close()


def test_what_is_hidden_is_lag_and_told(
    node: Node, transaction: Callable[[int], Producer], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("seckill.telemetry.blocked.TOLERATED_S", 0.0)
    put_on_sale(node.client, {1001: 10_000})
    node.send([body(n) for n in range(1, 51)], 0)
    consumer = node.consumer()
    node.decided(consumer, 50)
    producer = transaction(10)
    node.send([body(n) for n in range(1, 91)], 0)
    # What the others send to another partition is not hidden.
    node.send([body(1)], 1)
    node.decided(consumer, 51)
    group = ConsumerGroup(node.server, node.client, node.topics, Shutdown(), LANE)
    watch = LagWatch(node.server.topic, lambda: Topics(node.server), Tails(node.server))
    for _ in range(3):
        watch.run_once()
        assert watch.lag(node.lane().positions) == {0: 100, 1: 0}
        assert not group.drained()
        assert consumer.run_once() == 0
    whose = f"partition 0: 100 blocked by an open transaction of {SHOWN}, since 20"
    assert whose in group.describe()
    assert "lag 100 (" in group.describe()
    assert f"100 requests are not decided yet; {whose}" in group.waits_for()
    Sampler(node.client, LANE, watch).run_once()
    sample = fresh_sample(node.client, LANE)
    assert sample is not None
    assert (sample.lag, sample.blocked) == ({0: 100, 1: 0}, {0: 100})
    assert whose in sample.blocked_by
    shown = look(node.client, LANE)
    assert (shown.lag, shown.sample) == (100, sample)

    producer.commit_transaction(60)
    node.decided(consumer, 151)
    wait_until(group.drained, SOON_S, "its marker is no lag")
    assert "blocked" not in group.describe()
    watch.run_once()
    assert watch.blocked() == ()
    watch.stop()
    watch.run()
    group.close()


def test_aborted_it_is_no_lag(node: Node, transaction: Callable[[int], Producer]) -> None:
    put_on_sale(node.client, {1001: 10_000})
    producer = transaction(10)
    group = ConsumerGroup(node.server, node.client, node.topics, Shutdown(), LANE)
    assert group.lag(node.lane()) == 10
    assert not group.drained()
    producer.abort_transaction(60)
    wait_until(group.drained, SOON_S, "nothing is left of it")
    assert node.lane().decided == 0
    group.close()


def test_a_drain_waits_and_ends_at_its_limit(
    manage: Manage, server: Server, topics: Topics, redis_client: "redis.Redis",
    transaction: Callable[[int], Producer], kafka_client: str,
) -> None:  # fmt: skip
    put_on_sale(redis_client, {1001: 10_000})
    send(server.brokers, server.topic, [body(n) for n in range(1, 51)], 0)
    producer = transaction(10)
    send(server.brokers, server.topic, [body(n) for n in range(1, 91)], 0)

    def drain(*flags: str) -> "subprocess.Popen[str]":
        return manage(
            "run_consumer", "--drain", "--brokers", server.brokers, "--topic", server.topic,
            "--group-id", server.group_id, "--kafka-client", kafka_client, *flags,
        )  # fmt: skip

    limited = drain("--drain-limit", "20")
    said = limited.communicate(timeout=200)[0]
    assert limited.returncode == NOT_IN_TIME, said
    waits = f"partition 0: 100 blocked by an open transaction of {SHOWN}, since 20"
    assert waits in said
    assert "not everything was decided within 20 s (--drain-limit-s)" in said
    assert "Traceback" not in said
    assert read_lane(redis_client, LANE).decided <= 50

    waiting = drain()
    assert waiting.stdout is not None
    lines = iter(waiting.stdout.readline, "")
    said = next(line for line in lines if "--drain waits: " in line and waits in line)
    assert waiting.poll() is None
    producer.commit_transaction(60)
    said = waiting.communicate(timeout=200)[0]
    assert waiting.returncode == OK, said
    assert read_lane(redis_client, LANE).decided == 150


@pytest.mark.parametrize("limit", ["0", "-1", "nan", "soon"])
def test_a_limit_is_seconds(manage: Manage, limit: str) -> None:
    process = manage("run_consumer", "--drain", f"--drain-limit={limit}")
    assert "seconds above 0" in process.communicate(timeout=120)[0]
    assert process.returncode == 2


class Telling:
    """An admin client whose user may ask for so much and no more."""

    def __init__(self, rights: int) -> None:
        self.rights = rights

    def _asked(self, right: int, answer: Any) -> Any:
        if self.rights < right:
            raise TopicAuthorizationFailedError("no right")
        return answer

    def describe_producers(self, places: list[Any]) -> Any:
        found = [
            SimpleNamespace(
                producer_id=10 + n, last_timestamp=n, current_transaction_start_offset=at
            )
            for n, at in ((1, -1), (2, 70), (3, 50))
        ]
        return self._asked(1, {places[0]: SimpleNamespace(active_producers=found)})

    def list_transactions(self, producer_id_filters: list[int]) -> Any:
        assert producer_id_filters == [13]
        return self._asked(2, {1: [], 2: [SimpleNamespace(transactional_id=NAME)]})

    def describe_transactions(self, names: list[str]) -> Any:
        return self._asked(3, {names[0]: SimpleNamespace(transaction_start_time_ms=99)})


def test_what_kafka_does_not_tell_is_left_out() -> None:
    """Each answer needs a right of its own. The oldest transaction is the one that blocks."""
    assert [find_open(Telling(rights), "t", 0) for rights in range(4)] == [  # type: ignore[arg-type]
        Open(), Open("producer id 13", 3), Open(SHOWN, 3), Open(SHOWN, 99),
    ]  # fmt: skip
    text = "partition 4: 1,000 blocked by an open transaction"
    assert str(Blocked(4, 7, 1000, Open())) == text
    assert str(Blocked(4, 7, 1000, Open(SHOWN))) == f"{text} of {SHOWN}"
    since = 1_795_448_539_792
    assert str(Blocked(4, 7, 1, Open("x", since))).endswith("of x, since 2026-11-23 15:42:19 UTC")
    many = tuple(Blocked(n, 7, 1, Open()) for n in range(9))
    assert in_words(many).endswith(
        "partition 2: 1 blocked by an open transaction; 6 more partitions"
    )
    assert quoted("x" * 1000) == f"'{'x' * 60}...'"

"""Consumers and a Redis that has gone back, on real Kafka: they stop in time, and go on rightly."""

from collections.abc import Mapping

import pytest
import redis

from seckill.audit.audit import audit
from seckill.broker import Position
from seckill.consumer.engine import Engine
from seckill.consumer.guard import Guard
from seckill.control.control import Control
from seckill.lane.keys import Lane, position_field
from seckill.lane.status import read_lane
from seckill.log_worker.storage import Storage
from seckill.log_worker.worker import LogWorker
from seckill.models import Record
from seckill.process.shutdown import Shutdown
from seckill.recovery.rebuild import recover
from tests.conftest import wait_until
from tests.helpers.node import SOON_S, Node, running
from tests.helpers.recovering import set_back, snapshot
from tests.helpers.sale import body, put_on_sale, waiting

LANE = Lane()


def guarded(node: Node) -> Engine:
    """An engine that compares each new connection with Kafka and PostgreSQL, as run_consumer's."""
    server = node.server
    guard = Guard(
        node.client,
        LANE,
        server.pg_dsn,
        lambda: node.topics.source(server.topic),
        lambda: node.topics.committed(server.group_id, server.topic),
        f"test-{len(node.guards)}",
    )
    node.guards.append(guard)
    return Engine(server.redis_url, LANE, guard=guard)


def store(node: Node, pg_dsn: str) -> None:
    """All that waits, to PostgreSQL."""
    storage = Storage(pg_dsn)
    LogWorker(node.client, storage, Shutdown()).run(drain=True)
    storage.close()


@pytest.fixture
def shop(node: Node, pg_dsn: str) -> Node:
    """A node whose PostgreSQL is the test's."""
    node.server = node.server.model_copy(update={"pg_dsn": pg_dsn})
    return node


def test_running_consumers_hold_and_go_on_after_the_recovery(
    shop: Node, pg_dsn: str, caplog: pytest.LogCaptureFixture
) -> None:
    Control(shop.client, "test", LANE).set_stock(1, {1001: 100})
    shop.send([body(n) for n in range(1, 11)], 0)
    consumer = shop.consumer(guarded(shop))
    shop.decided(consumer, 10)
    copy = snapshot(shop.client)
    shop.send([body(n) for n in range(11, 21)], 0)
    shop.send([body(n) for n in range(21, 26)], 1)
    shop.decided(consumer, 25)
    store(shop, pg_dsn)
    set_back(shop.client, copy)
    shop.send([body(n) for n in range(26, 31)], 0)
    shop.send([body(n) for n in range(31, 36)], 1)
    with running(consumer):
        wait_until(lambda: "HOLD: REWOUND" in caplog.text, SOON_S, "the hold is told")
        assert read_lane(shop.client, LANE).fence is not None
        source = shop.topics.source(shop.server.topic)
        assert recover(shop.client, LANE, source, [0, 1], "test", lambda line: None).lifted
        wait_until(lambda: shop.lane().activities[1].success == 35, SOON_S, "all are decided")
        assert consumer.hold == ""
    shop.consumers.clear()
    store(shop, pg_dsn)
    report = audit(shop.client, LANE)
    assert report.findings == []
    # Each buyer has one order: none was sold again, and none was taken away.
    assert sorted(Record.objects.values_list("user_id", flat=True)) == list(range(1, 36))
    assert shop.lane().skipped == 0
    # What was committed in the old generation does not fence the new one.
    successor = shop.consumer(guarded(shop))
    shop.send([body(36)], 0)
    shop.turns(successor, lambda: shop.lane().activities[1].success == 36, "one more")
    assert shop.lane().fence is None


@pytest.mark.parametrize("who", ["who lives on", "who comes new"])
def test_what_has_to_be_decided_again_is_decided_at_once(shop: Node, pg_dsn: str, who: str) -> None:
    """Nobody sends a new message: the consumers find the new generation by themselves."""
    Control(shop.client, "test", LANE).set_stock(1, {1001: 100})
    shop.send([body(n) for n in range(1, 11)], 0)
    shop.send([body(n) for n in range(11, 16)], 1)
    consumer = shop.consumer(guarded(shop))
    shop.decided(consumer, 15)
    # Committed, and stored in part: Redis loses all of it.
    storage = Storage(pg_dsn)
    LogWorker(shop.client, storage, Shutdown(), batch_size=4).run_once()
    storage.close()
    shop.turns(consumer, lambda: shop.committed_by_all(15), "the commit")
    shop.client.flushall()
    source = shop.topics.source(shop.server.topic)
    assert recover(shop.client, LANE, source, [0, 1], "test", lambda line: None).lifted
    if who == "who comes new":
        shop.ended(consumer)
        consumer = shop.consumer(guarded(shop))
    shop.turns(consumer, lambda: shop.lane().decided == 15, "all of it is decided again")
    store(shop, pg_dsn)
    report = audit(shop.client, LANE)
    assert report.findings == []
    assert sorted(Record.objects.values_list("user_id", flat=True)) == list(range(1, 16))


def test_commits_are_read_back_with_topic_and_generation(node: Node) -> None:
    put_on_sale(node.client, {1001: 100})
    node.client.hset(LANE.state, "generation", 7)
    node.send([body(n) for n in range(1, 4)], 0)
    consumer = node.consumer()
    node.decided(consumer, 3)
    node.ended(consumer)
    source = str(node.topics.source(node.server.topic))
    found = node.topics.committed(node.server.group_id, node.server.topic)
    assert found[0] == Position(3, 7, source)
    again = node.consumer()
    assert again.client.committed(0) == Position(3, 7, source)


class TestGuard:
    SOURCE = "0f9a2c51-6f0e-4b8e-9d0c-3a54f1f2a111"

    def check(
        self, client: "redis.Redis", pg_dsn: str, committed: Mapping[int, Position]
    ) -> str | None:
        """The fence's reason after one check."""
        guard = Guard(client, LANE, pg_dsn, lambda: self.SOURCE, lambda: committed, "test")
        guard.admit(client.info("server")["run_id"])
        guard.close()
        fence = read_lane(client, LANE).fence
        return fence.why if fence else None

    def record(self, offset: int) -> None:
        Record.objects.create(
            user_id=1, activity_id=1, item_id=1001, quantity=1, cost_ms=1, status="success",
            ts="2026-01-01T00:00:00Z", source=self.SOURCE, partition=0, offset=offset, version=1,
        )  # fmt: skip

    def test_a_redis_that_is_not_behind(self, redis_client: "redis.Redis", pg_dsn: str) -> None:
        put_on_sale(redis_client, {1001: 10})
        redis_client.hset(LANE.positions, position_field(self.SOURCE, 0), 5)
        self.record(4)
        committed = {
            # As far as Redis; of another generation; of another topic; of another program.
            0: Position(5, 0, self.SOURCE), 1: Position(9, 1, self.SOURCE),
            2: Position(9, 0, "another"), 3: Position(9),
        }  # fmt: skip
        assert self.check(redis_client, pg_dsn, committed) is None

    def test_postgres_knows_more(self, redis_client: "redis.Redis", pg_dsn: str) -> None:
        put_on_sale(redis_client, {1001: 10})
        redis_client.hset(LANE.positions, position_field(self.SOURCE, 0), 5)
        self.record(5)
        why = self.check(redis_client, pg_dsn, {0: Position(0)})
        assert why == "partition 0 stands at 5, PostgreSQL has stored up to 6"

    def test_kafka_knows_more(self, redis_client: "redis.Redis", pg_dsn: str) -> None:
        put_on_sale(redis_client, {1001: 10})
        why = self.check(redis_client, pg_dsn, {0: Position(7, 0, self.SOURCE)})
        assert why == "partition 0 stands at 0, the group has committed up to 7"

    def test_an_empty_redis_is_not_loaded_and_needs_no_fence(
        self, redis_client: "redis.Redis", pg_dsn: str
    ) -> None:
        self.record(5)
        assert self.check(redis_client, pg_dsn, {0: Position(7, 0, self.SOURCE)}) is None

    def test_without_postgres_the_sale_goes_on(
        self, redis_client: "redis.Redis", caplog: pytest.LogCaptureFixture
    ) -> None:
        put_on_sale(redis_client, {1001: 10})
        dsn = "postgresql://nobody@127.0.0.1:1/none"
        assert self.check(redis_client, dsn, {0: Position(0)}) is None
        assert "the sale goes on" in caplog.text
        assert waiting(redis_client) == []

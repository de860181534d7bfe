"""Fixtures of a shop, of consumers, of a log worker: each with empty services."""

import logging
from collections.abc import Iterator

import pytest
import redis

from devstack.endpoints import Endpoints
from seckill.broker.topics import Topics
from seckill.config.sections import Server
from tests.helpers.node import Node
from tests.helpers.shop import Shop
from tests.helpers.storing import StoredSale


@pytest.fixture(autouse=True)
def _time_for_what_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """Workers do without heartbeats and last words that take long. Tests wait for them."""
    monkeypatch.setattr("seckill.telemetry.heartbeats.TIMEOUT_S", 60.0)
    monkeypatch.setattr("seckill.monitoring.metrics.SCRAPE_TIMEOUT_S", 60.0)
    monkeypatch.setattr("seckill.consumer.guard.ANSWER_S", 60)
    monkeypatch.setattr("seckill.consumer.lease_keeper.ANSWER_S", 60)
    monkeypatch.setattr("seckill.dead_letters.writer.FLUSH_S", 60.0)
    monkeypatch.setattr("seckill.consumer.consumer.LAST_COMMIT_S", 60.0)


@pytest.fixture
def shop(stack: Endpoints, redis_client: "redis.Redis", pg_dsn: str) -> Iterator[Shop]:
    """Empty services."""
    shop = Shop(redis_client, stack.redis_url, pg_dsn)
    yield shop
    shop.close()


@pytest.fixture
def node(
    server: Server, topics: Topics, redis_client: "redis.Redis", kafka_client: str,
    caplog: pytest.LogCaptureFixture,
) -> Iterator[Node]:  # fmt: skip
    """A topic with two partitions and an empty Redis, for each of the Kafka clients."""
    # The libraries tell of every topic that is deleted.
    logging.getLogger("kafka").setLevel(logging.CRITICAL)
    caplog.set_level(logging.INFO, "seckill")
    node = Node(server.model_copy(update={"kafka_client": kafka_client}), topics, redis_client)
    yield node
    node.close()


@pytest.fixture
def sale(stack: Endpoints, redis_client: "redis.Redis", pg_dsn: str) -> Iterator[StoredSale]:
    """A running sale on empty services."""
    sale = StoredSale(redis_client, stack.redis_url, pg_dsn)
    yield sale
    sale.close()

"""What tests of acts share."""

from collections.abc import Iterator

import pytest
import redis

from devstack.endpoints import Endpoints
from tests.shop import Shop


@pytest.fixture(autouse=True)
def _time_for_what_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """Workers do without heartbeats and last words that take long. Tests wait for them."""
    monkeypatch.setattr("seckill.workers.TIMEOUT_S", 60.0)
    monkeypatch.setattr("seckill.metrics.SCRAPE_TIMEOUT_S", 60.0)
    monkeypatch.setattr("seckill.guard.ANSWER_S", 60)
    monkeypatch.setattr("seckill.lease_keeper.ANSWER_S", 60)
    monkeypatch.setattr("seckill.dead_letters.FLUSH_S", 60.0)
    monkeypatch.setattr("seckill.consumer.LAST_COMMIT_S", 60.0)


@pytest.fixture
def shop(stack: Endpoints, redis_client: "redis.Redis", pg_dsn: str) -> Iterator[Shop]:
    """Empty services."""
    shop = Shop(redis_client, stack.redis_url, pg_dsn)
    yield shop
    shop.close()

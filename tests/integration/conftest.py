"""What tests of acts share."""

from collections.abc import Iterator

import pytest
import redis

from devstack.endpoints import Endpoints
from tests.shop import Shop


@pytest.fixture
def shop(stack: Endpoints, redis_client: "redis.Redis", pg_dsn: str) -> Iterator[Shop]:
    """Empty services."""
    shop = Shop(redis_client, stack.redis_url, pg_dsn)
    yield shop
    shop.close()

"""A sale whose events are published, turn by turn."""

from collections.abc import Iterator

import pytest
import redis

from seckill.broker.topics import Topics
from seckill.config.sections import Server
from tests.helpers.publishing import Published


@pytest.fixture
def sale(
    server: Server, topics: Topics, redis_client: "redis.Redis", pg_dsn: str
) -> Iterator[Published]:
    sale = Published(server, topics, redis_client, pg_dsn)
    yield sale
    sale.close()

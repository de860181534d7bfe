"""The fixtures of the tests of lanes."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import redis

from seckill.broker.topics import Topics
from seckill.config.sections import Server
from tests.conftest import Manage
from tests.helpers.known_sale import Known, known_sale


@pytest.fixture
def known(
    manage: Manage,
    server: Server,
    topics: Topics,
    redis_client: "redis.Redis",
    pg_dsn: str,
    tmp_path: Path,
) -> Iterator[Known]:
    """A split sale that commands find."""
    with known_sale(manage, server, topics, redis_client, pg_dsn, tmp_path) as known:
        yield known

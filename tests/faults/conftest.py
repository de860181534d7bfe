"""The fixtures of tests in which things break."""

from collections.abc import Iterator

import pytest
import redis

from devstack.stack import Stack
from seckill_project.config import Server
from tests.conftest import Manage
from tests.faults.harness import Sale


@pytest.fixture
def sale(
    server: Server,
    running_stack: Stack,
    redis_client: "redis.Redis",
    manage: Manage,
    environment: dict[str, str],
) -> Iterator[Sale]:
    """An empty sale on the session's services; its commands end with the test."""
    sale = Sale(server, running_stack, redis_client, manage, environment)
    sale.open(partitions=4)
    yield sale
    sale.close()

"""The fixture that opens a sale for commands as real processes, for all tests that need one."""

from collections.abc import Callable, Iterator

import pytest
import redis

from devstack.stack import Stack
from seckill.config.sections import Server
from tests.conftest import Manage
from tests.faults.harness import Sale

# Called with the number of partitions.
OpenSale = Callable[[int], Sale]


@pytest.fixture
def open_sale(
    server: Server,
    running_stack: Stack,
    redis_client: "redis.Redis",
    manage: Manage,
    environment: dict[str, str],
) -> Iterator[OpenSale]:
    """Opens an empty sale on the session's services; its commands end with the test."""
    sale = Sale(server, running_stack, redis_client, manage, environment)

    def opened(partitions: int) -> Sale:
        sale.open(partitions=partitions)
        return sale

    yield opened
    sale.close()

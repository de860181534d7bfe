"""Fixtures for all tests of commands as real processes: a sale, and a pair of PostgreSQL."""

from collections.abc import Callable, Iterator

import pytest
import redis

from devstack.stack import Stack
from seckill.config.sections import Server
from seckill.management.arguments import use_database
from tests.conftest import Manage
from tests.faults.harness import Sale
from tests.helpers.pair import Pair, postgres_pair

# Called with the number of partitions.
OpenSale = Callable[[int], Sale]


@pytest.fixture
def pair(running_stack: Stack, pg_dsn: str, environment: dict[str, str]) -> Iterator[Pair]:
    """What commands and this process use in the place of the session's PostgreSQL."""
    with postgres_pair(running_stack, pg_dsn) as pair:
        environment["SECKILL_PG_DSN"] = pair.dsn
        use_database(pair.dsn)
        yield pair
        use_database(pg_dsn)


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

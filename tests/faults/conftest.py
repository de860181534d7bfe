"""The fixtures of tests in which things break."""

import random
from collections.abc import Iterator

import pytest
import redis

from devstack.stack import Stack
from seckill.config.sections import Server
from tests.conftest import Manage
from tests.faults.harness import Sale
from tests.faults.seed import rng_of, seed


@pytest.fixture
def rng(request: pytest.FixtureRequest) -> random.Random:
    """The random numbers of this scenario."""
    print(f"FAULT_SEED={seed()} replays this scenario")
    return rng_of(request.node.name)


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

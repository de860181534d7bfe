"""The fixtures of tests in which things break."""

import random
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis

from seckill.broker.topics import Topics
from seckill.config.sections import Server
from tests.conftest import Manage
from tests.faults.harness import Sale
from tests.faults.lanes import CROWD, Lanes
from tests.faults.opening import OpenSale
from tests.faults.seed import rng_of, seed
from tests.helpers.servers import own_valkey


@pytest.fixture
def rng(request: pytest.FixtureRequest) -> random.Random:
    """The random numbers of this scenario."""
    print(f"FAULT_SEED={seed()} replays this scenario")
    return rng_of(request.node.name)


@pytest.fixture
def sale(open_sale: OpenSale) -> Sale:
    """An empty sale on the session's services; its commands end with the test."""
    return open_sale(4)


@pytest.fixture
def two(
    manage: Manage, server: Server, topics: Topics, redis_client: "redis.Redis", tmp_path: Path
) -> Iterator[Lanes]:
    """Lanes main and north, each with a Redis of its own."""
    with (
        own_valkey(tmp_path) as of_north,
        Lanes(manage, server, tmp_path, ("north",), {"north": of_north}, CROWD) as two,
    ):
        yield two

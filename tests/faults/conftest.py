"""The fixtures of tests in which things break."""

import random

import pytest

from tests.faults.harness import Sale
from tests.faults.opening import OpenSale
from tests.faults.seed import rng_of, seed
from tests.faults.two_lanes import two  # noqa: F401


@pytest.fixture
def rng(request: pytest.FixtureRequest) -> random.Random:
    """The random numbers of this scenario."""
    print(f"FAULT_SEED={seed()} replays this scenario")
    return rng_of(request.node.name)


@pytest.fixture
def sale(open_sale: OpenSale) -> Sale:
    """An empty sale on the session's services; its commands end with the test."""
    return open_sale(4)

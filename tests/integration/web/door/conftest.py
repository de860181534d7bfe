"""A door as a process, on the test's topic, and a consumer that decides its clicks."""

from collections.abc import Iterator
from functools import partial

import pytest

from tests.conftest import Manage
from tests.helpers import door as helper
from tests.helpers.door import OpenDoor, RunningDoor
from tests.helpers.node import Node, running


@pytest.fixture
def kafka_client() -> str:
    """The consumer's client: one is enough here."""
    return "confluent-kafka"


@pytest.fixture
def open_door(manage: Manage, node: Node) -> OpenDoor:
    """Start a door on the test's topic."""

    return partial(helper.open_door, manage, node.server)


@pytest.fixture
def door(open_door: OpenDoor) -> RunningDoor:
    """A door without narrow limits."""
    return open_door("--user-rate", "1000", "--address-rate", "10000")


@pytest.fixture
def consumer(node: Node) -> Iterator[None]:
    """A consumer that runs."""
    with running(node.consumer()):
        yield

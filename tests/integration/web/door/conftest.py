"""A door as a process, on the test's topic, and a consumer that decides its clicks."""

from collections.abc import Iterator

import pytest

from tests.conftest import Manage
from tests.helpers.door import KEYS, TICKET_SECRET, OpenDoor, RunningDoor
from tests.helpers.node import Node, running


@pytest.fixture
def kafka_client() -> str:
    """The consumer's client: one is enough here."""
    return "confluent-kafka"


@pytest.fixture
def open_door(manage: Manage, node: Node) -> OpenDoor:
    """Start a door on the test's topic."""

    def start(*flags: str, **variables: str) -> RunningDoor:
        settings = {
            "SECKILL_BUYER_KEYS": KEYS,
            "SECKILL_TICKET_SECRET": f"1:{TICKET_SECRET}",
            "SECKILL_TOPIC": node.server.topic,
            "SECKILL_BROKERS": node.server.brokers,
            **variables,
        }
        return RunningDoor(manage("run_door", "--port", "0", *flags, **settings))

    return start


@pytest.fixture
def door(open_door: OpenDoor) -> RunningDoor:
    """A door without narrow limits."""
    return open_door("--user-rate", "1000", "--address-rate", "10000")


@pytest.fixture
def consumer(node: Node) -> Iterator[None]:
    """A consumer that runs."""
    with running(node.consumer()):
        yield

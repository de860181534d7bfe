"""A topic that is made again under a running door: a ticket never gets another buyer's answer."""

import http.client
import json
import time

import pytest
import redis

from seckill.broker.topics import Topics
from seckill.lane.keys import Lane
from seckill.log_worker.storage import Storage
from seckill.log_worker.worker import LogWorker
from seckill.process.shutdown import Shutdown
from tests.conftest import PARTITIONS, wait_until
from tests.helpers.door import RunningDoor, Told
from tests.helpers.node import Node, running
from tests.helpers.sale import put_on_sale

LANE = Lane()
SOON_S = 30.0
# Messages of others in each partition of the old topic, and their buyers.
OTHERS, FIRST_OTHER = 10, 1_000
KEY = "one-and-the-same"


def others(node: Node, first_user: int) -> None:
    """Messages of other buyers."""
    now_ms = time.time_ns() // 1_000_000
    for partition in range(PARTITIONS):
        users = range(first_user + partition * OTHERS, first_user + (partition + 1) * OTHERS)
        node.send(
            [
                json.dumps(
                    {"user_id": user, "items": {"1001": 1}, "request_initiation_time": now_ms}
                ).encode()
                for user in users
            ],
            partition,
        )


def decided(node: Node) -> int:
    """Messages that are decided."""
    return node.lane().decided


def ticket_of(door: RunningDoor, key: str = KEY) -> Told:
    """A click that is taken, of a buyer who asks again with one key until it is."""
    told: list[Told] = []

    def taken() -> bool:
        try:
            told.append(door.click(1, key=key))
        except (ConnectionError, http.client.HTTPException):
            # A door that opens anew closes its lines.
            return False
        return told[-1].status != 503

    wait_until(taken, SOON_S, "the click is taken")
    return told[-1]


@pytest.mark.parametrize("units", [10_000, 1], ids=["others won", "others lost"])
@pytest.mark.parametrize("clicked_before", [False, True], ids=["no offset yet", "outgrown"])
def test_nobody_gets_the_answer_of_another(
    door: RunningDoor,
    node: Node,
    topics: Topics,
    redis_client: "redis.Redis",
    units: int,
    clicked_before: bool,
) -> None:
    """Nobody decides in the new topic, so nothing may be told of a click there."""
    put_on_sale(redis_client, {1001: units, 1002: 1})
    with running(node.consumer()):
        if clicked_before:
            told = door.answer(ticket_of(door, "the-one-before").content["ticket"], wait=20)
            assert told.content["state"] != "waiting"
        before = decided(node)
        others(node, FIRST_OTHER)
        wait_until(lambda: decided(node) == before + OTHERS * PARTITIONS, SOON_S, "all decided")
    topics.delete(node.server.topic)
    topics.ensure(node.server.topic, PARTITIONS)
    if clicked_before:
        # The offsets go beyond those that the door has seen.
        others(node, FIRST_OTHER + 500)
    told = ticket_of(door)
    assert told.content["state"] == "waiting"
    # The ticket names the new topic, which nobody has decided: it has no answer for long.
    later = door.answer(told.content["ticket"], wait=1)
    assert (later.status, later.content["state"]) == (200, "waiting")


def test_a_click_that_was_stored_in_an_earlier_topic_is_stored(
    door: RunningDoor, node: Node, topics: Topics, redis_client: "redis.Redis", pg_dsn: str
) -> None:
    """Through the script, and where the door refuses everybody else by itself."""
    put_on_sale(redis_client, {1001: 2})
    with running(node.consumer()):
        first = ticket_of(door).content["ticket"]
        assert door.answer(first, wait=20).content["state"] == "accepted"
    storage = Storage(pg_dsn)
    LogWorker(redis_client, storage, Shutdown()).run(drain=True)
    storage.close()
    topics.delete(node.server.topic)
    topics.ensure(node.server.topic, PARTITIONS)
    told = ticket_of(door)
    with running(node.consumer()):
        later = door.answer(told.content["ticket"], wait=20)
        assert (later.content["state"], later.content["stored"]) == ("accepted", True)
    # All is gone now: the door refuses others by itself, and knows this click.
    put_on_sale(redis_client, {1001: 0})
    wait_until(lambda: door.click(2).content.get("at_door"), SOON_S, "others are refused")
    again = door.click(1, key=KEY)
    assert (again.content["state"], again.content["stored"]) == ("accepted", True)
    assert "ticket" not in again.content

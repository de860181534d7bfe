"""A door tells nothing that a Redis says which may be wrong: who asks waits, and is told so."""

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest
import redis

from seckill.broker.topics import Topics
from seckill.config.sections import Server
from seckill.control.control import Control
from seckill.lane import fence
from seckill.lane.client import connect
from seckill.lane.keys import Lane
from seckill.models import Record
from tests.conftest import wait_until
from tests.helpers.door import OpenDoor, RunningDoor, Told
from tests.helpers.node import Node, running
from tests.helpers.sale import put_on_sale
from tests.helpers.servers import own_valkey, promote

LANE = Lane()
SOON_S = 30.0


@pytest.fixture
def tickets(door: RunningDoor, consumer: None, redis_client: "redis.Redis") -> list[str]:
    """The tickets of a winner and of a loser, both decided."""
    put_on_sale(redis_client, {1001: 1, 1002: 1})
    won, lost = door.click(1, {1001: 1}, wait=20), door.click(2, {1001: 1}, wait=20)
    assert [t.content["state"] for t in (won, lost)] == ["accepted", "refused"]
    return [won.content["ticket"], lost.content["ticket"]]


def all_wait(door: RunningDoor, tickets: list[str]) -> bool:
    """Whether nobody is told an answer, and all are told of the delay."""
    return all(_waits(door.answer(ticket)) for ticket in tickets)


def _waits(told: Told) -> bool:
    return told.status == 200 and (told.content["state"], told.content.get("delayed")) == (
        "waiting",
        True,
    )


def fenced(client: "redis.Redis", source: str) -> Callable[[], None]:
    """A fence, and what lifts it."""
    token = fence.new_token()
    assert fence.fence(client, LANE, fence.REWOUND, "a test", token=token)
    return lambda: _lift(client, token)


def _lift(client: "redis.Redis", token: fence.FenceToken) -> None:
    assert fence.lift(client, LANE, token)


def emptied(client: "redis.Redis", source: str) -> Callable[[], None]:
    """A Redis that has lost all, and gets it back."""
    kept = {key: client.dump(key) for key in client.scan_iter()}
    client.flushall()

    def back() -> None:
        # At once: the consumer may have fenced the empty Redis, and must not see half of it.
        pipe = client.pipeline(transaction=True)
        pipe.flushall()
        for key, value in kept.items():
            pipe.restore(key, 0, value)  # type: ignore[arg-type]
        pipe.execute()

    return back


def older(client: "redis.Redis", source: str) -> Callable[[], None]:
    """PostgreSQL has an order that this Redis has not decided."""
    row = Record.objects.create(
        user_id=7, activity_id=1, item_id=1001, quantity=1, cost_ms=1, status="success",
        ts=datetime.now(UTC), source=source, partition=0, offset=10_000, version=1,
    )  # fmt: skip
    return lambda: _remove(row)


def _remove(row: Record) -> None:
    row.delete()


@pytest.mark.parametrize("doubtful", [fenced, emptied, older])
def test_nothing_is_told_while_redis_is_doubtful(
    door: RunningDoor,
    tickets: list[str],
    redis_client: "redis.Redis",
    topics: Topics,
    node: Node,
    doubtful: Callable[["redis.Redis", str], Callable[[], None]],
) -> None:
    source = topics.source(node.server.topic)
    assert source
    repair = doubtful(redis_client, source)
    wait_until(lambda: all_wait(door, tickets), SOON_S, "all wait")
    # Neither is a sold-out sale shed: this click is taken, and decided after the repair.
    taken = door.click(3, {1001: 1})
    assert (taken.status, taken.content["state"], taken.content["delayed"]) == (
        202,
        "waiting",
        True,
    )
    repair()
    wait_until(lambda: not all_wait(door, tickets), SOON_S, "it is believed again")
    won, lost = (door.answer(ticket) for ticket in tickets)
    assert (won.content["state"], lost.content["state"]) == ("accepted", "refused")


def test_a_former_leader_is_not_believed_and_a_copy_of_the_leader_is(
    open_door: OpenDoor, server: Server, topics: Topics, tmp_path: Path, pg_dsn: str
) -> None:
    """Two real Valkeys: the replica is promoted and leads, while a door still reads the master of
    before.
    """
    with own_valkey(tmp_path) as first, own_valkey(tmp_path, replica_of=first) as second:
        master, replica = connect(first), connect(second)
        node = Node(server.model_copy(update={"redis_url": first}), topics, master)
        Control(master, "olga", LANE).set_stock(1, {1001: 5})
        here = open_door("--redis-url", first, SECKILL_TOPIC=server.topic)
        there = open_door("--redis-url", second, SECKILL_TOPIC=server.topic)
        with running(node.consumer()):
            ticket = here.click(1, wait=20).content["ticket"]
        assert here.answer(ticket).content["state"] == "accepted"
        wait_until(
            lambda: there.answer(ticket).content["state"] == "accepted", SOON_S, "a copy tells"
        )
        promote(replica)
        Control(replica, "olga", LANE).set_stock(1, {1001: 5})
        wait_until(lambda: all_wait(here, [ticket]), SOON_S, "the former leader tells nothing")
        assert there.answer(ticket, wait=20).content["state"] == "accepted"
        for client in (master, replica):
            client.close()
        node.close()

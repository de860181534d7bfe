"""One door for two lanes: each click goes into the lane of its activity, and a lane that is away,
fenced or not open holds its own buyers alone.
"""

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
import redis

from seckill.broker.topics import Topics
from seckill.lane.client import connect
from seckill.lane.keys import Lane
from seckill.telemetry.heartbeats import Kind, read_workers
from tests.conftest import PARTITIONS, wait_until
from tests.faults.command import stop
from tests.faults.lanes import Lanes
from tests.helpers.door import RunningDoor, open_door

NORTH = Lane.named("north")
# What both lanes sell in these tests.
UNITS = 20


@pytest.fixture
def north(two: Lanes) -> Iterator["redis.Redis"]:
    """The Redis of lane north."""
    with connect(two.urls["north"]) as client:
        yield client


@pytest.fixture
def selling(two: Lanes) -> Lanes:
    """Activity 1 in main and activity 2 in north, whose units are held, and their workers."""
    two.run("activity", "create", "1", "--stock", f"1001:{UNITS}")
    two.run(
        *("activity", "create", "2", "--stock", f"1001:{UNITS}", "--hold", "600"),
        *("--lane", "north"),
    )
    for worker in ("run_consumer", "run_log_worker", "run_settler"):
        two.start(worker, "--lane", "all")
    return two


def open_both(two: Lanes, *flags: str) -> RunningDoor:
    """A door of all lanes."""
    return open_door(two.manage, two.server, *flags, **two.variables)


@contextmanager
def hanging(client: "redis.Redis") -> Iterator[None]:
    """Redis does not answer, and its connections stay."""
    info: dict[str, int] = client.info("server")  # type: ignore[assignment]
    os.kill(info["process_id"], signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(info["process_id"], signal.SIGCONT)


def state_of(door: RunningDoor, ticket: str, wait: int = 0) -> str:
    return str(door.answer(ticket, wait).content["state"])


def bought(door: RunningDoor, user: int, activity: int, **more: str) -> dict[str, str]:
    """A click, and what became of it, however slow the machine is."""
    told = door.click(user, activity=activity, wait=25, **more).content

    def decided() -> dict[str, str] | None:
        nonlocal told
        if told["state"] == "waiting":
            told = door.answer(told["ticket"], 25).content
        return told if told["state"] != "waiting" else None

    return wait_until(decided, 120, "the click is decided")


def test_a_door_sells_in_both_lanes_and_each_is_told_by_its_own(
    selling: Lanes, redis_client: "redis.Redis", north: "redis.Redis"
) -> None:
    door = open_both(selling)
    assert "lanes main, north\n" in door.said
    assert [door.ask("GET", f"/v1/activities/{n}").status for n in (1, 2)] == [200, 200]
    nowhere = door.click(1, activity=9)
    assert (nowhere.status, nowhere.content["detail"]) == (
        404,
        "activity 9 is not on sale in lanes main, north, the only ones that this door serves",
    )
    told = {n: bought(door, 7, n) for n in (1, 2)}
    assert [told[n]["state"] for n in (1, 2)] == ["accepted", "held"]
    # A click that comes again is told in its lane.
    again = {n: bought(door, 8, n, key="the-same-key") for n in (1, 2)}
    for n in (1, 2):
        twin = bought(door, 8, n, key="the-same-key")
        assert twin["state"] == again[n]["state"] == told[n]["state"]
    back = door.ask("DELETE", f"/v1/tickets/{told[2]['ticket']}", None, {"Prefer": "wait=25"})
    assert (back.status, back.content["state"]) == (200, "cancelled")
    no_hold = door.ask("DELETE", f"/v1/tickets/{told[1]['ticket']}")
    assert (no_hold.status, no_hold.content["detail"]) == (
        409, "there is no hold to settle: this request is accepted",
    )  # fmt: skip

    # Each lane hears of its own clicks alone.
    def asked() -> list[int]:
        lanes = ((redis_client, Lane()), (north, NORTH))
        return [
            sum(w.counts["asked"] for w in read_workers(client, lane) if w.kind is Kind.DOOR)
            for client, lane in lanes
        ]

    wait_until(lambda: asked() == [3, 3], 20, "both lanes have heard of three clicks")
    orders = door.ask("GET", "/v1/me/orders")
    assert orders.status == 401
    assert door.stop().code == 0
    selling.prove(returned=1)


def test_a_lane_that_is_fenced_or_away_holds_its_own_buyers_alone(
    selling: Lanes, north: "redis.Redis"
) -> None:
    door = open_both(selling)
    early = {n: bought(door, 1, n)["ticket"] for n in (1, 2)}
    north.hset(NORTH.state, "fenced", "REWOUND by a test")
    wait_until(lambda: state_of(door, early[2]) == "waiting", 20, "north tells nothing")
    late = door.click(2, activity=2, wait=1)
    assert (late.status, late.content["state"], late.content["delayed"]) == (202, "waiting", True)
    assert bought(door, 2, 1)["state"] == "accepted"
    north.hdel(NORTH.state, "fenced")
    assert state_of(door, late.content["ticket"], 25) == "held"
    with hanging(north):
        wait_until(lambda: state_of(door, early[2]) == "waiting", 20, "north is away")
        taken = door.click(3, activity=2)
        assert (taken.status, taken.content["delayed"]) == (202, True)
        assert bought(door, 3, 1)["state"] == "accepted"
        assert door.ask("GET", "/readyz").status == 200
        assert door.ask("GET", "/v1/activities/2").status == 503
        # One that has never seen north asks PostgreSQL which lane a sale is of.
        another = open_both(selling, "--processes", "2")
        assert wait_until(lambda: _told(another, 4, 1) == "accepted", 30, "main is sold")
        twin = another.click(3, activity=2)
        assert (twin.status, twin.content["delayed"]) == (202, True)
        assert another.click(5, activity=9).status == 404
    for who, ticket in ((door, taken), (another, twin)):
        assert state_of(who, ticket.content["ticket"], 25) == "held"
    assert [each.stop().code for each in (door, another)] == [0, 0]
    selling.prove()


def _told(door: RunningDoor, user: int, activity: int) -> object:
    try:
        return door.click(user, activity=activity, wait=5).content.get("state")
    except OSError:
        # Its processes are not there yet.
        return None


def test_a_lane_without_a_topic_is_opened_when_it_is_there(two: Lanes, topics: Topics) -> None:
    for lane in two.names:
        two.create(lane, 5)
    topics.delete(two.topics["north"])
    consumers = two.start("run_consumer")
    door = open_both(two)
    wait_until(lambda: _told(door, 1, 1) == "accepted", 30, "main is sold")
    refused = door.click(1, activity=2)
    assert (refused.status, refused.content["taken"]) == (503, "no")
    assert f"there is no topic {two.topics['north']}" in refused.content["detail"]
    assert door.click(1, activity=9).status == 404
    topics.ensure(two.topics["north"], PARTITIONS)
    of_north = two.start("run_consumer", "--lane", "north")
    wait_until(lambda: _told(door, 2, 2) == "accepted", 60, "north is sold")
    ticket = bought(door, 3, 1)["ticket"]
    # What was opened anew is the whole door, and a ticket is good all the same.
    assert state_of(door, ticket) == "accepted"
    stop(consumers, of_north)
    assert door.stop().code == 0


def test_a_door_serves_the_activities_of_its_lane_alone(two: Lanes) -> None:
    for lane in two.names:
        two.create(lane, 5)
    two.start("run_consumer", "--lane", "north")
    door = open_door(two.manage, two.server, "--lane", "north", **two.variables)
    assert door.ask("GET", "/v1/activities/2").status == 200
    elsewhere = door.click(1, activity=1)
    assert elsewhere.status == 404
    assert elsewhere.content["detail"] == (
        "activity 1 is not on sale in lane north, the only one that this door serves"
    )
    assert bought(door, 1, 2)["state"] == "accepted"
    assert door.stop().code == 0

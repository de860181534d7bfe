"""Two lanes as processes: two topics, two groups, two Redis servers, one PostgreSQL. Both sell at
once, each is killed once, and both audits are clean.
"""

import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis

from seckill.broker.topics import Topics
from seckill.config.sections import Server
from seckill.models import Record
from tests.conftest import Manage, wait_until
from tests.faults.lanes import Lanes
from tests.helpers.commands import Ended
from tests.helpers.door import open_door
from tests.helpers.messages import send
from tests.helpers.sale import body
from tests.helpers.servers import own_valkey

# Units of activity 1 in main, and of activity 2 in north: fewer than are asked for.
UNITS, REQUESTS = {1: 700, 2: 900}, 6_000


@pytest.fixture
def two(
    manage: Manage, server: Server, topics: Topics, redis_client: "redis.Redis", tmp_path: Path
) -> Iterator[Lanes]:
    crowd = {
        "rate": 1_500,
        "requests": REQUESTS,
        "users": REQUESTS,
        "items": [1001],
        "quantity": 1,
    }
    with (
        own_valkey(tmp_path) as of_north,
        Lanes(manage, server, tmp_path, ("north",), {"north": of_north}, crowd) as two,
    ):
        yield two


def test_two_lanes_sell_at_once_and_each_is_killed_once(two: Lanes) -> None:
    two.create("main", UNITS[1])
    two.create("north", UNITS[2])
    told = two.run("sync_from_db", "--activity-id", "2", code=1)
    assert "activity 2 is in lane north, and this is lane main" in told
    listed = two.run("activity", "list")
    assert "activity 2 | lane north | on sale | version 1 | left 900" in listed
    assert "no lane 'nort'; known: main, north" in two.run("status", "--lane", "nort", code=2)

    consumers = [two.consumer(name) for name in two.names]
    log_workers = [two.log_worker(name) for name in two.names]
    crowds = [two.load(name) for name in two.names]
    wait_until(lambda: min(two.decided()) > 300, 60, "both decide")
    # The consumers of one lane and the log worker of the other.
    for victim in (consumers[1], log_workers[0]):
        for process in victim.group():
            process.send_signal(signal.SIGKILL)
        victim.process.wait()
    two.consumer("north")
    two.log_worker("main")
    for crowd in crowds:
        ended = Ended(crowd)
        assert ended.code == 0, ended.output
    # In the wrong topic: nobody gets it, and it is counted.
    send(two.server.brokers, two.server.topic, [body(999_999, activity_id=2)])
    wait_until(lambda: two.decided() == [REQUESTS + 1, REQUESTS], 120, "both have decided all")
    assert [two.look(lane).no_such_activity for lane in two.names] == [1, 0]

    report = two.prove()
    assert report["units_sold"] == sum(UNITS.values())
    assert [report["lanes"][lane]["units_sold"] for lane in two.names] == [700, 900]
    assert Record.objects.filter(activity_id=2).count() == UNITS[2]
    shown = two.listed()
    assert [(row["activities"], row["decided"]) for row in shown.values()] == [
        (1, REQUESTS + 1),
        (1, REQUESTS),
    ]
    address, password = place_and_password(two.urls["north"])
    assert shown["north"]["node"] == address
    assert password not in str(shown) + two.run("lanes")


def place_and_password(url: str) -> tuple[str, str]:
    """Of an address redis://:password@host:port/0."""
    user, _, place = url.removeprefix("redis://").partition("@")
    return place.partition("/")[0], user.rpartition(":")[2]


def test_a_door_serves_the_activities_of_its_lane_alone(two: Lanes) -> None:
    two.run("activity", "create", "1", "--stock", "1001:5")
    two.run("activity", "create", "2", "--stock", "1001:5", "--lane", "north")
    two.start("run_consumer", "--lane", "north")
    door = open_door(two.manage, two.server, "--lane", "north", **two.variables)
    assert door.ask("GET", "/v1/activities/2").status == 200
    elsewhere = door.click(1, activity=1)
    assert elsewhere.status == 404
    assert elsewhere.content["detail"] == (
        "activity 1 is not on sale in lane north, the only one that this door serves"
    )
    assert door.click(1, activity=2, wait=30).content["state"] == "accepted"
    assert door.stop().code == 0

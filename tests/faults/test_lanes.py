"""Two lanes as processes: two topics, two groups, two Redis servers, one PostgreSQL. Both sell at
once, each is killed once, and both audits are clean.
"""

import json
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis
import yaml

from seckill.broker.topics import Topics
from seckill.config.sections import Server
from seckill.lane.client import connect
from seckill.lane.keys import Lane
from seckill.lane.status import read_lane
from seckill.models import Record
from tests.conftest import PARTITIONS, Manage, wait_until
from tests.faults.two_lanes import TwoLanes
from tests.helpers.commands import Ended
from tests.helpers.door import open_door
from tests.helpers.messages import send
from tests.helpers.sale import body
from tests.helpers.servers import own_valkey

NORTH = Lane.named("north")
# Units of activity 1 in main, and of activity 2 in north: fewer than are asked for.
UNITS, REQUESTS = {1: 700, 2: 900}, 6_000


@pytest.fixture
def two(
    manage: Manage, server: Server, topics: Topics, redis_client: "redis.Redis", tmp_path: Path
) -> Iterator[TwoLanes]:
    profiles = {}
    for activity in UNITS:
        profile = {
            "rate": 1_500,
            "requests": REQUESTS,
            "users": REQUESTS,
            "items": [1001],
            "quantity": 1,
            "activities": {activity: 1},
        }
        path = tmp_path / f"crowd-{activity}.yaml"
        path.write_text(yaml.safe_dump(profile))
        profiles[activity] = str(path)
    with own_valkey(tmp_path) as of_north:
        two = TwoLanes(manage, server, tmp_path, of_north, profiles)
        topics.ensure(two.north_topic, PARTITIONS)
        yield two
        for command in two.commands:
            command.close()
        topics.delete(two.north_topic)


def test_two_lanes_sell_at_once_and_each_is_killed_once(
    two: TwoLanes, redis_client: "redis.Redis"
) -> None:
    two.run("activity", "create", "1", "--stock", f"1001:{UNITS[1]}")
    two.run("activity", "create", "2", "--stock", f"1001:{UNITS[2]}", "--lane", "north")
    told = two.run("sync_from_db", "--activity-id", "2", code=1)
    assert "activity 2 is in lane north, and this is lane main" in told
    listed = two.run("activity", "list")
    assert "activity 2 | lane north | on sale | version 1 | left 900" in listed
    assert "no lane 'nort'; known: main, north" in two.run("status", "--lane", "nort", code=2)

    flags = ("--status-interval", "0.5", "--session-timeout-ms", "6000")
    consumers = [two.start("run_consumer", *flags)]
    consumers.append(two.start("run_consumer", "--lane", "north", *flags))
    log_workers = [two.start("run_log_worker"), two.start("run_log_worker", "--lane", "north")]
    crowds = [two.load(1, "main"), two.load(2, "north")]
    with connect(two.variables["SECKILL_LANE_NORTH_REDIS_URL"]) as north:
        lanes = ((redis_client, Lane()), (north, NORTH))

        def decided() -> list[int]:
            return [read_lane(client, lane).decided for client, lane in lanes]

        wait_until(lambda: min(decided()) > 300, 60, "both decide")
        # The consumers of one lane and the log worker of the other.
        for victim in (consumers[1], log_workers[0]):
            for process in victim.group():
                process.send_signal(signal.SIGKILL)
            victim.process.wait()
        two.start("run_consumer", "--lane", "north", *flags)
        two.start("run_log_worker")
        for crowd in crowds:
            ended = Ended(crowd)
            assert ended.code == 0, ended.output
        # In the wrong topic: nobody gets it, and it is counted.
        send(two.server.brokers, two.server.topic, [body(999_999, activity_id=2)])
        wait_until(lambda: decided() == [REQUESTS + 1, REQUESTS], 120, "both have decided all")
        assert [read_lane(client, lane).no_such_activity for client, lane in lanes] == [1, 0]

    for lane in ("main", "north"):
        two.run("wait", "--until", "drained", "--timeout-s", "200", "--lane", lane)
    report = json.loads(two.run("audit", "--all", "--kafka", "--json"))
    assert report["clean"], report
    assert report["units_sold"] == report["records_stored"] == sum(UNITS.values())
    assert [report["lanes"][lane]["units_sold"] for lane in ("main", "north")] == [700, 900]
    assert Record.objects.filter(activity_id=2).count() == UNITS[2]
    shown = json.loads(two.run("lanes", "--json"))["lanes"]
    assert [(row["lane"], row["activities"], row["decided"]) for row in shown] == [
        ("main", 1, REQUESTS + 1),
        ("north", 1, REQUESTS),
    ]
    password = two.variables["SECKILL_LANE_NORTH_REDIS_URL"].split("@")[0].rpartition(":")[2]
    assert password not in str(shown) + two.run("lanes")


def test_a_door_serves_the_activities_of_its_lane_alone(two: TwoLanes) -> None:
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

"""Two lanes as processes: two topics, two groups, two Redis servers, one PostgreSQL."""

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis
import yaml

from seckill.broker.topics import Topics
from seckill.config.sections import Server
from seckill.lane.keys import Lane
from seckill.models import Record
from tests.conftest import PARTITIONS, Manage
from tests.faults.command import Command
from tests.helpers.commands import Ended
from tests.helpers.servers import own_valkey

NORTH = Lane.named("north")
# Units of activity 1 in main, and of activity 2 in north: fewer than are asked for.
UNITS, REQUESTS = {1: 700, 2: 900}, 6_000


class TwoLanes:
    """The commands of two lanes, as one configuration file has them."""

    def __init__(
        self, manage: Manage, server: Server, folder: Path, of_north: str, profiles: dict[int, str]
    ) -> None:
        self.manage, self.server, self.profiles = manage, server, profiles
        self.north_topic = f"{server.topic}-north"
        file = folder / "config.yaml"
        lane = {"topic": self.north_topic, "group_id": f"{server.group_id}-north"}
        file.write_text(yaml.safe_dump({"lanes": {"north": lane}}))
        self.variables = {
            "SECKILL_CONFIG": str(file),
            "SECKILL_TOPIC": server.topic,
            "SECKILL_GROUP_ID": server.group_id,
            # A password does not stand in the file.
            "SECKILL_LANE_NORTH_REDIS_URL": of_north,
        }
        self.commands: list[Command] = []

    def start(self, *arguments: str) -> Command:
        self.commands.append(Command(self.manage(*arguments, **self.variables)))
        return self.commands[-1]

    def run(self, *arguments: str, code: int = 0) -> str:
        ended = Ended(self.manage(*arguments, **self.variables))
        assert ended.code == code, ended.output
        return ended.output

    def wait_for_all(self) -> None:
        """Both topics are decided, and all is stored."""
        self.run("wait", "--until", "drained", "--timeout-s", "200", "--lane", "all")

    def prove(self) -> None:
        """All is sold, and the audit of both lanes is clean, Kafka's messages included."""
        report = json.loads(self.run("audit", "--all", "--kafka", "--json"))
        assert report["clean"], report
        assert report["units_sold"] == report["records_stored"] == sum(UNITS.values())
        assert [report["lanes"][lane]["units_sold"] for lane in ("main", "north")] == [700, 900]
        assert Record.objects.filter(activity_id=2).count() == UNITS[2]

    def load(self, activity: int, lane: str) -> "subprocess.Popen[str]":
        """A crowd that asks for one activity, in the topic of a lane."""
        return self.manage(
            *("run_loadgen", "--lane", lane, "--profile", self.profiles[activity], "--quiet"),
            **self.variables,
        )


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

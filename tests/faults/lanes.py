"""Commands of several lanes, as one configuration file has them: lane n sells activity n."""

import json
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from seckill.broker.topics import Topics
from seckill.config.lanes import redis_variable
from seckill.config.sections import Server
from seckill.formats.advice import in_lane
from seckill.formats.lanes import MAIN, list_of
from seckill.formats.redis_address import for_key
from seckill.lane.client import connect
from seckill.lane.keys import Lane
from seckill.lane.status import LaneStatus, read_lane
from tests.conftest import PARTITIONS, Manage
from tests.faults.command import Command
from tests.helpers.commands import Ended

# What two lanes have in most tests: units of main and of north, fewer than are asked for.
UNITS, REQUESTS = {"main": 700, "north": 900}, 6_000
CROWD = {
    "rate": 1_500,
    "requests": REQUESTS,
    "users": REQUESTS,
    "items": [1001],
    "quantity": 1,
}
# What consumers and log workers of a fault say, and how soon others have their partitions.
FLAGS = ("--status-interval", "0.5", "--session-timeout-ms", "6000")


class Lanes:
    """`others` are the lanes beside main; `redis_urls` those that have a Redis of their own."""

    def __init__(
        self,
        manage: Manage,
        server: Server,
        folder: Path,
        others: tuple[str, ...],
        redis_urls: Mapping[str, str],
        crowd: Mapping[str, Any],
    ) -> None:
        self.manage, self.server = manage, server
        self.names = (MAIN, *others)
        self.topics = {MAIN: server.topic, **{name: f"{server.topic}-{name}" for name in others}}
        entries = {
            name: {"topic": self.topics[name], "group_id": f"{server.group_id}-{name}"}
            for name in others
        }
        file = folder / "config.yaml"
        file.write_text(yaml.safe_dump({"lanes": entries}))
        self.urls = {
            name: for_key(redis_urls.get(name, server.redis_url), list_of(name))
            for name in self.names
        }
        self.variables = {
            "SECKILL_CONFIG": str(file),
            "SECKILL_TOPIC": server.topic,
            "SECKILL_GROUP_ID": server.group_id,
            "SECKILL_REDIS_URL": server.redis_url,
            # A password does not stand in the file.
            **{redis_variable(name): url for name, url in redis_urls.items()},
        }
        self.profiles = {}
        for name in self.names:
            path = folder / f"crowd-{name}.yaml"
            path.write_text(yaml.safe_dump({**crowd, "activities": {self.activity(name): 1}}))
            self.profiles[name] = str(path)
        self.commands: list[Command] = []

    def activity(self, lane: str) -> int:
        """The id of what this lane sells."""
        return self.names.index(lane) + 1

    def start(self, *arguments: str) -> Command:
        """Any command."""
        self.commands.append(Command(self.manage(*arguments, **self.variables)))
        return self.commands[-1]

    def consumer(self, lane: str) -> Command:
        """`run_consumer` of a lane."""
        return self.start("run_consumer", "--lane", lane, *FLAGS)

    def log_worker(self, lane: str) -> Command:
        """`run_log_worker` of a lane."""
        return self.start("run_log_worker", "--lane", lane)

    def run(self, *arguments: str, code: int = 0) -> str:
        """A command to its end; what it said."""
        ended = Ended(self.manage(*arguments, **self.variables))
        assert ended.code == code, ended.output
        return ended.output

    def create(self, lane: str, units: int) -> None:
        """Put the lane's activity on sale."""
        number = str(self.activity(lane))
        self.run("activity", "create", number, "--stock", f"1001:{units}", "--lane", lane)

    def load(self, lane: str) -> "subprocess.Popen[str]":
        """A crowd that asks for the activity of this lane, in its topic."""
        return self.manage(
            *("run_loadgen", "--lane", lane, "--profile", self.profiles[lane], "--quiet"),
            **self.variables,
        )

    def look(self, lane: str) -> LaneStatus:
        """A lane now. Raises RedisAway."""
        with connect(self.urls[lane]) as client:
            return read_lane(client, Lane.named(lane))

    def decided(self) -> list[int]:
        """Requests decided so far in each lane. Raises RedisAway."""
        return [self.look(name).decided for name in self.names]

    def listed(self) -> dict[str, dict[str, Any]]:
        """What `manage.py lanes` says of each."""
        rows = json.loads(self.run("lanes", "--json"))["lanes"]
        return {row["lane"]: row for row in rows}

    def wait_for_all(self) -> None:
        """All topics are decided, and all is stored."""
        self.run("wait", "--until", "drained", "--timeout-s", "200", "--lane", "all")

    def prove(self, returned: int = 0) -> dict[str, Any]:
        """Wait until all is decided and stored; the audit of all lanes, which is clean.

        `returned`: records whose one unit came back.
        """
        self.wait_for_all()
        report: dict[str, Any] = json.loads(self.run("audit", "--all", "--kafka", "--json"))
        assert report["clean"], report
        assert report["units_sold"] == report["records_stored"] - returned
        return report

    def __enter__(self) -> "Lanes":
        with Topics(self.server, 60) as topics:
            for name in self.names:
                topics.ensure(self.topics[name], PARTITIONS)
        return self

    def __exit__(self, *_: object) -> None:
        for command in self.commands:
            command.close()
            print("--- output of", *command.arguments)
            print(command.output)
            # What a lane's worker says is to be run works as it stands there.
            if "--lane" in command.arguments:
                lane = command.arguments[command.arguments.index("--lane") + 1]
                assert in_lane(command.output, lane) == command.output
        with Topics(self.server, 60) as topics:
            for name in self.names[1:]:
                topics.delete(self.topics[name])

"""The commands of two lanes, as one configuration file has them."""

import subprocess
from pathlib import Path

import yaml

from seckill.config.sections import Server
from tests.conftest import Manage
from tests.faults.command import Command
from tests.helpers.commands import Ended


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

    def load(self, activity: int, lane: str) -> "subprocess.Popen[str]":
        """A crowd that asks for one activity, in the topic of a lane."""
        return self.manage(
            *("run_loadgen", "--lane", lane, "--profile", self.profiles[activity], "--quiet"),
            **self.variables,
        )

"""What tests of commands and faults need: a sale on real services, commands that run, a verdict.

Owns no assertion about a single fault; `Sale.prove` is the one end of all of them.
"""

import subprocess
import sys

import redis
from django.db import connection

from devstack.stack import Stack
from seckill.audit.audit import Report, audit
from seckill.config.layers import BASE_DIR
from seckill.config.sections import Server
from seckill.control.control import Control
from seckill.errors import RedisAway
from seckill.lane.keys import Lane, position_field
from seckill.lane.status import LaneStatus, read_lane
from seckill.log_worker.storage import Storage
from seckill.log_worker.worker import LogWorker
from seckill.models import Record
from seckill.process.shutdown import Shutdown
from tests.conftest import Manage, wait_until
from tests.faults.buyers import MALFORMED_EACH, Buyers
from tests.faults.command import Command

# More than all tests ask for, and less: one item lasts, one sells out in the middle.
PLENTY, SCARCE = 10_000_000, 2_000
STOCK = {1001: PLENTY, 1002: SCARCE}
STOCK_FLAG = ",".join(f"{item}:{units}" for item, units in STOCK.items())


class Sale(Buyers):
    """A sale on the session's services: its buyers, its commands, and the proof at its end."""

    def __init__(
        self,
        server: Server,
        stack: Stack,
        client: "redis.Redis",
        manage: Manage,
        environment: dict[str, str],
    ) -> None:
        super().__init__(server)
        self.stack = stack
        self.redis = client
        self.manage = manage
        self.environment = environment
        self.kafka_client = "kafka-python"
        self.dead: list[str] = []
        self._commands: list[Command] = []
        self._programs: list[subprocess.Popen[str]] = []

    def start(self, *arguments: str, **variables: str) -> Command:
        """Any command."""
        # kafka-python leaves its sockets to the garbage collector while Kafka is away.
        warnings = self.environment["PYTHONWARNINGS"] + ",ignore:unclosed:ResourceWarning"
        command = Command(self.manage(*arguments, **{"PYTHONWARNINGS": warnings, **variables}))
        self._commands.append(command)
        return command

    def consumer(self, *flags: str, stock: bool = True) -> Command:
        """`run_consumer` on this sale's topic, with a status line twice a second."""
        name = self.server.topic
        return self.start(
            "run_consumer",
            *("--topic", name, "--group-id", self.server.group_id),
            *("--kafka-client", self.kafka_client, "--status-interval", "0.5"),
            *(("--stock", STOCK_FLAG) if stock else ()),
            *flags,
        )

    def log_worker(self, *flags: str) -> Command:
        """`run_log_worker`, with a status line twice a second."""
        return self.start("run_log_worker", "--status-interval", "0.5", *flags)

    def run_module(self, module: str, *arguments: str, **variables: str) -> Command:
        """A program of these tests, `tests.faults.<module>`, in the place of a command."""
        process = subprocess.Popen(
            [sys.executable, "-m", f"tests.faults.{module}", *arguments],
            env={**self.environment, **variables},
            cwd=BASE_DIR,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        self._programs.append(process)
        command = Command(process)
        self._commands.append(command)
        return command

    def load_stock(self) -> None:
        """Put on sale what `consumer` does, without one."""
        Control(self.redis, "test", Lane()).set_stock(1, STOCK)

    def look(self) -> LaneStatus:
        """The lane now."""
        return read_lane(self.redis, Lane())

    def decided(self) -> int:
        """Requests decided so far; 0 while Redis is away."""
        try:
            return self.look().decided
        except RedisAway:
            return 0

    def stored(self) -> int:
        """Records that the log worker has taken off the list so far; 0 while Redis is away."""
        try:
            lane = self.look()
        except RedisAway:
            return 0
        return sum(a.total_records for a in lane.activities.values()) - lane.waiting

    def lag(self, ends: dict[int, int]) -> int:
        """Requests below these ends of the partitions that are not decided; -1 without Redis."""
        try:
            positions = self.look().positions
        except RedisAway:
            return -1
        return sum(
            max(0, end - positions.get(position_field(self.source, partition), 0))
            for partition, end in ends.items()
        )

    def wait_decided(self, more_than: int, timeout_s: float = 30) -> int:
        """Wait until more than so many are decided; how many are."""
        wait_until(lambda: self.decided() > more_than, timeout_s, f"{more_than} are decided")
        return self.decided()

    def wait_all_decided(self, timeout_s: float = 45) -> None:
        """Wait until the positions stand at the end of every partition."""
        wait_until(lambda: self.lag(self.ends()) == 0, timeout_s, "all that was sent is decided")

    def wait_all_stored(self, timeout_s: float = 30) -> None:
        """Wait until nothing is left in the list. A log worker must be running."""
        wait_until(lambda: self.look().waiting == 0, timeout_s, "all records are in PostgreSQL")

    def drain_records(self) -> None:
        """Store what waits, in this process."""
        storage = Storage(self.environment["SECKILL_PG_DSN"])
        LogWorker(self.redis, storage, Shutdown()).run(drain=True)
        storage.close()

    def finish(self) -> Report:
        """Decide and store what is left, and prove it.

        In a new group, which begins at the start: nobody waits for the sessions of the dead, and
        what was decided before comes again.
        """
        command = self.consumer("--drain", "--group-id", f"{self.server.group_id}-next")
        assert command.ended(40) == 0
        self.drain_records()
        return self.prove()

    def again(self) -> None:
        """After a service was killed: forget this process's own broken connections."""
        self.redis.connection_pool.disconnect()
        connection.close()

    def kill(self, service: str) -> None:
        """kill -9 of one of the servers."""
        self.stack.kill(service)
        self.dead.append(service)

    def revive(self, service: str) -> None:
        """Start it again on its data, and wait for its answer."""
        self.stack.start(service)
        self.dead.remove(service)
        self.again()

    def prove(self, skipped: int = 0, clicks: int = 0) -> Report:
        """The end of every fault: the audit is clean, and every message has one outcome.

        `clicks` came through a door besides what this sale's buyers have sent.
        """
        self.flush()
        report = audit(self.redis, Lane())
        assert report.clean, report.findings
        lane = self.look()
        assert lane.waiting == 0
        assert lane.dead == 0
        # A skipped offset is a request that nobody decided.
        assert lane.skipped == skipped
        delivered = self.delivered + clicks
        assert report.messages == delivered - skipped == sum(report.outcomes.values())
        if not skipped:
            assert report.outcomes["INVALID"] == self.sent // MALFORMED_EACH
        rows = Record.objects.count()
        assert rows == report.records_stored
        assert rows == sum(a.total_records for a in lane.activities.values())
        assert Record.objects.values("user_id").distinct().count() == report.outcomes["ACCEPTED"]
        return report

    def close(self) -> None:
        """End all commands, and Kafka's part of the sale that the fixtures do not know."""
        for command in self._commands:
            command.close()
            print(f"--- exit code {command.process.poll()}, output of", *command.arguments)
            print(command.output)
        for program in self._programs:
            program.communicate()
        for service in list(self.dead):
            self.revive(service)
        self.leave()

"""What tests of commands and faults need: a sale on real services, commands that run, a verdict.

Owns no assertion about a single fault; `Sale.prove` is the one end of all of them.
"""

import contextlib
import json
import os
import re
import signal
import subprocess
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field

import psutil
import redis
from confluent_kafka import Consumer, Producer, TopicPartition
from django.db import connection

from devstack.stack import Stack
from seckill.audit import Report, audit
from seckill.broker.topics import Topics
from seckill.dead_letters import dead_topic
from seckill.errors import RedisAway
from seckill.keys import position_field
from seckill.log_worker import LogWorker
from seckill.models import Record
from seckill.shutdown import Shutdown
from seckill.stats import LaneStatus, read_lane
from seckill.storage import Storage
from seckill_project.config import Server
from tests.conftest import Manage, wait_until

# More than all tests ask for, and less: one item lasts, one sells out in the middle.
PLENTY, SCARCE = 10_000_000, 2_000
STOCK = {1001: PLENTY, 1002: SCARCE}
STOCK_FLAG = ",".join(f"{item}:{units}" for item, units in STOCK.items())
# Every so many requests one is no request at all.
MALFORMED_EACH = 701


def request(number: int) -> bytes:
    """The body of request `number`: one or two items, sometimes a broken one."""
    if number % MALFORMED_EACH == 0:
        return b'{"user_id": %d, "items": ' % number
    items = {"1001": 1, "1002": 2} if number % 5 == 0 else {"1001": 1 + number % 3}
    now_ms = time.time_ns() // 1_000_000
    return json.dumps(
        {"user_id": number, "items": items, "request_initiation_time": now_ms}
    ).encode()


class Command:
    """A running `manage.py ...`: its output is read while it runs, line by line."""

    def __init__(self, process: "subprocess.Popen[str]") -> None:
        self.process = process
        self.lines: list[str] = []
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.lines.append(line.rstrip("\n"))

    @property
    def arguments(self) -> list[str]:
        """As after `manage.py`."""
        assert isinstance(self.process.args, list)
        return [str(word) for word in self.process.args[2:]]

    @property
    def pid(self) -> int:
        """Of the command itself, the parent of its workers."""
        return self.process.pid

    @property
    def output(self) -> str:
        """All that it said so far."""
        return "\n".join(self.lines)

    def count(self, pattern: str) -> int:
        """Lines that hold the pattern."""
        return sum(1 for line in list(self.lines) if re.search(pattern, line))

    def wait_for(self, pattern: str, timeout_s: float = 15) -> str:
        """The first line that holds the pattern."""

        def found() -> str | None:
            return next((line for line in list(self.lines) if re.search(pattern, line)), None)

        def settled() -> str | bool | None:
            return found() or (self.process.poll() is not None and not self._reader.is_alive())

        wait_until(settled, timeout_s, f"a line with {pattern!r}")
        line = found()
        assert line, f"ended with {self.process.poll()} and no line with {pattern!r}"
        return line

    def ended(self, timeout_s: float = 20) -> int:
        """Its exit code, once it and everything that shares its output are gone."""
        wait_until(lambda: self.process.poll() is not None, timeout_s, "the command ends")
        wait_until(lambda: not self._reader.is_alive(), 15, "nobody holds its output")
        code = self.process.poll()
        assert code is not None
        return code

    def tell(self, number: signal.Signals) -> None:
        """Signal the command alone, as `kill` does."""
        self.process.send_signal(number)

    def tell_group(self, number: signal.Signals) -> None:
        """Signal the command and its children at once, as a terminal does."""
        os.killpg(self.pid, number)

    def consumers(self) -> list[psutil.Process]:
        """The child processes that consume."""
        with contextlib.suppress(psutil.NoSuchProcess):
            return [
                child
                for child in psutil.Process(self.pid).children()
                if any("spawn_main" in word for word in child.cmdline())
            ]
        return []

    def cpu_s(self) -> float:
        """Seconds of processor time that its consumers have used so far."""
        used = 0.0
        for child in self.consumers():
            with contextlib.suppress(psutil.NoSuchProcess):
                times = child.cpu_times()
                used += times.user + times.system
        return used

    def group(self) -> list[psutil.Process]:
        """Every process of the command that still runs, itself included."""
        members = []
        for process in psutil.process_iter():
            with contextlib.suppress(psutil.Error, ProcessLookupError):
                alive = process.status() != psutil.STATUS_ZOMBIE
                if alive and os.getpgid(process.pid) == self.pid:
                    members.append(process)
        return members

    def close(self) -> None:
        """Kill what is left of it, and read its output to the end."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.pid, signal.SIGKILL)
        self.process.wait()
        self._reader.join(10)


class Load:
    """Buyers that go on sending, so many a second, whatever breaks, until they are told to stop."""

    def __init__(self, sale: "Sale", rate: int) -> None:
        self._sale, self._rate = sale, rate
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> "Load":
        self._thread.start()
        return self

    def __exit__(self, failed: object, *_: object) -> None:
        self._stop.set()
        self._thread.join(60)
        if failed is None:
            self._sale.flush()

    def _run(self) -> None:
        began, sent = time.monotonic(), 0
        while not self._stop.wait(0.02):
            due = int((time.monotonic() - began) * self._rate) - sent
            self._sale.send(due)
            sent += due


@dataclass
class Sale:
    """A sale on the session's services: its topic, its commands, and the proof at its end."""

    server: Server
    stack: Stack
    redis: "redis.Redis"
    manage: Manage
    environment: dict[str, str]
    kafka_client: str = "kafka-python"

    source: str = ""
    sent: int = 0
    refused: list[str] = field(default_factory=list)
    delivered: int = 0
    _dead: list[str] = field(default_factory=list)
    _commands: list[Command] = field(default_factory=list)
    _producer: Producer | None = None

    def open(self, partitions: int) -> None:
        """Make the topic."""
        with Topics(self.server) as topics:
            topics.ensure(self.server.topic, partitions)
            self.source = str(topics.source(self.server.topic))

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

    def send(self, count: int) -> None:
        """Send the next `count` requests; whether they arrived is known after `flush`."""
        if self._producer is None:
            self._producer = Producer(
                {
                    "bootstrap.servers": self.server.brokers,
                    "enable.idempotence": True,
                    "linger.ms": 5,
                    "sticky.partitioning.linger.ms": 10,
                    "reconnect.backoff.max.ms": 500,
                    "log_level": 0,
                    "on_delivery": self._on_delivery,
                }
            )
        for _ in range(count):
            self.sent += 1
            while True:
                try:
                    self._producer.produce(self.server.topic, request(self.sent))
                    break
                except BufferError:
                    self._producer.poll(0.05)
        self._producer.poll(0)

    def flush(self) -> None:
        """Wait until Kafka has acknowledged all that was sent."""
        if self._producer is not None:
            self._producer.flush(60)
        assert not self.refused, self.refused[0]
        assert self.delivered == self.sent

    def backlog(self, count: int) -> None:
        """Put requests into the topic that nobody reads yet."""
        self.send(count)
        self.flush()

    def load(self, rate: int = 4_000) -> Load:
        """Go on sending inside a `with`."""
        return Load(self, rate)

    def look(self) -> LaneStatus:
        """The lane now."""
        return read_lane(self.redis)

    def decided(self) -> int:
        """Requests decided so far; 0 while Redis is away."""
        try:
            return self.look().decided
        except RedisAway:
            return 0

    def ends(self) -> dict[int, int]:
        """{partition: requests that it holds}."""
        with self._questions() as asker:
            partitions = (
                asker.list_topics(self.server.topic, 10).topics[self.server.topic].partitions
            )
            return {
                number: asker.get_watermark_offsets(TopicPartition(self.server.topic, number), 10)[
                    1
                ]
                for number in partitions
            }

    def committed(self) -> dict[int, int]:
        """{partition: the offset that the group has committed}, without those that have none."""
        with self._questions() as asker:
            wanted = [TopicPartition(self.server.topic, number) for number in self.ends()]
            return {
                each.partition: each.offset
                for each in asker.committed(wanted, timeout=10)
                if each.offset >= 0
            }

    @contextlib.contextmanager
    def _questions(self) -> Iterator[Consumer]:
        """A client that only asks. kafka-python would leave sockets behind while Kafka is away."""
        asker = Consumer(
            {
                "bootstrap.servers": self.server.brokers,
                "group.id": self.server.group_id,
                "log_level": 0,
            }
        )
        try:
            yield asker
        finally:
            asker.close()

    def wait_decided(self, more_than: int, timeout_s: float = 30) -> int:
        """Wait until more than so many are decided; how many are."""
        wait_until(lambda: self.decided() > more_than, timeout_s, f"{more_than} are decided")
        return self.decided()

    def wait_all_decided(self, timeout_s: float = 45) -> None:
        """Wait until the positions stand at the end of every partition."""
        wait_until(lambda: self._lag() == 0, timeout_s, "all that was sent is decided")

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
        all that was decided before comes a second time.
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
        self._dead.append(service)

    def revive(self, service: str) -> None:
        """Start it again on its data, and wait for its answer."""
        self.stack.start(service)
        self._dead.remove(service)
        self.again()

    def prove(self, skipped: int = 0) -> Report:
        """The end of every fault: the audit is clean, and every message has one outcome."""
        self.flush()
        report = audit(self.redis)
        assert report.clean, report.findings
        lane = self.look()
        assert lane.waiting == 0
        assert lane.dead == 0
        # A skipped offset is a request that nobody decided.
        assert lane.skipped == skipped
        assert report.messages == self.delivered - skipped == sum(report.outcomes.values())
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
        for service in list(self._dead):
            self.revive(service)
        if self._producer is not None:
            self._producer.purge()
            self._producer.close()
        with Topics(self.server) as topics:
            for topic in (self.server.topic, dead_topic(self.server.topic)):
                topics.delete(topic)

    def _on_delivery(self, error: object, message: object) -> None:
        if error is None:
            self.delivered += 1
        else:
            self.refused.append(str(error))

    def _lag(self) -> int:
        try:
            positions = self.look().positions
        except RedisAway:
            return -1
        return sum(
            end - positions.get(position_field(self.source, partition), 0)
            for partition, end in self.ends().items()
        )

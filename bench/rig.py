"""What every scenario needs: a clean sale, a backlog, measured workers, the audit.

Owns the services of the run and how rates are measured: from the first reading that shows work to
the first that shows all of it, so that the start of a worker does not count.
"""

import contextlib
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import psutil
import psycopg
import redis
import yaml

from bench.figures import AuditFailed
from devstack.crew import Crew
from devstack.endpoints import NAMES, DevstackError
from devstack.stack import Stack
from loadgen.buyers import Buyers
from loadgen.profile_file import parse_profile
from seckill.audit.audit import audit
from seckill.broker.topics import Topics
from seckill.config.sections import Server
from seckill.control.control import Control
from seckill.formats.outcomes import DEFAULT_ACTIVITY
from seckill.lane.keys import DEFAULT_LIST, Lane
from seckill.lane.status import read_lane

# Seconds between two readings.
LOOK_S = 0.02
# The most seconds for one stage.
LIMIT_S = 900.0
SEED = 1
CLIENTS = ("confluent-kafka", "kafka-python")
UNLIMITED = dict.fromkeys(range(1001, 1006), 10**9)


@dataclass(frozen=True)
class Size:
    """How much is done. `repeats` is for figures that are compared."""

    requests: int = 500_000
    baseline: int = 20_000
    repeats: int = 3
    flow_s: float = 60.0
    latency_s: float = 20.0
    idle_s: float = 10.0
    firsts: int = 20
    backlogs: tuple[int, ...] = (100_000, 500_000, 1_000_000)
    rows: tuple[int, ...] = (0, 1_000_000)
    buyers: tuple[int, ...] = (0, 100_000, 1_000_000)
    items: tuple[int, ...] = (1, 10, 100, 1_000)
    items_a_request: tuple[int, ...] = (1, 5, 50)
    partitions: tuple[int, ...] = (1, 4, 16, 64)
    # At the door: clicks of a figure, and buyers who wait.
    clicks: int = 20_000
    waiting: int = 5_000


DEFAULT = Size()
QUICK = Size(
    requests=200_000,
    baseline=5_000,
    repeats=1,
    flow_s=6.0,
    latency_s=5.0,
    idle_s=3.0,
    firsts=5,
    backlogs=(50_000, 200_000),
    rows=(0, 200_000),
    buyers=(0, 100_000),
    items=(1, 1_000),
    items_a_request=(1, 50),
    partitions=(1, 16),
    clicks=5_000,
    waiting=1_000,
)
FULL = replace(
    DEFAULT,
    backlogs=(100_000, 1_000_000, 5_000_000),
    rows=(0, 1_000_000, 10_000_000),
)


@dataclass
class Run:
    """A consumer on a backlog: its rate, memory and CPU use."""

    rate: float
    memory_mb: float
    busy: Mapping[str, float]

    @property
    def cpu_us(self) -> float:
        """Microseconds of CPU of Valkey and consumers for a decision. Raises DevstackError."""
        if not self.rate:
            raise DevstackError("all was decided between two looks: give more --requests")
        return 1e6 * (self.busy["valkey"] + self.busy["consumer"]) / self.rate


@dataclass
class Rig:
    """One set of services for the whole run."""

    server: Server
    client: "redis.Redis"
    crew: Crew
    stack: Stack
    topics: Topics
    size: Size
    say: Callable[[str], None]
    # The lane whose workers are measured, and its only activity.
    lane: Lane = field(default_factory=Lane)
    activity: int = DEFAULT_ACTIVITY
    # False: PostgreSQL has other lanes' sales, and another rig empties it.
    alone: bool = True

    _backlogs: dict[tuple[str, int, int], str] = field(default_factory=dict)

    def clean(self, stock: Mapping[int, int], **fields: Any) -> None:
        """Empty Redis and PostgreSQL, put this stock on sale, and set `fields` of the activity."""
        self.crew.stop()
        self.client.flushall()
        self.client.bgrewriteaof()
        while self.client.info("persistence")["aof_rewrite_in_progress"]:
            time.sleep(LOOK_S)
        if self.alone:
            self._empty_tables()
        control = Control(self.client, "bench", self.lane)
        if self.lane != Lane():
            control.create(self.activity)
        control.set_stock(self.activity, stock)
        if fields:
            control.configure_fields(self.activity, **fields)

    def _empty_tables(self) -> None:
        with psycopg.connect(self.server.pg_dsn, autocommit=True) as database:
            database.execute(
                "TRUNCATE seckill_record, seckill_settlement, seckill_latepayment, seckill_item,"
                " seckill_activity, seckill_stockchange"
                " CASCADE"
            )
            database.execute("CHECKPOINT")

    def audit(self) -> None:
        """Audit the sale. Raises AuditFailed."""
        report = audit(self.client, self.lane)
        if not report.clean:
            raise AuditFailed(f"{report.findings[0].invariant}: {report.findings[0].explanation}")

    def bodies(self, profile: Mapping[str, Any], requests: int) -> list[bytes | None]:
        """What the load generator would send now."""
        buyers = Buyers(parse_profile({"rate": 1, **profile}, "bench"), requests, SEED)
        return buyers.draw([time.time_ns() // 1_000_000] * requests)

    def backlog(
        self, name: str, profile: Mapping[str, Any], requests: int, partitions: int = 4
    ) -> str:
        """A topic with so many requests of this kind, created once per run."""
        topic = self._backlogs.get((name, requests, partitions))
        if topic is None:
            topic = f"bench-{name}-{requests}-{partitions}"
            self.say(f"a backlog of {requests:,} requests: {name}")
            self.topics.ensure(topic, partitions)
            self.crew.start("run_loadgen", *self.load(topic, profile, requests, 1_000_000))
            self.await_end("run_loadgen")
            self._backlogs[name, requests, partitions] = topic
        return topic

    def load(
        self, topic: str, profile: Mapping[str, Any], requests: int, rate: float, *more: str
    ) -> list[str]:
        """The command of a load generator on the faster client."""
        file = Path(self.crew.folder) / f"{topic}.yaml"
        file.write_text(yaml.safe_dump({"rate": rate, "users": requests, **profile}))
        return [
            *("run_loadgen", "--topic", topic, "--kafka-client", "confluent-kafka", "--quiet"),
            *("--profile", str(file), "--requests", str(requests), "--seed", str(SEED), *more),
        ]

    def section(self, topic: str, client: str) -> Server:
        """Section `server` for a new consumer group on this topic."""
        group = f"bench-{time.monotonic_ns()}"
        return self.server.model_copy(
            update={"topic": topic, "kafka_client": client, "group_id": group}
        )

    def start_consumer(self, section: Server, consumers: int = 1, *more: str) -> None:
        """Start `run_consumer` as a user would."""
        self.crew.start(
            "run_consumer",
            *("run_consumer", "--lane", self.lane.name),
            *("--topic", section.topic, "--group-id", section.group_id),
            *("--kafka-client", section.kafka_client, "--consumers", str(consumers)),
            *("--status-interval", "3600", *more),
        )

    def decide(self, topic: str, client: str, requests: int, consumers: int = 1, *more: str) -> Run:
        """Let consumers decide a backlog on a clean sale, then stop them."""
        source = f"{self.topics.source(topic)}:".encode()
        self.start_consumer(self.section(topic, client), consumers, *more)
        looks: list[tuple[float, int]] = []
        memory = 0
        with self.busy() as busy:
            while not looks or looks[-1][1] < requests:
                time.sleep(LOOK_S)
                stored: dict[bytes, bytes] = self.client.hgetall(self.lane.positions)  # type: ignore[assignment]
                done = sum(int(n) for name, n in stored.items() if name.startswith(source))
                if not done:
                    busy.begin()
                looks.append((time.monotonic(), done))
                if len(looks) % 10 == 0:
                    busy.look()
                    memory = max([memory, *(p.memory_info().rss for p in self._consumers())])
                self.check_time(looks[0][0], "run_consumer")
            busy.look()
        memory = max([memory, *(p.memory_info().rss for p in self._consumers())])
        self.crew.stop()
        return Run(rate_of(looks), memory / 1e6, busy.cores)

    def store(self, waiting: int, *more: str) -> tuple[float, Mapping[str, float]]:
        """(rows/s, cores in use) of a log worker that drains the list."""
        self.crew.start("run_log_worker", "run_log_worker", "--drain", *more)
        looks: list[tuple[float, int]] = []
        with self.busy() as busy:
            while not looks or looks[-1][1] < waiting:
                time.sleep(LOOK_S)
                done = waiting - self.client.llen(DEFAULT_LIST)
                if not done:
                    busy.begin()
                looks.append((time.monotonic(), done))
                if len(looks) % 10 == 0:
                    busy.look()
                self.check_time(looks[0][0], "run_log_worker")
            busy.look()
        self.await_end("run_log_worker")
        return rate_of(looks), busy.cores

    def decided(self) -> int:
        """All outcomes so far."""
        return read_lane(self.client, self.lane).decided

    @contextmanager
    def busy(self) -> Iterator["Busy"]:
        """The CPU use of services and workers during the block."""
        yield Busy(self)

    def processes(self) -> dict[str, list[psutil.Process]]:
        """Services and workers by name, with their children."""
        pids = {name: pid for name in NAMES if (pid := self.stack.pid(name)) is not None}
        pids |= {name.removeprefix("run_"): self.crew.pid(name) for name in self.crew.running()}
        found = {}
        for name, pid in pids.items():
            try:
                root = psutil.Process(pid)
                found[name] = [root, *root.children(recursive=True)]
            except psutil.Error:
                continue
        return found

    def await_end(self, name: str) -> None:
        """Wait until a worker has ended with code 0. Raises DevstackError."""
        began = time.monotonic()
        while name in self.crew.running():
            self.check_time(began, name)
            time.sleep(LOOK_S)
        for ended, code in self.crew.ended().items():
            if code != 0:
                raise DevstackError(f"{ended} ended with {code}; see {self.crew.log(ended)}")

    def check_time(self, began: float, name: str) -> None:
        """Raises DevstackError after LIMIT_S, or if a worker has failed."""
        if time.monotonic() - began > LIMIT_S:
            raise DevstackError(f"not done after {LIMIT_S:.0f} s: {_end_of(self.crew.log(name))}")
        for ended, code in self.crew.ended().items():
            if code != 0:
                raise DevstackError(f"{ended} ended with {code}: {_end_of(self.crew.log(ended))}")

    def _consumers(self) -> list[psutil.Process]:
        try:
            parent = psutil.Process(self.crew.pid("run_consumer"))
            return [p for p in parent.children() if "spawn_main" in " ".join(p.cmdline())]
        except (psutil.Error, KeyError):
            return []


@dataclass
class Busy:
    """Cores in use by name, between `begin` (or creation) and the last `look`.

    Counted per process: the CPU use of a process that has ended stays counted.
    """

    rig: Rig
    cores: dict[str, float] = field(default_factory=dict)
    _began: float = 0.0
    _before: dict[tuple[str, int], float] = field(default_factory=dict)
    _seen: dict[tuple[str, int], float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.begin()

    def begin(self) -> None:
        """Count from here."""
        self._seen = {}
        self.look()
        self._began, self._before = time.monotonic(), dict(self._seen)

    def look(self) -> None:
        """Count to here."""
        for name, processes in self.rig.processes().items():
            for process in processes:
                with contextlib.suppress(psutil.Error):
                    times = process.cpu_times()
                    self._seen[name, process.pid] = times.user + times.system
        seconds = max(time.monotonic() - self._began, LOOK_S)
        self.cores = {}
        for (name, pid), used in self._seen.items():
            share = (used - self._before.get((name, pid), 0.0)) / seconds
            self.cores[name] = self.cores.get(name, 0.0) + share


def rate_of(looks: list[tuple[float, int]]) -> float:
    """Work per second, from the first reading that shows work to the first that shows all."""
    total = looks[-1][1]
    began = next((look for look in looks if look[1] > 0), looks[0])
    ended = next(look for look in looks if look[1] == total)
    return (total - began[1]) / max(ended[0] - began[0], LOOK_S)


def _end_of(log: Path) -> str:
    lines = log.read_text(encoding="utf-8", errors="replace").splitlines()
    return " | ".join(lines[-3:])

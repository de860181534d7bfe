"""The benchmark: each stage from a backlog, on services of its own that go afterwards.

Owns what is measured and how. A rate is only told after the audit of its own run was clean. Rates
are taken between the first and the last look that saw work being done: starting does not count.
"""

import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import psutil
import redis
from django.core.management import call_command

from devstack.crew import Crew
from devstack.endpoints import DevstackError
from seckill.audit import audit
from seckill.broker.topics import Topics
from seckill.control import Control
from seckill.keys import DEFAULT_LIST
from seckill.stats import read_lane
from seckill_project.config import Server

# Seconds between two looks.
LOOK_S = 0.05
# Seconds for one stage.
LIMIT_S = 600.0
# Seconds over which workers with nothing to do are watched.
IDLE_S = 10.0
CLIENTS = ("kafka-python", "confluent-kafka")
# Every request can win: five items, five units a request at most.
UNITS_AN_ITEM = 10**9


@dataclass(frozen=True)
class Figure:
    """One measured figure; `goal` is the floor (or, with `most`, the ceiling) that was set."""

    name: str
    value: float
    unit: str
    goal: float | None = None
    most: bool = False

    @property
    def reached(self) -> bool | None:
        """Whether the goal is reached; None without one."""
        if self.goal is None:
            return None
        return self.value <= self.goal if self.most else self.value >= self.goal


class AuditFailed(Exception):
    """The audit of a run was not clean: it has no figures."""


@dataclass
class Bench:
    """Stages on one set of services, each with the same backlog."""

    server: Server
    client: "redis.Redis"
    crew: Crew
    requests: int
    say: Callable[[str], None]

    def run(self) -> list[Figure]:
        """All stages. Raises AuditFailed or DevstackError."""
        figures = []
        for client in CLIENTS:
            figures += self._winners(client)
            figures.append(self._store())
            self._audit()
        return figures + self._idle()

    def _winners(self, client: str) -> list[Figure]:
        topic = f"bench-{client}"
        self.say(f"{client}: a backlog of {self.requests:,} requests that can all win")
        with Topics(self.server) as topics:
            topics.ensure(topic)
        Control(self.client, "bench").set_stock(1, dict.fromkeys(range(1001, 1006), UNITS_AN_ITEM))
        self.crew.start(
            "run_loadgen",
            *("run_loadgen", "--topic", topic, "--kafka-client", "confluent-kafka", "--quiet"),
            *("--user-count", str(self.requests), "--rate", "1000000", "--seed", "1"),
        )
        self._await_end("run_loadgen")
        before = read_lane(self.client).decided
        self.crew.start(
            "run_consumer",
            *("run_consumer", "--topic", topic, "--group-id", topic, "--kafka-client", client),
            *("--drain", "--status-interval", "3600"),
        )
        looks, memory = [], 0
        while "run_consumer" in self.crew.running():
            looks.append((time.monotonic(), read_lane(self.client).decided - before))
            memory = max([memory, *(p.memory_info().rss for p in self._consumers())])
            if looks[-1][1] >= self.requests:
                break
            self._check_time(looks)
        self._await_end("run_consumer")
        return [
            Figure(f"winners decided, {client}", _rate(looks), "/s", 60_000),
            Figure(f"consumer's memory, {client}", memory / 1e6, "MB", 200, most=True),
        ]

    def _store(self) -> Figure:
        waiting = self.client.llen(DEFAULT_LIST)
        self.say(f"log worker: {waiting:,} records")
        self.crew.start("run_log_worker", "run_log_worker", "--drain")
        looks: list[tuple[float, int]] = []
        while not looks or looks[-1][1] < waiting:
            looks.append((time.monotonic(), waiting - self.client.llen(DEFAULT_LIST)))
            self._check_time(looks)
            time.sleep(LOOK_S)
        self._await_end("run_log_worker")
        return Figure("rows stored", _rate(looks), "/s", 80_000)

    def _idle(self) -> list[Figure]:
        self.say(f"workers with nothing to do, {IDLE_S:.0f} s")
        figures = []
        for client in CLIENTS:
            name = f"consumer, {client}"
            self.crew.start(
                name,
                *("run_consumer", "--topic", f"bench-{client}", "--group-id", f"bench-{client}"),
                *("--kafka-client", client),
            )
            with Topics(self.server) as topics:
                limit = time.monotonic() + 60
                while not topics.group_members(f"bench-{client}") and time.monotonic() < limit:
                    time.sleep(LOOK_S)
        self.crew.start("log worker", "run_log_worker")
        time.sleep(3)
        names = [*(f"consumer, {client}" for client in CLIENTS), "log worker"]
        before = {name: self._cpu(name) for name in names}
        time.sleep(IDLE_S)
        for name in names:
            share = (self._cpu(name) - before[name]) / IDLE_S * 100
            figures.append(Figure(f"idle {name} with its parent", share, "% core", 2, most=True))
        self.crew.stop()
        return figures

    def _audit(self) -> None:
        report = audit(self.client)
        if not report.clean:
            raise AuditFailed(f"{report.findings[0].invariant}: {report.findings[0].explanation}")
        self.say(f"audit clean ({report.checks} checks)")

    def _consumers(self) -> list[psutil.Process]:
        try:
            parent = psutil.Process(self.crew.pid("run_consumer"))
            return [p for p in parent.children() if "spawn_main" in " ".join(p.cmdline())]
        except psutil.Error:
            return []

    def _cpu(self, name: str) -> float:
        root = psutil.Process(self.crew.pid(name))
        times = [p.cpu_times() for p in [root, *root.children(recursive=True)]]
        return sum(t.user + t.system for t in times)

    def _check_time(self, looks: list[tuple[float, int]]) -> None:
        if looks[-1][0] - looks[0][0] > LIMIT_S:
            raise DevstackError(f"not done after {LIMIT_S:.0f} s; see {self.crew.folder}")

    def _await_end(self, name: str) -> None:
        limit = time.monotonic() + LIMIT_S
        while name in self.crew.running():
            if time.monotonic() > limit:
                raise DevstackError(f"{name} does not end; see {self.crew.log(name)}")
            time.sleep(LOOK_S)
        for ended, code in self.crew.ended().items():
            if code != 0:
                raise DevstackError(f"{ended} ended with {code}; see {self.crew.log(ended)}")


def _rate(looks: list[tuple[float, int]]) -> float:
    """Done a second, from the first look that saw work to the first that saw all of it."""
    total = looks[-1][1]
    began = next((look for look in looks if look[1] > 0), looks[0])
    ended = next(look for look in looks if look[1] == total)
    return (total - began[1]) / max(ended[0] - began[0], LOOK_S)


def prepare_database() -> None:
    """Tables in the fresh services."""
    call_command("migrate", verbosity=0)


def machine() -> dict[str, Any]:
    """What the figures were taken on."""
    return {
        "cores": os.cpu_count(),
        "memory_gb": round(psutil.virtual_memory().total / 1e9),
        "load_before": [round(load, 2) for load in os.getloadavg()],
    }

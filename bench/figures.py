"""Figures, and the machine on which they were measured. Owns medians and how both are shown."""

import os
import platform
import statistics
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any

import psutil
import psycopg
import redis
from rich.table import Table

from devstack.jars import KAFKA_VERSION

# The word before a goal: for figures that are better when higher, and when lower.
WORDS = {False: "over", True: "under"}


class AuditFailed(Exception):
    """The audit of a run was not clean, so it has no figures."""


@dataclass(frozen=True)
class Figure:
    """One figure of one scenario. `goal` is the minimum, or with `most` the maximum.

    `busy`: the cores that each process used meanwhile, if that shows the bottleneck.
    """

    scenario: str
    name: str
    values: list[float]
    unit: str
    goal: float | None = None
    most: bool = False
    busy: Mapping[str, float] = field(default_factory=dict)
    note: str = ""

    @property
    def median(self) -> float:
        """The figure."""
        return statistics.median(self.values)

    @property
    def reached(self) -> bool | None:
        """Whether the goal is reached; None without a goal."""
        if self.goal is None:
            return None
        return self.median <= self.goal if self.most else self.median >= self.goal

    def as_json(self) -> dict[str, Any]:
        """All of it in plain types."""
        return {
            "scenario": self.scenario,
            "name": self.name,
            "median": self.median,
            "lowest": min(self.values),
            "highest": max(self.values),
            "repeats": len(self.values),
            "unit": self.unit,
            "goal": self.goal,
            "goal_is": None if self.goal is None else WORDS[self.most],
            "reached": self.reached,
            "busy_cores": {name: round(cores, 2) for name, cores in self.busy.items()},
            "note": self.note,
        }


def machine(client: "redis.Redis", dsn: str) -> dict[str, Any]:
    """Machine, versions, and the services' settings for durability."""
    import confluent_kafka

    info: dict[str, Any] = client.info("server")
    kept: dict[str, str] = client.config_get("append*")  # type: ignore[assignment]
    with psycopg.connect(dsn) as database:
        shown = {
            name: database.execute(f"SELECT current_setting('{name}')").fetchone()
            for name in ("server_version", "fsync", "synchronous_commit", "shared_buffers")
        }
    postgres = {name: row[0] for name, row in shown.items() if row}
    return {
        "cores": os.cpu_count(),
        "cpu": _cpu(),
        "memory_gb": round(psutil.virtual_memory().total / 1e9),
        "load_before": [round(load, 2) for load in os.getloadavg()],
        "python": platform.python_version(),
        "kafka": f"{KAFKA_VERSION}, one node, acks=all, fsync left to the system",
        "valkey": f"{info.get('valkey_version', info['redis_version'])}, appendonly "
        f"{kept['appendonly']}, appendfsync {kept['appendfsync']}",
        "postgresql": f"{postgres['server_version']}, fsync {postgres['fsync']}, "
        f"synchronous_commit {postgres['synchronous_commit']}, "
        f"shared_buffers {postgres['shared_buffers']}",
        "clients": f"kafka-python {version('kafka-python')}, confluent-kafka "
        f"{version('confluent-kafka')} (librdkafka {confluent_kafka.libversion()[0]}), "
        f"redis {version('redis')}, psycopg {version('psycopg')}",
    }


def tables(figures: list[Figure], about: Mapping[str, Any]) -> list[Table]:
    """Two tables: the machine, and the figures."""
    where = Table(title="measured on", title_justify="left", show_header=False)
    for name, value in about.items():
        where.add_row(name, str(value))
    shown = Table(title="figures: median (lowest to highest)", title_justify="left")
    for title, justify in (
        ("scenario", "left"),
        ("figure", "left"),
        ("value", "right"),
        ("spread", "right"),
        ("goal", "left"),
        ("cores in use, notes", "left"),
    ):
        shown.add_column(title, justify=justify)  # type: ignore[arg-type]
    before = ""
    for figure in figures:
        goal = ""
        if figure.goal is not None:
            mark = "[green]reached" if figure.reached else "[red]missed"
            goal = f"{WORDS[figure.most]} {_number(figure.goal)} {mark}"
        spread = f"{_number(min(figure.values))} to {_number(max(figure.values))}"
        busy = ", ".join(f"{name} {cores:.2f}" for name, cores in figure.busy.items())
        shown.add_row(
            "" if figure.scenario == before else figure.scenario,
            figure.name,
            f"{_number(figure.median)} {figure.unit}",
            spread if len(figure.values) > 1 else "",
            goal,
            "; ".join(part for part in (busy, figure.note) if part),
        )
        before = figure.scenario
    return [where, shown]


def _number(value: float) -> str:
    if value >= 100:
        return f"{value:,.0f}"
    return f"{value:.2f}" if value < 10 else f"{value:.1f}"


def _cpu() -> str:
    try:
        told = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        models = [line.partition(":")[2].strip() for line in told if "model name" in line]
    except OSError:
        models = []
    return models[0] if models else platform.processor()

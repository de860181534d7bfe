"""Deciding a backlog: winners, losers, a realistic sale, each compared with its limits."""

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from uuid import uuid4

from bench import limits
from bench.figures import Figure
from bench.rig import CLIENTS, UNLIMITED, Rig

# One unit of each item: sold out after the first few requests, and then the activity is over.
NOTHING_LEFT = dict.fromkeys(range(1001, 1006), 1)
# A crowd that wants one hot item. For each item: its share of the demand, and when it is sold out,
# as a share of all requests. The items sell out one after the other; 2 % of the requests can win.
DEMAND = {
    1001: (0.90, 0.005),
    1002: (0.06, 0.05),
    1003: (0.02, 0.2),
    1004: (0.0125, 0.32),
    1005: (0.0075, 0.6),
}
EVEN: Mapping[str, Any] = {}
CROWD: Mapping[str, Any] = {
    "quantity": 1,
    "items": {item: share for item, (share, _) in DEMAND.items()},
}


@dataclass(frozen=True)
class Case:
    """What is decided, and its goals by Kafka client: a rate, and a share of `poll only`."""

    name: str
    profile: Mapping[str, Any]
    stock: Mapping[int, int] | None
    fields: Mapping[str, Any] = field(default_factory=dict)
    goals: Mapping[str, float] = field(default_factory=dict)
    shares: Mapping[str, float] = field(default_factory=dict)

    def stock_for(self, requests: int) -> Mapping[int, int]:
        """The stock of a sale of so many requests."""
        if self.stock is not None:
            return self.stock
        return {item: int(requests * share * end) for item, (share, end) in DEMAND.items()}


WINNERS = Case(
    "winners",
    EVEN,
    UNLIMITED,
    goals={"confluent-kafka": 200_000, "kafka-python": 75_000},
)
LIMIT = Case(
    "user-limit",
    EVEN,
    UNLIMITED,
    fields={"user_limit": 1_000},
    goals={"confluent-kafka": 100_000},
)
LOSERS = Case("losers", EVEN, NOTHING_LEFT, shares={"confluent-kafka": 0.8, "kafka-python": 0.8})
REALISTIC = Case(
    "realistic",
    CROWD,
    None,
    goals={"confluent-kafka": 250_000},
    shares={"confluent-kafka": 0.85},
)
CALLS_A_BASELINE = 15
# Cases with holds: the least share of the rate without them. Nothing expires within a run.
HELD = ((WINNERS, 0.7), (REALISTIC, 0.95))
HOLD_S = 86_400


def winners(rig: Rig) -> list[Figure]:
    """Stock for everybody, compared with the baseline."""
    return _case(rig, WINNERS, baseline=True)


def user_limit(rig: Rig) -> list[Figure]:
    """Stock for everybody, and a limit per user that nobody reaches."""
    return _case(rig, LIMIT, clients=CLIENTS[:1])


def losers(rig: Rig) -> list[Figure]:
    """Everything is sold."""
    return _case(rig, LOSERS)


def realistic(rig: Rig) -> list[Figure]:
    """2 % can win; five items sell out one after the other."""
    return _case(rig, REALISTIC)


def holds(rig: Rig) -> list[Figure]:
    """The script alone in activities with holds, in pairs with the same sale without them.

    By rate, and by the CPU of Valkey: that is what stays true while other programs work.
    """
    figures: list[Figure] = []
    for case, goal in HELD:
        # Without holds, with holds; us of each decision: all of it, and Valkey's CPU.
        took: tuple[list[float], list[float]] = ([], [])
        cpu: tuple[list[float], list[float]] = ([], [])
        for repeat in range(rig.size.repeats):
            rig.say(f"{case.name} with holds: repeat {repeat + 1} of {rig.size.repeats}")
            for held in (0, 1) if repeat % 2 else (1, 0):
                requests = rig.size.requests
                rig.clean(case.stock_for(requests), **({"hold_s": HOLD_S} if held else {}))
                bodies = rig.bodies(case.profile, requests)
                before = _cpu_s(rig)
                rate, _, _ = limits.script_alone(rig.server, bodies, str(uuid4()))
                cpu[held].append((_cpu_s(rig) - before) / requests * 1e6)
                took[held].append(1e6 / rate)
                rig.audit()
        for held, word in enumerate(("without", "with")):
            name = f"{case.name}, {word} holds"
            rates = [1e6 / each for each in took[held]]
            figures += [
                Figure("holds", f"{name}: the script", rates, "/s"),
                Figure("holds", f"{name}: CPU of valkey each", cpu[held], "us"),
            ]
        for what, values in (("rate", took), ("CPU of valkey", cpu)):
            shares = [without / with_ for without, with_ in zip(*values, strict=True)]
            name = f"{case.name}, with against without holds: {what}"
            figures.append(Figure("holds", name, shares, "x", goal))
    return figures


def _cpu_s(rig: Rig) -> float:
    """CPU that Valkey's main thread has used so far, seconds."""
    info: Any = rig.client.info("cpu")
    return float(info["used_cpu_user_main_thread"] + info["used_cpu_sys_main_thread"])


def several(rig: Rig) -> list[Figure]:
    """Winners with one, two and four consumer processes on four partitions."""
    requests = rig.size.requests
    topic = rig.backlog("even", EVEN, requests)
    values: dict[int, list[float]] = defaultdict(list)
    busy: dict[int, Mapping[str, float]] = {}
    for _ in range(rig.size.repeats):
        for consumers in (1, 2, 4):
            rig.clean(UNLIMITED)
            run = rig.decide(topic, CLIENTS[0], requests, consumers)
            rig.audit()
            values[consumers].append(run.rate)
            busy[consumers] = run.busy
    return [
        Figure("several", f"winners, {n} consumer processes", values[n], "/s", busy=busy[n])
        for n in values
    ]


def _case(
    rig: Rig, case: Case, clients: tuple[str, ...] = CLIENTS, *, baseline: bool = False
) -> list[Figure]:
    requests = rig.size.requests
    topic = rig.backlog("crowd" if case.profile is CROWD else "even", case.profile, requests)
    values: dict[str, list[float]] = defaultdict(list)
    busy: dict[str, Mapping[str, float]] = {}
    for repeat in range(1, rig.size.repeats + 1):
        rig.say(f"{case.name}: repeat {repeat} of {rig.size.repeats}")
        for client in clients:
            polled = limits.poll_only(rig.section(topic, client), requests)
            values[f"poll only, {client}"].append(polled)
            rig.clean(case.stock_for(requests), **case.fields)
            run = rig.decide(topic, client, requests)
            rig.audit()
            values[f"decided, {client}"].append(run.rate)
            values[f"share of poll only, {client}"].append(run.rate / polled)
            values[f"memory, {client}"].append(run.memory_mb)
            busy[f"decided, {client}"] = run.busy
        rig.clean(case.stock_for(requests), **case.fields)
        script, packed, _ = limits.script_alone(
            rig.server, rig.bodies(case.profile, requests), str(uuid4())
        )
        rig.audit()
        values["the script alone"].append(script)
        values["decoding and packing alone"].append(packed)
        if baseline:
            rate = limits.baseline(rig.section(topic, CLIENTS[0]), rig.size.baseline)
            values["baseline: one request a call, 32 in flight"].append(rate)
            values["times the baseline, confluent-kafka"].append(
                values[f"decided, {CLIENTS[0]}"][-1] / rate
            )
    figures = []
    for name, rates in values.items():
        what, _, client = name.partition(", ")
        goal: float | None = None
        unit = "/s"
        if what == "decided":
            goal = case.goals.get(client)
        elif what == "share of poll only":
            goal, unit = case.shares.get(client), "x"
        elif what == "memory":
            goal, unit = 200, "MB"
        elif what == "times the baseline":
            goal, unit = CALLS_A_BASELINE, "x"
        figures.append(
            Figure(case.name, name, rates, unit, goal, most=unit == "MB", busy=busy.get(name, {}))
        )
    return figures

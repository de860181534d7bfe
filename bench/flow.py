"""The whole system: everything at once, latency at a fixed rate, first request, idle workers."""

import json
import time
from typing import Any

from bench.deciding import EVEN
from bench.figures import Figure
from bench.rig import CLIENTS, UNLIMITED, Rig
from devstack.endpoints import DevstackError
from seckill.broker.opening import open_producer
from seckill.config.layers import load
from seckill.config.sections import Client
from seckill.errors import BrokerAway
from seckill.lane.keys import Lane
from seckill.lane.status import read_lane

# Orders/s that are sent. More than the goal, because the time includes the end of the run.
OFFERED, GOAL = 66_000, 60_000
# Requests/s at which latency is measured.
LATENCY_RATE = 20_000
# Requests/s and seconds of the warm-up.
WARM_UP_RATE, WARM_UP_S = 5_000, 2
# Seconds for the workers to settle, and seconds of idle time before a first request.
SETTLE_S, ALONE_S = 3.0, 1.5
LOOK_S = 0.25


def all_at_once(rig: Rig) -> list[Figure]:
    """Load generator, consumer and log worker together, from the first send to the last row."""
    topic = _open(rig, "all-at-once")
    total = int(OFFERED * rig.size.flow_s)
    began = _offer(rig, topic, total, OFFERED)
    most_waiting = 0
    with rig.busy() as busy:
        stored_at: list[tuple[float, int]] = []
        while not stored_at or stored_at[-1][1] < total:
            time.sleep(LOOK_S)
            lane = read_lane(rig.client, Lane())
            records = sum(activity.total_records for activity in lane.activities.values())
            stored_at.append((time.time(), records - lane.waiting))
            most_waiting = max(most_waiting, lane.waiting)
            if "run_loadgen" in rig.crew.running():
                busy.look()
            rig.check_time(time.monotonic() - (time.time() - began), "run_consumer")
    report = _report(rig)
    rig.crew.stop()
    rig.audit()
    return [
        Figure(
            "all-at-once",
            "orders from the first send to the last row",
            [total / (stored_at[-1][0] - began)],
            "/s",
            GOAL,
            busy=busy.cores,
            note=_late(report) or f"{OFFERED:,}/s offered for {rig.size.flow_s:.0f} s",
        ),
        Figure("all-at-once", "most records waiting for PostgreSQL", [float(most_waiting)], ""),
    ]


def latency(rig: Rig) -> list[Figure]:
    """From the intended time of a request to its decision, at LATENCY_RATE."""
    p50, p99, notes = [], [], []
    for _ in range(rig.size.repeats):
        topic = _open(rig, "latency")
        _offer(rig, topic, WARM_UP_RATE * WARM_UP_S, WARM_UP_RATE)
        _until_decided(rig, WARM_UP_RATE * WARM_UP_S)
        before = read_lane(rig.client, Lane())
        total = int(LATENCY_RATE * rig.size.latency_s)
        _offer(rig, topic, total, LATENCY_RATE)
        _until_decided(rig, before.decided + total)
        after = read_lane(rig.client, Lane()).activities[1].latency
        during = after.minus(before.activities[1].latency)
        p50.append(float(during.percentile(0.5) or 0))
        p99.append(float(during.percentile(0.99) or 0))
        notes.append(_late(_report(rig)))
        rig.crew.stop()
        rig.audit()
    note = next(filter(None, notes), "")
    return [
        Figure("latency", "p50, from intended to decided", p50, "ms", 10, most=True, note=note),
        Figure("latency", "p99, from intended to decided", p99, "ms", 50, most=True, note=note),
    ]


def first_request(rig: Rig) -> list[Figure]:
    """One request into an idle system: from its acknowledgement by Kafka to its decision."""
    figures = []
    for client in CLIENTS:
        topic = _open(rig, f"first-{client}", client)
        section = load(Client, {"brokers": rig.server.brokers, "kafka_client": CLIENTS[0]}, {})
        producer = open_producer(section, topic, linger_ms=0)
        took: list[float] = []
        for number in range(rig.size.firsts + 1):
            time.sleep(ALONE_S)
            before = rig.decided()
            [body] = rig.bodies(EVEN, 1)
            producer.send(body)
            producer.flush(10)
            began = time.perf_counter()
            while rig.decided() == before:
                if time.perf_counter() - began > 30:
                    raise DevstackError("the first request is not decided")
            # Not the very first one: that consumer has never decided anything before.
            if number:
                took.append((time.perf_counter() - began) * 1000)
        producer.close()
        rig.crew.stop()
        rig.audit()
        name = f"first request decided after Kafka has it, {client}"
        figures.append(Figure("first-request", name, took, "ms", 10, most=True))
    return figures


def idle(rig: Rig) -> list[Figure]:
    """How much of a core idle workers use."""
    figures = []
    for client in CLIENTS:
        _open(rig, f"idle-{client}", client)
        with rig.busy() as busy:
            time.sleep(rig.size.idle_s)
            busy.look()
        rig.crew.stop()
        for name in ("consumer", "log_worker") if client == CLIENTS[0] else ("consumer",):
            label = f"{name} with its parent, {client}" if name == "consumer" else "log worker"
            share = busy.cores[name] * 100
            figures.append(Figure("idle", label, [share], "% of a core", 2, most=True))
    return figures


def _open(rig: Rig, name: str, client: str = CLIENTS[0]) -> str:
    """A clean sale on its own topic, with its workers ready."""
    rig.say(name)
    topic = f"bench-{name}-{time.monotonic_ns()}"
    rig.topics.ensure(topic)
    rig.clean(UNLIMITED)
    section = rig.section(topic, client)
    rig.start_consumer(section)
    rig.crew.start("run_log_worker", "run_log_worker")
    wait_for_members(rig, section.group_id)
    return topic


def wait_for_members(rig: Rig, group_id: str) -> None:
    """Wait until consumers are in the group, and have settled."""
    began = time.monotonic()
    while not _has_members(rig, group_id):
        rig.check_time(began, "run_consumer")
        time.sleep(LOOK_S)
    time.sleep(SETTLE_S)


def _has_members(rig: Rig, group_id: str) -> bool:
    try:
        return bool(rig.topics.group_members(group_id))
    except BrokerAway:
        # A new Kafka has no group coordinator yet.
        return False


def _offer(rig: Rig, topic: str, total: int, rate: float) -> float:
    """Start the load generator. Returns the time (s since the epoch) at which it starts to send."""
    ends = sum(rig.topics.end_offsets(topic).values())
    rig.crew.log("run_loadgen").unlink(missing_ok=True)
    rig.crew.start("run_loadgen", *rig.load(topic, EVEN, total, rate, "--json"))
    began = time.monotonic()
    while sum(rig.topics.end_offsets(topic).values()) == ends:
        rig.check_time(began, "run_loadgen")
    return time.time()


def _until_decided(rig: Rig, total: int) -> None:
    began = time.monotonic()
    while rig.decided() < total:
        rig.check_time(began, "run_consumer")
        time.sleep(LOOK_S)
    rig.await_end("run_loadgen")


def _report(rig: Rig) -> dict[str, Any]:
    """The final report of the load generator."""
    rig.await_end("run_loadgen")
    lines = rig.crew.log("run_loadgen").read_text(encoding="utf-8").splitlines()
    report: dict[str, Any] = json.loads(next(line for line in lines if line.startswith("{")))
    return report


def _late(report: dict[str, Any]) -> str:
    """A note for a run whose generator was late."""
    if not report["late"]:
        return ""
    return (
        f"GENERATOR LATE: p99 {report['lateness_p99_ms']:,.0f} ms, "
        f"{report['achieved_rate']:,.0f}/s of {report['intended_rate']:,.0f}/s sent"
    )

"""Lanes: two Valkeys with a consumer each that decide at the same time, compared with one."""

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from os import getpid
from pathlib import Path

from bench.deciding import EVEN
from bench.figures import Figure
from bench.rig import CLIENTS, LOOK_S, UNLIMITED, Rig
from devstack.crew import Crew, worker_environment
from devstack.stack import Stack
from seckill.config.layers import BASE_DIR
from seckill.lane.client import connect

# (seconds, requests decided) at each reading of a lane.
Looks = list[tuple[float, int]]


def lanes(rig: Rig) -> list[Figure]:
    """Winners: each lane decides the whole backlog as its own sale."""
    requests = rig.size.requests
    topic = rig.backlog("even", EVEN, requests)
    alone, both = [], []
    with _second_lane(rig) as other:
        for repeat in range(1, rig.size.repeats + 1):
            rig.say(f"lanes: repeat {repeat} of {rig.size.repeats}")
            rig.clean(UNLIMITED)
            alone.append(rig.decide(topic, CLIENTS[0], requests).rate)
            rig.audit()
            for lane in (other, rig):
                lane.clean(UNLIMITED)
            both.append(_together((rig, other), topic, requests))
            for lane in (rig, other):
                lane.crew.stop()
                lane.audit()
    return [
        Figure("lanes", "winners, one lane", alone, "/s"),
        Figure("lanes", "winners, two lanes together", both, "/s"),
        Figure(
            "lanes",
            "two lanes of one",
            [two / one for two, one in zip(both, alone, strict=True)],
            "x",
        ),
    ]


@contextmanager
def _second_lane(rig: Rig) -> Iterator[Rig]:
    """A lane with its own Valkey, on the same Kafka and PostgreSQL."""
    folder = Path(rig.crew.folder).parent / "second-lane"
    stack = Stack(folder / "services")
    try:
        endpoints = stack.up(owner_pid=getpid())
        for service in ("kafka", "postgres"):
            stack.stop(service)
        server = rig.server.model_copy(update={"redis_url": endpoints.redis_url})
        addresses = {
            "SECKILL_BROKERS": server.brokers,
            "SECKILL_PG_DSN": server.pg_dsn,
            "SECKILL_REDIS_URL": server.redis_url,
        }
        crew = Crew(BASE_DIR, folder / "logs", worker_environment(addresses))
        try:
            yield replace(rig, server=server, client=connect(server.redis_url), crew=crew)
        finally:
            crew.stop()
    finally:
        stack.remove()


def _together(rigs: Sequence[Rig], topic: str, requests: int) -> float:
    """Requests/s of all lanes, measured while all of them were deciding."""
    for rig in rigs:
        rig.start_consumer(rig.section(topic, CLIENTS[0]))
    looks: list[Looks] = [[] for _ in rigs]
    while not all(seen and seen[-1][1] >= requests for seen in looks):
        time.sleep(LOOK_S)
        for rig, seen in zip(rigs, looks, strict=True):
            seen.append((time.monotonic(), rig.decided()))
            rig.check_time(seen[0][0], "run_consumer")
    began = max(next(at for at, done in seen if done) for seen in looks)
    ended = min(next(at for at, done in seen if done >= requests) for seen in looks)
    decided = sum(_done(seen, ended) - _done(seen, began) for seen in looks)
    return decided / max(ended - began, LOOK_S)


def _done(looks: Looks, at: float) -> int:
    return max(done for when, done in looks if when <= at)

"""Lanes: two Valkeys with a consumer each that decide at the same time, compared with one.

And what a lane pays for a replica: decisions that wait for one (WAIT), compared with none asked.
"""

import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from os import getpid
from pathlib import Path

import yaml

from bench.deciding import EVEN
from bench.figures import Figure
from bench.rig import CLIENTS, LOOK_S, UNLIMITED, Rig, Run, rate_of
from devstack.crew import Crew, worker_environment
from devstack.endpoints import Endpoints
from devstack.stack import Stack
from seckill.config.lanes import redis_variable
from seckill.config.layers import BASE_DIR
from seckill.formats.redis_address import for_key
from seckill.lane.client import connect
from seckill.lane.keys import Lane

# (seconds, requests decided) at each reading of a lane.
Looks = list[tuple[float, int]]
SECOND, ITS_ACTIVITY = "second", 2
# CPU of Valkey and consumer for a decision, of one lane's.
CPU_GOAL = 1.05


def lanes(rig: Rig) -> list[Figure]:
    """Winners: each lane decides the whole backlog as its own sale."""
    requests = rig.size.requests
    topic = rig.backlog("even", EVEN, requests)
    its_topic = rig.backlog(SECOND, {"activities": {ITS_ACTIVITY: 1}}, requests)
    alone: list[Run] = []
    sums, costs = [], []
    with beside(rig, SECOND, ITS_ACTIVITY) as other:
        for repeat in range(1, rig.size.repeats + 1):
            rig.say(f"lanes: repeat {repeat} of {rig.size.repeats}")
            rig.clean(UNLIMITED)
            alone.append(rig.decide(topic, CLIENTS[0], requests))
            rig.audit()
            rig.clean(UNLIMITED)
            other.clean(UNLIMITED)
            both = _together({topic: rig, its_topic: other}, requests)
            sums.append(both[0])
            costs.append(sum(run.cpu_us for run in both[1]) / len(both[1]))
            for lane in (rig, other):
                lane.crew.stop()
                lane.audit()
    return [
        Figure("lanes", "winners, one lane", [run.rate for run in alone], "/s"),
        Figure("lanes", "winners, two lanes together", sums, "/s"),
        Figure(
            "lanes",
            "two lanes of one",
            [two / one.rate for two, one in zip(sums, alone, strict=True)],
            "x",
        ),
        Figure("lanes", "CPU a decision, one lane", [run.cpu_us for run in alone], "us"),
        Figure("lanes", "CPU a decision, two lanes together", costs, "us"),
        Figure(
            "lanes",
            "CPU a decision, two lanes of one",
            [two / one.cpu_us for two, one in zip(costs, alone, strict=True)],
            "x",
            goal=CPU_GOAL,
            most=True,
        ),
    ]


def replica(rig: Rig) -> list[Figure]:
    """Winners on a Valkey with one replica: none asked, and each batch waited for."""
    requests = rig.size.requests
    topic = rig.backlog("even", EVEN, requests)
    waits = ("--redis-replicas-acknowledge", "1")
    free: list[Run] = []
    waited: list[Run] = []
    with beside(rig, masters=3, replicas=1) as on_cluster:
        for repeat in range(1, rig.size.repeats + 1):
            rig.say(f"replica: repeat {repeat} of {rig.size.repeats}")
            for runs, flags in ((free, ()), (waited, waits)):
                on_cluster.clean(UNLIMITED)
                runs.append(on_cluster.decide(topic, CLIENTS[0], requests, 1, *flags))
                on_cluster.audit()
    return [
        Figure("replica", "winners, one replica, none asked", [run.rate for run in free], "/s"),
        Figure("replica", "winners, each batch is on the replica", _rates(waited), "/s"),
        Figure(
            "replica",
            "waiting for one replica, of none asked",
            [one / other for one, other in zip(_rates(waited), _rates(free), strict=True)],
            "x",
        ),
    ]


def _rates(runs: Sequence[Run]) -> list[float]:
    return [run.rate for run in runs]


@contextmanager
def beside(
    rig: Rig, name: str = "", activity: int = 1, *, masters: int = 0, replicas: int = 0
) -> Iterator[Rig]:
    """A lane with a Valkey of its own, on the same Kafka and PostgreSQL: lane `name`, or main."""
    folder = Path(rig.crew.folder).parent / f"beside-{name}"
    stack = Stack(folder / "services")
    lane = Lane.named(name) if name else Lane()
    with ExitStack() as ends:
        ends.callback(stack.remove)
        endpoints = stack.up(owner_pid=getpid(), masters=masters, replicas=replicas)
        for service in ("kafka", "postgres"):
            stack.stop(service)
        url = for_key(endpoints.redis_url, lane.list)
        server = rig.server.model_copy(update={"redis_url": url})
        crew = Crew(BASE_DIR, folder / "logs", _environment(rig, endpoints, name, folder))
        ends.callback(crew.stop)
        client = ends.enter_context(connect(url))
        yield replace(
            *(rig,),
            server=server, client=client, crew=crew, stack=stack, lane=lane, activity=activity,
            alone=not name,
        )  # fmt: skip


def _environment(rig: Rig, endpoints: Endpoints, name: str, folder: Path) -> dict[str, str]:
    """What workers of this lane are given; they name topic and group themselves."""
    server = rig.server
    addresses = {"SECKILL_BROKERS": server.brokers, "SECKILL_PG_DSN": server.pg_dsn}
    if not name:
        return worker_environment({**addresses, "SECKILL_REDIS_URL": endpoints.redis_url})
    file = folder / "config.yaml"
    file.write_text(yaml.safe_dump({"lanes": {name: {"topic": name, "group_id": name}}}))
    return worker_environment(
        {
            **addresses,
            "SECKILL_CONFIG": str(file),
            "SECKILL_REDIS_URL": server.redis_url,
            redis_variable(name): endpoints.redis_url,
        }
    )


def _together(rigs: dict[str, Rig], requests: int) -> tuple[float, list[Run]]:
    """Requests/s of all lanes, measured while all of them were deciding, and each lane's own run.

    `rigs` by the topic of their backlog.
    """
    for topic, rig in rigs.items():
        rig.start_consumer(rig.section(topic, CLIENTS[0]))
    looks: list[Looks] = [[] for _ in rigs]
    with ExitStack() as ends:
        busy = [ends.enter_context(rig.busy()) for rig in rigs.values()]
        while not all(seen and seen[-1][1] >= requests for seen in looks):
            time.sleep(LOOK_S)
            for rig, seen, used in zip(rigs.values(), looks, busy, strict=True):
                if seen and seen[-1][1] >= requests:
                    continue
                done = rig.decided()
                if not done:
                    used.begin()
                seen.append((time.monotonic(), done))
                if len(seen) % 10 == 0 or done >= requests:
                    used.look()
                rig.check_time(seen[0][0], "run_consumer")
    began = max(next(at for at, done in seen if done) for seen in looks)
    ended = min(next(at for at, done in seen if done >= requests) for seen in looks)
    decided = sum(_done(seen, ended) - _done(seen, began) for seen in looks)
    runs = [Run(rate_of(seen), 0.0, used.cores) for seen, used in zip(looks, busy, strict=True)]
    return decided / max(ended - began, LOOK_S), runs


def _done(looks: Looks, at: float) -> int:
    return max(done for when, done in looks if when <= at)

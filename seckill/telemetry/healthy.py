"""Whether the workers of this host live, for a probe that restarts what hangs. Owns that judgement.

A restart mends a process that hangs, and nothing else. So only a heartbeat that could have been
written and was not speaks against a worker. While Redis is away, full of errors or read-only, no
worker can write one: the probe first writes as a worker does, and if that fails it blames nobody.
What holds because Kafka or PostgreSQL is away writes its heartbeats all the same.
"""

import os
import socket
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import psutil
import redis

from seckill.errors import RedisAway
from seckill.lane.client import connect
from seckill.lane.keys import Lane
from seckill.telemetry.heartbeats import Kind, Worker, can_beat, read_workers

# Worker, as the commands name it -> the kinds of its processes.
WORKERS = {
    "consumer": (Kind.PARENT, Kind.CONSUMER),
    "settler": (Kind.SETTLER_PARENT, Kind.SETTLER),
    "log-worker": (Kind.LOG_WORKER,),
    "events": (Kind.PUBLISHER,),
    "webhooks": (Kind.WEBHOOKS,),
    "door": (Kind.DOOR,),
}
# Default seconds of silence. A worker may wait a minute for an answer of Kafka or PostgreSQL.
WITHIN_S = 120.0
# Seconds for Redis to answer. Less than the time that a probe has (docs/deploy.md, Kubernetes).
ANSWER_S = 2.0
# Seconds by which a process may seem younger than its first heartbeat: clocks are rounded.
ROUNDED_S = 2.0


@dataclass(frozen=True)
class Health:
    """The verdict, with its reason for a person. `known` is False if Redis could not be asked."""

    well: bool
    why: str
    known: bool = True


def look(redis_url: str, lane: Lane, name: str, within_s: float) -> Health:
    """How the worker `name` (see WORKERS) of this host is. Never raises for Redis."""
    with connect(redis_url, ANSWER_S, ANSWER_S) as client:
        try:
            can_beat(client, lane)
            heard = read_workers(client, lane)
        except (RedisAway, redis.RedisError) as lost:
            return Health(
                True,
                f"unknown: {str(lost).rstrip('.')}. No worker can write a heartbeat now, so none "
                "is blamed, and a restart would mend nothing",
                known=False,
            )
    return judge(heard, name, within_s, socket.gethostname(), age_s)


def judge(
    heard: Iterable[Worker],
    name: str,
    within_s: float,
    host: str,
    age_of: Callable[[int], float | None],
) -> Health:
    """The verdict over the heartbeats of all hosts. `age_of`: see `age_s`.

    A heartbeat counts if a process of this host can have written it. Pods keep their name when
    their containers start again, so an earlier process may have left some.
    """
    own = [
        worker
        for worker in heard
        if worker.kind in WORKERS[name] and _is_from(worker, host, age_of)
    ]
    if not own:
        return Health(
            False,
            f"no process of {name} on {host} has a heartbeat in Redis: it is still starting, it "
            "ended, or it hung before its first",
        )
    silent = [worker for worker in own if worker.silent_ms > within_s * 1000]
    if silent:
        worst = max(silent, key=lambda worker: worker.silent_ms)
        held = f" Its last word: {worst.detail}." if worst.detail else ""
        return Health(
            False,
            f"{worst.kind} {worst.id} is silent for {worst.silent_ms // 1000} s, and "
            f"{within_s:g} s are allowed: it hangs, since Redis takes heartbeats.{held} A restart "
            "loses nothing",
        )
    latest = max(worker.silent_ms for worker in own)
    return Health(True, f"{len(own)} of {name} on {host}, silent for {latest / 1000:.1f} s at most")


def age_s(pid: int) -> float | None:
    """Seconds that a process of this host has run; None if there is none."""
    try:
        return max(0.0, time.time() - psutil.Process(pid).create_time())
    except psutil.Error:
        return None


def _is_from(worker: Worker, host: str, age_of: Callable[[int], float | None]) -> bool:
    its_host, _, pid = worker.id.rpartition(":")
    if its_host != host or int(pid) == os.getpid():
        return False
    age = age_of(int(pid))
    # A process that is younger than the silence is another one with the same number.
    return age is not None and (age + ROUNDED_S) * 1000 >= worker.silent_ms

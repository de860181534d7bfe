"""Who works on a lane: heartbeats in Redis. Workers write them, anybody may read them.

A heartbeat shows that a process runs; its progress shows that it gets something done.
A heartbeat never disturbs the sale: at most one per second, on its own connection with short
timeouts. One that cannot be written is left out.
"""

import logging
import os
import socket
import time
from dataclasses import dataclass, field
from enum import StrEnum

import msgspec
import redis

from seckill.errors import RedisAway
from seckill.formats.advice import in_lane
from seckill.lane.client import connect, pairs, read_together, run_script
from seckill.lane.keys import Lane
from seckill.process.events import event

log = logging.getLogger(__name__)

# Seconds between two heartbeats of a process.
BEAT_S = 1.0
# Seconds that a heartbeat may take, and until the next attempt after a failed one.
TIMEOUT_S, AFTER_FAILURE_S = 0.5, 5.0
# Seconds of silence after which a worker counts as gone.
GONE_S = 15.0
# A consumer's count of dead letters that Kafka never took.
LETTERS_LOST = "letters_lost"
# What a publisher and webhooks say of the events that wait; -1: unknown.
BEHIND = "behind"
# Ms of silence after which a worker is forgotten.
FORGET_MS = 3_600_000


class Kind(StrEnum):
    """The kind of a worker."""

    CONSUMER = "consumer"
    PARENT = "consumer parent"
    LOG_WORKER = "log_worker"
    DOOR = "door"
    SETTLER = "settler"
    SETTLER_PARENT = "settler parent"
    PUBLISHER = "event publisher"
    WEBHOOKS = "webhooks"


@dataclass(frozen=True)
class Worker:
    """A worker as of its last heartbeat. Times in ms by Redis's clock."""

    kind: Kind
    # host:pid
    id: str
    started_ms: int
    beat_ms: int
    progress_ms: int
    # Since its last heartbeat.
    silent_ms: int
    # Why it holds, or what it works on.
    detail: str
    counts: dict[str, int]

    @property
    def alive(self) -> bool:
        """Whether its heartbeat is fresh."""
        return self.silent_ms < GONE_S * 1000


@dataclass(frozen=True)
class _Says:
    kind: Kind
    id: str
    age_ms: int
    idle_ms: int
    detail: str
    counts: dict[str, int]


_decode = msgspec.json.Decoder(_Says).decode


@dataclass
class Heart:
    """A worker's own heartbeat. Between two heartbeats `beat` costs only a look at the clock."""

    redis_url: str
    lane: Lane
    kind: Kind

    _client: "redis.Redis | None" = None
    _started: float = field(default_factory=time.monotonic)
    _progress: float = field(default_factory=time.monotonic)
    _done: int = 0
    _next: float = 0.0
    _failing: bool = False

    def beat(self, done: int, detail: str = "", **counts: int) -> None:
        """Write a heartbeat if it is due. `done` grows with progress. Never raises for Redis."""
        now = time.monotonic()
        if done != self._done:
            self._done, self._progress = done, now
        if now < self._next:
            return
        says = _Says(
            kind=self.kind,
            id=worker_id(),
            age_ms=int((now - self._started) * 1000),
            idle_ms=int((now - self._progress) * 1000),
            detail=in_lane(detail, self.lane.name),
            counts=dict(counts),
        )
        written = self._write(worker_id(), msgspec.json.encode(says))
        self._next = now + (BEAT_S if written else AFTER_FAILURE_S)

    def close(self) -> None:
        """Report that this worker ends. It is forgotten at once."""
        self._write(worker_id(), b"")
        if self._client is not None:
            self._client.close()

    def forget(self, pid: int) -> None:
        """Report that another process of this host has ended and could not report it itself."""
        self._write(worker_id(pid), b"")

    def _write(self, worker: str, says: bytes) -> bool:
        client = self._client = self._client or connect(self.redis_url, TIMEOUT_S, TIMEOUT_S)
        keys = [self.lane.workers, self.lane.beats]
        try:
            run_script(client, "beat", keys, [worker, says, FORGET_MS])
        except (RedisAway, redis.RedisError) as lost:
            if not self._failing:
                log.warning(
                    "no heartbeat can be written (%s); the work goes on without it",
                    lost,
                    extra=event("no-heartbeat"),
                )
            self._failing = True
            return False
        self._failing = False
        return True


def can_beat(client: "redis.Redis", lane: Lane) -> None:
    """Write as a heartbeat does, and leave nothing. Raises RedisAway where a heartbeat fails."""
    nobody = f"{socket.gethostname()}:0"
    run_script(client, "beat", [lane.workers, lane.beats], [nobody, b"", FORGET_MS])


def worker_id(pid: int | None = None) -> str:
    """host:pid of this process, or of another process on this host."""
    return f"{socket.gethostname()}:{os.getpid() if pid is None else pid}"


def read_workers(client: "redis.Redis", lane: Lane) -> list[Worker]:
    """All workers heard from within the last hour, by kind and id. Raises RedisAway."""
    said, beats, (seconds, micros) = read_together(
        client,
        ("HGETALL", lane.workers),
        ("ZRANGE", lane.beats, "0", "-1", "WITHSCORES"),
        ("TIME",),
    )
    says, now_ms = pairs(said), int(seconds) * 1000 + int(micros) // 1000
    found = []
    for name, beat in pairs(beats).items():
        said = _decode(says[name])
        found.append(
            Worker(
                kind=said.kind,
                id=said.id,
                started_ms=int(beat) - said.age_ms,
                beat_ms=int(beat),
                progress_ms=int(beat) - said.idle_ms,
                silent_ms=max(0, now_ms - int(beat)),
                detail=said.detail,
                counts=said.counts,
            )
        )
    return sorted(found, key=lambda worker: (worker.kind, worker.id))

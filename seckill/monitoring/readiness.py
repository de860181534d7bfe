"""Whether the system can work now: decide requests, settle holds, and store accepted records.

It asks Redis and PostgreSQL once each. It never asks Kafka: the consumers' heartbeats show that.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import redis
from django.db import connection

from seckill.errors import PostgresAway, RedisAway
from seckill.formats.advice import in_lane
from seckill.lane.keys import Lane
from seckill.lane.status import read_lane
from seckill.postgres.through_django import postgres_errors
from seckill.telemetry.heartbeats import Kind, Worker, read_workers


@dataclass(frozen=True)
class Readiness:
    """What is not ready, by part, with what to do. All are empty if all is well."""

    cannot_decide: dict[str, str]
    cannot_settle: dict[str, str]
    cannot_store: dict[str, str]

    @property
    def missing(self) -> dict[str, dict[str, str]]:
        """{what cannot be done: its parts}, for what cannot."""
        verbs = {
            "decide": self.cannot_decide,
            "settle": self.cannot_settle,
            "store": self.cannot_store,
        }
        return {verb: parts for verb, parts in verbs.items() if parts}

    @property
    def ready(self) -> bool:
        """Whether everything is ready."""
        return not self.missing


def look(client: "redis.Redis", lane: Lane) -> Readiness:
    """Check all parts. A service that is away raises nothing: it is part of the answer."""
    decide: dict[str, str] = {}
    settle: dict[str, str] = {}
    store: dict[str, str] = {}
    try:
        status, workers = read_lane(client, lane), read_workers(client, lane)
    except RedisAway:
        decide["Redis"] = "does not answer: requests wait in Kafka; bring it back"
        store["Redis"] = "does not answer: accepted records wait in it; bring it back"
    else:
        if status.fence is not None:
            decide["fence"] = (
                # The full reason names addresses and offsets. A probe must not show these.
                f"{status.fence.word}: nothing is decided and requests wait in Kafka; manage.py "
                "status says why, manage.py recover repairs it"
            )
        if not status.loaded:
            decide["activities"] = (
                "none is loaded, requests wait in Kafka; for a new sale run manage.py set_stock, "
                "after a loss manage.py recover"
            )
        _workers(
            workers, Kind.CONSUMER, decide, "requests wait in Kafka; start manage.py run_consumer"
        )
        _workers(
            workers, Kind.LOG_WORKER, store, "records wait in Redis; start manage.py run_log_worker"
        )
        if status.needs_settler:
            wait = "payments wait in Kafka and no hold expires; start manage.py run_settler"
            _workers(workers, Kind.SETTLER, settle, wait, needed=True)
    try:
        with postgres_errors(), connection.cursor() as cursor:
            cursor.execute("SELECT 1 FROM seckill_record LIMIT 1")
    except PostgresAway:
        store["PostgreSQL"] = "does not answer: accepted records wait in Redis; bring it back"
    for parts in (decide, settle, store):
        parts |= {part: in_lane(why, lane.name) for part, why in parts.items()}
    return Readiness(decide, settle, store)


def of_all(lanes: Mapping[str, Readiness]) -> Readiness:
    """All lanes as one, each part with its lane's name; one lane alone as it is."""
    if len(lanes) == 1:
        return next(iter(lanes.values()))

    def named(verb: str) -> dict[str, str]:
        return {
            f"{lane}.{part}": why
            for lane, found in lanes.items()
            for part, why in getattr(found, verb).items()
        }

    return Readiness(*map(named, ("cannot_decide", "cannot_settle", "cannot_store")))


def _workers(
    workers: list[Worker], kind: Kind, missing: dict[str, str], act: str, *, needed: bool = False
) -> None:
    """Report a kind of worker if some are known but none is alive. None known: no verdict, unless
    one is needed.
    """
    known = [worker for worker in workers if worker.kind is kind]
    if needed and not known:
        missing[kind.value] = f"no heartbeat: {act}"
    if known and not any(worker.alive for worker in known):
        silent_s = min(worker.silent_ms for worker in known) // 1000
        missing[kind.value] = f"no heartbeat for {silent_s} s: {act}"

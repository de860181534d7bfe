"""Whether the system can do its work now: decide requests, and store what was accepted.

Asks Redis and PostgreSQL once each, and never Kafka: a consumer's heartbeat tells of it.
"""

from dataclasses import dataclass

import redis
from django.db import connection

from seckill.errors import PostgresAway, RedisAway
from seckill.lane.keys import Lane
from seckill.lane.status import read_lane
from seckill.postgres.through_django import postgres_errors
from seckill.telemetry.heartbeats import Kind, Worker, read_workers


@dataclass(frozen=True)
class Readiness:
    """What is not ready, by part, each with what to do: nothing where all is well."""

    cannot_decide: dict[str, str]
    cannot_store: dict[str, str]

    @property
    def ready(self) -> bool:
        """Whether nothing is missing."""
        return not self.cannot_decide and not self.cannot_store


def look(client: "redis.Redis", lane: Lane) -> Readiness:
    """Look at all parts. Raises nothing for a service that is away: that is an answer."""
    decide: dict[str, str] = {}
    store: dict[str, str] = {}
    try:
        status, workers = read_lane(client, lane), read_workers(client, lane)
    except RedisAway:
        decide["Redis"] = "does not answer: requests wait in Kafka; bring it back"
        store["Redis"] = "does not answer: accepted records wait in it; bring it back"
    else:
        if status.fence is not None:
            decide["fence"] = (
                # Why in full names addresses and offsets: manage.py status shows it, not a probe.
                f"{status.fence.word}: nothing is decided and requests wait in Kafka; manage.py "
                "status says why, manage.py recover brings it back"
            )
        if not status.loaded:
            decide["activities"] = (
                "none is loaded, requests wait in Kafka; new sale: set_stock, after a loss: recover"
            )
        _workers(workers, Kind.CONSUMER, decide, "requests wait in Kafka; start run_consumer")
        _workers(workers, Kind.LOG_WORKER, store, "records wait in Redis; start run_log_worker")
    try:
        with postgres_errors(), connection.cursor() as cursor:
            cursor.execute("SELECT 1 FROM seckill_record LIMIT 1")
    except PostgresAway:
        store["PostgreSQL"] = "does not answer: accepted records wait in Redis; bring it back"
    return Readiness(decide, store)


def _workers(workers: list[Worker], kind: Kind, missing: dict[str, str], act: str) -> None:
    """Workers of a kind that were heard of, of which none is alive now. None known: no verdict."""
    known = [worker for worker in workers if worker.kind is kind]
    if known and not any(worker.alive for worker in known):
        silent_s = min(worker.silent_ms for worker in known) // 1000
        missing[kind.value] = f"none was heard of for {silent_s} s: {act}"

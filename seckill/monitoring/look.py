"""A lane at a glance: what `manage.py status` and `GET /v1/status` show, read once."""

from dataclasses import dataclass

import redis

from seckill.audit.verdict import LastAudit, read_last_audit
from seckill.lane.keys import Lane
from seckill.lane.settle_status import OVERDUE_MS, SettleStatus, read_settle_status
from seckill.lane.status import LaneStatus, read_lane
from seckill.monitoring.verdict import Verdict
from seckill.monitoring.verdict_look import read_verdict
from seckill.telemetry.heartbeats import Worker, read_workers
from seckill.telemetry.history import Sample, fresh_sample


@dataclass(frozen=True)
class Look:
    """Everything that is shown, at one moment. Without a sample the lag is unknown."""

    # The lane's name, for what is to be run.
    named: str
    lane: LaneStatus
    workers: list[Worker]
    audit: LastAudit | None
    now_ms: int
    verdict: Verdict
    sample: Sample | None = None
    holds: SettleStatus | None = None

    @property
    def lag(self) -> int | None:
        """Requests in Kafka that are not decided; None: not known."""
        lag = self.sample.lag if self.sample else None
        return None if lag is None else sum(lag.values())


def look(client: "redis.Redis", lane: Lane) -> Look:
    """Read everything from Redis once. Raises RedisAway."""
    status, workers = read_lane(client, lane), read_workers(client, lane)
    return Look(
        named=lane.name,
        lane=status,
        workers=workers,
        audit=read_last_audit(client, lane),
        now_ms=status.now_ms,
        verdict=read_verdict(client, lane, status, workers),
        sample=fresh_sample(client, lane),
        holds=read_settle_status(client, lane, OVERDUE_MS),
    )

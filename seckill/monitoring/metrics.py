"""`/metrics` for Prometheus. It reads everything from Redis at the scrape: the sale pays nothing.

Every process serves the same metrics of its lanes, and adds the metrics of its own process. So
scraping one process is enough, and expressions take the maximum over processes, never the sum.
"""

import logging
import time
from collections import defaultdict
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any

import redis
from prometheus_client import CollectorRegistry, start_http_server
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
)
from prometheus_client.core import (
    Metric as Family,
)
from prometheus_client.platform_collector import PlatformCollector
from prometheus_client.process_collector import ProcessCollector
from prometheus_client.registry import Collector

from seckill.audit.verdict import LastAudit, read_last_audit
from seckill.config.layers import ConfigError
from seckill.errors import RedisAway
from seckill.lane.client import connect, redis_errors
from seckill.lane.keys import Lane
from seckill.lane.settle_status import MESSAGES, OVERDUE_MS, SettleStatus, read_settle_status
from seckill.lane.status import ActivityStatus, Histogram, LaneStatus, read_lane
from seckill.monitoring import metric_names as names
from seckill.monitoring.metric_names import LANE, METRICS, Metric
from seckill.process.events import event
from seckill.telemetry.door_counts import ACKNOWLEDGE, ANSWER, DoorCounts
from seckill.telemetry.heartbeats import BEHIND, Kind, Worker, read_workers
from seckill.telemetry.history import ITEMS_KEPT, fresh_sample, sample_of

log = logging.getLogger(__name__)

# Seconds that a scrape waits for Redis.
SCRAPE_TIMEOUT_S = 3.0
# Upper bounds of the latency's buckets: powers of two from 1 ms to 65 s. The script's buckets also
# end at powers of two, so no bound falls inside one of them.
BOUNDS_MS = [2**n for n in range(17)]
# Outcomes that belong to no activity are counted under this id; real ids start at 1.
NO_ACTIVITY = "0"


@dataclass(frozen=True)
class Picture:
    """What one scrape read."""

    lane: LaneStatus
    lag: dict[int, int] | None
    blocked: dict[int, int]
    holds: SettleStatus
    workers: list[Worker]
    audit: LastAudit | None
    now_ms: int
    memory: int
    memory_limit: int


def look(client: "redis.Redis", lane: Lane) -> Picture:
    """Read everything. Raises RedisAway."""
    status = read_lane(client, lane)
    newest = fresh_sample(client, lane)
    workers = read_workers(client, lane)
    audit = read_last_audit(client, lane)
    with redis_errors():
        seconds, micros = client.time()
        memory: Any = client.info("memory")
    now_ms = seconds * 1000 + micros // 1000
    return Picture(
        lane=status,
        lag=newest.lag if newest is not None else None,
        blocked=newest.blocked if newest is not None else {},
        holds=read_settle_status(client, lane, OVERDUE_MS),
        workers=workers,
        audit=audit,
        now_ms=now_ms,
        memory=int(memory["used_memory"]),
        memory_limit=int(memory["maxmemory"]),
    )


@dataclass
class _Families:
    """The metrics of one scrape, and their values. Each has the label `lane`: the one whose values
    are added.
    """

    lane: str = ""
    found: dict[str, Family] = field(default_factory=dict)

    def add(self, metric: Metric, value: float, *labels: object) -> None:
        """Add one value of a gauge or counter."""
        self._family(metric).add_metric([self.lane, *map(str, labels)], value)

    def add_histogram(
        self, metric: Metric, histogram: Histogram, *labels: object, sum_ms: float | None = None
    ) -> None:
        """Add one histogram, with its buckets summed up to BOUNDS_MS and its sum if known."""
        buckets, total = cumulative(histogram)
        if sum_ms is not None:
            total = sum_ms / 1000
        self._family(metric).add_metric([self.lane, *map(str, labels)], buckets, total)

    def _family(self, metric: Metric) -> Any:
        if metric.name not in self.found:
            kind: Any = {
                "gauge": GaugeMetricFamily,
                "counter": CounterMetricFamily,
                "histogram": HistogramMetricFamily,
            }[metric.kind]
            self.found[metric.name] = kind(
                metric.name, f"{metric.meaning} [{metric.unit}]", labels=(LANE, *metric.labels)
            )
        return self.found[metric.name]


def cumulative(histogram: Histogram) -> tuple[list[tuple[str, float]], float]:
    """Buckets in Prometheus's form, in seconds, and the approximate sum of all latencies."""
    buckets: list[tuple[str, float]] = []
    for bound in BOUNDS_MS:
        count = sum(n for lower, n in histogram.buckets.items() if lower < bound)
        buckets.append((str(bound / 1000), count))
    buckets.append(("+Inf", histogram.count))
    return buckets, histogram.sum_ms / 1000


class LaneCollector(Collector):
    """Lanes in Redis as metrics. Of one whose Redis does not answer the only metric is `up` = 0."""

    def __init__(self, lanes: "Mapping[Lane, redis.Redis]") -> None:
        self._lanes = lanes

    def describe(self) -> Iterator[Family]:
        """Nothing: the metrics depend on the sale and are read at the scrape."""
        return iter(())

    def collect(self) -> Iterator[Family]:
        """All metrics, in the order of METRICS."""
        families = _Families()
        # At once: one that is away takes all of its time, and Prometheus does not wait long.
        with ThreadPoolExecutor(len(self._lanes)) as threads:
            pictures = list(threads.map(self._look, self._lanes))
        for lane, picture in zip(self._lanes, pictures, strict=True):
            families.lane = lane.name
            if picture is None:
                families.add(names.REDIS_UP, 0)
                continue
            families.add(names.REDIS_UP, 1)
            _add_lane(families, picture)
            _add_holds(families, picture.holds)
            _add_workers(families, picture.workers)
        for metric in METRICS:
            if metric.name in families.found:
                yield families.found[metric.name]

    def _look(self, lane: Lane) -> Picture | None:
        try:
            return look(self._lanes[lane], lane)
        except RedisAway as away:
            log.warning("metrics: %s", away, extra=event("metrics-away"))
            return None


def _add_lane(families: _Families, picture: Picture) -> None:
    lane = picture.lane
    families.add(names.REDIS_MEMORY, picture.memory)
    families.add(names.REDIS_LIMIT, picture.memory_limit)
    families.add(names.LOADED, lane.loaded)
    if lane.fence is not None:
        families.add(names.FENCED, 1, lane.fence.word)
    families.add(names.GENERATION, lane.generation)
    families.add(names.CLOCK, lane.now_ms / 1000 - time.time())
    families.add(names.CLOCK_BACK, max(0, lane.clock_ms - lane.now_ms) / 1000)
    for activity in lane.activities.values():
        _add_activity(families, activity)
    families.add(names.REQUESTS, lane.invalid, NO_ACTIVITY, "INVALID")
    families.add(names.REQUESTS, lane.no_such_activity, NO_ACTIVITY, "NO_SUCH_ACTIVITY")
    families.add(names.SKIPPED, lane.skipped)
    families.add(names.RECOVERED, lane.recovered)
    for partition, lag in (picture.lag or {}).items():
        families.add(names.LAG, lag, partition)
        families.add(names.BLOCKED, picture.blocked.get(partition, 0), partition)
    families.add(names.WAITING, lane.waiting)
    families.add(names.DEAD, lane.dead)
    families.add(names.STORED, sample_of(lane, None).stored)
    if picture.audit is not None:
        verdict = {True: 1, False: 0, None: -1}[picture.audit.clean]
        families.add(names.AUDIT_VERDICT, verdict)
        age_ms = max(0, picture.now_ms - picture.audit.at_ms)
        families.add(names.AUDIT_AGE, age_ms / 1000)


def _add_activity(families: _Families, activity: ActivityStatus) -> None:
    number, items = activity.activity_id, list(activity.items.values())
    for item in items[:ITEMS_KEPT]:
        families.add(names.STOCK, item.left, number, item.item_id)
    families.add(names.LEFT, activity.left, number)
    families.add(names.PUT_ON_SALE, activity.loaded, number)
    families.add(names.OVER, activity.over is not None, number)
    families.add(names.PAUSED, activity.paused, number)
    families.add(names.VERSION, activity.version, number)
    for outcome, count in activity.total_outcomes.items():
        families.add(names.REQUESTS, count, number, outcome.name)
    families.add(names.SOLD, activity.total_units, number)
    families.add(names.EXPIRED_WITH_STOCK, activity.total_expired_with_stock, number)
    families.add_histogram(names.LATENCY, activity.total_latency, number)


def _add_holds(families: _Families, holds: SettleStatus) -> None:
    for number, activity in holds.activities.items():
        families.add(names.HELD, activity.held, number)
        families.add(names.OVERDUE, activity.overdue, number)
        families.add(names.SETTLED_HOLDS, activity.paid, number, "paid")
        families.add(names.SETTLED_HOLDS, activity.expired, number, "expired")
        families.add(names.SETTLED_HOLDS, activity.cancelled, number, "cancelled")
        families.add(names.PAID_UNITS, activity.units_paid, number)
        families.add(names.RETURNED_UNITS, activity.units_returned, number)
        families.add(names.LATE_PAYMENTS, activity.too_late, number)
    for outcome in MESSAGES:
        families.add(names.SETTLEMENTS, holds.messages.get(outcome, 0), outcome)
    families.add(names.SETTLE_SKIPPED, holds.messages.get("skipped", 0))
    if holds.read:
        age_ms = holds.now_ms - min(holds.read.values())
        families.add(names.SETTLE_READ_AGE, max(0, age_ms) / 1000)


def _add_workers(families: _Families, workers: list[Worker]) -> None:
    alive: dict[Kind, int] = defaultdict(int)
    for worker in workers:
        alive[worker.kind] += worker.alive
    for kind in Kind:
        families.add(names.WORKERS, alive[kind], kind)
        families.add(names.GONE, sum(w.kind is kind and not w.alive for w in workers), kind)
    for worker in workers:
        who = (worker.kind, worker.id)
        families.add(names.SILENT, worker.silent_ms / 1000, *who)
        families.add(names.IDLE, (worker.beat_ms - worker.progress_ms) / 1000, *who)
        families.add(names.HOLDING, worker.detail != "", *who)
        if worker.kind is Kind.DOOR:
            _add_door(families, DoorCounts(worker))
            continue
        for what, count in worker.counts.items():
            if what != BEHIND:
                families.add(names.DONE, count, *who, what)
            elif count >= 0 and worker.alive:
                # Of a moment, like a door's.
                families.add(names.EVENTS_BEHIND, count, *who)


def _add_door(families: _Families, door: DoorCounts) -> None:
    who = door.worker.id
    for result, count in door.results.items():
        families.add(names.DOOR_CLICKS, count, who, result)
    for status, count in door.refused.items():
        families.add(names.DOOR_REFUSED, count, who, status)
    for result, count in door.settlements.items():
        families.add(names.DOOR_SETTLEMENTS, count, who, result)
    for state, count in door.told.items():
        families.add(names.DOOR_ANSWERS, count, who, state)
    for metric, what in (
        (names.DOOR_ACKNOWLEDGE, ACKNOWLEDGE),
        (names.DOOR_ANSWER, ANSWER),
    ):
        histogram, sum_ms = door.durations(what)
        families.add_histogram(metric, histogram, who, sum_ms=sum_ms)
    if door.worker.alive:
        # Of a moment: a door that is gone has none.
        families.add(names.DOOR_WAITING, door.waiting, who)
        families.add(names.DOOR_BOARD_AGE, door.board_age_s, who)


@contextmanager
def serve_metrics(host: str, port: int, addresses: Mapping[str, str]) -> Iterator[None]:
    """Serve `/metrics` on separate threads while the block runs. Raises ConfigError.

    `addresses` are {lane: its Redis} of all lanes that it shows.

    Port 0 serves nothing. Metrics have their own address, meant for Prometheus only. So the API's
    port shows nothing without a key, and Prometheus needs no key in its configuration.
    """
    if port == 0:
        yield
        return
    registry = CollectorRegistry(auto_describe=False)
    ProcessCollector(registry=registry)
    PlatformCollector(registry=registry)
    with ExitStack() as ends:
        lanes = {
            Lane.named(name): ends.enter_context(connect(url, SCRAPE_TIMEOUT_S))
            for name, url in addresses.items()
        }
        registry.register(LaneCollector(lanes))
        try:
            server, thread = start_http_server(port, host, registry)
        except OSError as wrong:
            raise ConfigError(
                f"metrics: cannot listen on {host}:{port}: {wrong.strerror or wrong}. Choose "
                "another --metrics-port, or 0 for none"
            ) from None
        try:
            yield
        finally:
            server.shutdown()
            server.server_close()
            thread.join()

"""All metrics of this system: name, kind, unit, meaning. Reads and counts nothing.

docs/monitoring.md repeats the list, and a test compares the two. Names of counters are served with
the suffix `_total`. Each process also serves `process_*` and `python_info` of prometheus_client.
"""

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Metric:
    """One metric. `unit` is what a value counts or measures. Each has the label LANE as well."""

    name: str
    kind: Literal["gauge", "counter", "histogram"]
    unit: str
    meaning: str
    labels: tuple[str, ...] = ()

    @property
    def served_as(self) -> str:
        """The name in expressions. A histogram also gets `_bucket`, `_count` and `_sum`."""
        return f"{self.name}_total" if self.kind == "counter" else self.name


# The label of every metric: several lanes may be scraped by one Prometheus.
LANE = "lane"
_BY_ACTIVITY = ("activity",)
_BY_WORKER = ("kind", "worker")

REDIS_UP = Metric("seckill_redis_up", "gauge", "bool", "Redis answered this scrape")
REDIS_MEMORY = Metric("seckill_redis_memory_bytes", "gauge", "bytes", "memory that Redis uses")
REDIS_LIMIT = Metric(
    "seckill_redis_memory_limit_bytes", "gauge", "bytes", "memory that Redis may use; 0: no limit"
)
LOADED = Metric("seckill_lane_loaded", "gauge", "bool", "Redis holds a sale")
FENCED = Metric(
    "seckill_lane_fenced", "gauge", "bool",
    "a fence is up: nothing is decided; absent: none", ("word",),
)  # fmt: skip
GENERATION = Metric(
    "seckill_lane_generation", "gauge", "rebuilds", "how often the lane was rebuilt after a loss"
)
CLOCK = Metric(
    "seckill_clock_difference_seconds", "gauge", "seconds",
    "how far Redis's clock is ahead of this process's",
)  # fmt: skip
CLOCK_BACK = Metric(
    "seckill_clock_back_seconds", "gauge", "seconds",
    "how far Redis's clock is behind the highest time that the lane has seen",
)  # fmt: skip
STOCK = Metric(
    "seckill_stock_units", "gauge", "units", "units left of an item, the first 50 of an activity",
    ("activity", "item"),
)  # fmt: skip
LEFT = Metric("seckill_left_units", "gauge", "units", "units left of all items", _BY_ACTIVITY)
PUT_ON_SALE = Metric(
    "seckill_loaded_units", "gauge", "units", "units ever put on sale, all items", _BY_ACTIVITY
)
OVER = Metric(
    "seckill_activity_over", "gauge", "bool", "finished, or everything sold", _BY_ACTIVITY
)
PAUSED = Metric("seckill_activity_paused", "gauge", "bool", "paused by an operator", _BY_ACTIVITY)
VERSION = Metric(
    "seckill_activity_version", "gauge", "acts", "grows with each control act", _BY_ACTIVITY
)  # fmt: skip
REQUESTS = Metric(
    "seckill_requests", "counter", "requests",
    "requests decided, by outcome; activity 0: outcomes that belong to none",
    ("activity", "outcome"),
)  # fmt: skip
SOLD = Metric("seckill_sold_units", "counter", "units", "units in accepted requests", _BY_ACTIVITY)
EXPIRED_WITH_STOCK = Metric(
    "seckill_expired_with_stock", "counter", "requests",
    "requests that expired while stock was left: lost sales", _BY_ACTIVITY,
)  # fmt: skip
LATENCY = Metric(
    "seckill_decision_latency_seconds", "histogram", "seconds",
    "from a request's initiation to its decision; the sum is within 6 %", _BY_ACTIVITY,
)  # fmt: skip
SKIPPED = Metric(
    "seckill_skipped_offsets", "counter", "offsets", "offsets that held no request, or were skipped"
)
RECOVERED = Metric(
    "seckill_recovered_offsets", "counter", "offsets",
    "offsets that were decided before a loss of Redis, their outcomes unknown",
)  # fmt: skip
LAG = Metric(
    "seckill_lag_requests", "gauge", "requests",
    "requests in Kafka that are not decided; absent while Kafka does not answer", ("partition",),
)  # fmt: skip
BLOCKED = Metric(
    "seckill_blocked_requests", "gauge", "requests",
    "part of the lag that Kafka hides behind an open transaction, for seconds already",
    ("partition",),
)  # fmt: skip
WAITING = Metric(
    "seckill_waiting_records", "gauge", "records", "accepted records not yet in PostgreSQL"
)
DEAD = Metric(
    "seckill_dead_records", "gauge", "records", "accepted records that could not become rows"
)
STORED = Metric(
    "seckill_stored_records", "counter", "records", "accepted records that went to PostgreSQL"
)
WORKERS = Metric(
    "seckill_workers", "gauge", "processes", "workers with a fresh heartbeat", ("kind",)
)
GONE = Metric(
    "seckill_workers_gone", "gauge", "processes",
    "workers that fell silent within the last hour without saying that they end", ("kind",),
)  # fmt: skip
SILENT = Metric(
    "seckill_worker_silent_seconds", "gauge", "seconds", "since its last heartbeat", _BY_WORKER
)
IDLE = Metric(
    "seckill_worker_idle_seconds", "gauge", "seconds",
    "from its last progress to its last heartbeat", _BY_WORKER,
)  # fmt: skip
HOLDING = Metric(
    "seckill_worker_holding", "gauge", "bool", "it holds: see its log for the reason", _BY_WORKER
)
DONE = Metric(
    "seckill_worker_done", "counter", "pieces",
    "what it did, by what its heartbeat counts: decided, letters_lost, stored, known, parked, "
    "samples, expired, restarts, published, delivered, failed, dead; a door's are below",
    ("kind", "worker", "what"),
)  # fmt: skip
EVENTS_BEHIND = Metric(
    "seckill_events_behind", "gauge", "events",
    "not published yet (rows, about), or not posted yet by all webhooks together; absent: unknown",
    _BY_WORKER,
)  # fmt: skip
HELD = Metric(
    "seckill_held_requests", "gauge", "requests", "accepted and neither paid nor given back yet",
    _BY_ACTIVITY,
)  # fmt: skip
OVERDUE = Metric(
    "seckill_overdue_requests", "gauge", "requests",
    "held for 10 s beyond their time: no settler has read everything that Kafka had by then",
    _BY_ACTIVITY,
)  # fmt: skip
SETTLED_HOLDS = Metric(
    "seckill_settled_requests", "counter", "requests",
    "held before, by what became of them: paid, expired, cancelled (given back, or not paid)",
    ("activity", "result"),
)  # fmt: skip
PAID_UNITS = Metric("seckill_paid_units", "counter", "units", "units of paid holds", _BY_ACTIVITY)
RETURNED_UNITS = Metric(
    "seckill_returned_units", "counter", "units", "units of holds that expired or were given back",
    _BY_ACTIVITY,
)  # fmt: skip
LATE_PAYMENTS = Metric(
    "seckill_late_payments", "counter", "payments",
    "payments for holds that had expired or were given back: the money is to be paid back",
    _BY_ACTIVITY,
)  # fmt: skip
SETTLEMENTS = Metric(
    "seckill_settlements", "counter", "messages",
    "settle messages by outcome: paid, released, too_late, repeated, not_held, invalid",
    ("outcome",),
)  # fmt: skip
SETTLE_SKIPPED = Metric(
    "seckill_settle_skipped_offsets", "counter", "offsets",
    "offsets of the settle topic without a message",
)  # fmt: skip
SETTLE_READ_AGE = Metric(
    "seckill_settle_read_age_seconds", "gauge", "seconds",
    "since the moment up to which all that Kafka had is settled; grows while nothing is held too; "
    "absent: no settler has run",
)  # fmt: skip
DOOR_CLICKS = Metric(
    "seckill_door_clicks", "counter", "clicks",
    "clicks at a door, each by what came of it: shed (a certain loser, refused without Kafka), "
    "repeated (bought before), acknowledged, not_taken (503, nothing was sent), unknown (503, "
    "sent and not acknowledged)", ("worker", "result"),
)  # fmt: skip
DOOR_REFUSED = Metric(
    "seckill_door_refused", "counter", "calls",
    "calls that a door refused before they were clicks, by HTTP status; 429: by rate",
    ("worker", "status"),
)  # fmt: skip
DOOR_ANSWERS = Metric(
    "seckill_door_answers", "counter", "answers",
    "final answers that a door gave, by state; the same ticket may be asked again",
    ("worker", "state"),
)  # fmt: skip
DOOR_SETTLEMENTS = Metric(
    "seckill_door_settlements", "counter", "calls",
    "calls that pay a hold or give it back, by what came of them: acknowledged, known (settled "
    "before, nothing was sent), not_taken, unknown; too_late is counted beside these: something "
    "else had settled the hold",
    ("worker", "result"),
)  # fmt: skip
DOOR_WAITING = Metric(
    "seckill_door_waiting_calls", "gauge", "calls", "calls that wait for an answer", ("worker",)
)
DOOR_BOARD_AGE = Metric(
    "seckill_door_board_age_seconds", "gauge", "seconds",
    "since a door's last look at Redis; without one it can answer nobody", ("worker",),
)  # fmt: skip
DOOR_ACKNOWLEDGE = Metric(
    "seckill_door_acknowledge_seconds", "histogram", "seconds",
    "from a click's hand-over to Kafka to its ticket: acknowledged, in this topic", ("worker",),
)  # fmt: skip
DOOR_ANSWER = Metric(
    "seckill_door_answer_seconds", "histogram", "seconds",
    "from a click's hand-over to Kafka to its decided answer, where one call brought both",
    ("worker",),
)  # fmt: skip
AUDIT_VERDICT = Metric(
    "seckill_audit_verdict", "gauge", "verdict",
    "the last audit: 1 clean, 0 violated, -1 it could not check; absent: none was made",
)  # fmt: skip
AUDIT_AGE = Metric("seckill_audit_age_seconds", "gauge", "seconds", "since the last audit")

METRICS = (
    REDIS_UP,
    REDIS_MEMORY,
    REDIS_LIMIT,
    LOADED,
    FENCED,
    GENERATION,
    CLOCK,
    CLOCK_BACK,
    STOCK,
    LEFT,
    PUT_ON_SALE,
    OVER,
    PAUSED,
    VERSION,
    REQUESTS,
    SOLD,
    EXPIRED_WITH_STOCK,
    LATENCY,
    SKIPPED,
    RECOVERED,
    LAG,
    BLOCKED,
    WAITING,
    DEAD,
    STORED,
    WORKERS,
    GONE,
    SILENT,
    IDLE,
    HOLDING,
    DONE,
    EVENTS_BEHIND,
    HELD,
    OVERDUE,
    SETTLED_HOLDS,
    PAID_UNITS,
    RETURNED_UNITS,
    LATE_PAYMENTS,
    SETTLEMENTS,
    SETTLE_SKIPPED,
    SETTLE_READ_AGE,
    DOOR_CLICKS,
    DOOR_REFUSED,
    DOOR_ANSWERS,
    DOOR_SETTLEMENTS,
    DOOR_WAITING,
    DOOR_BOARD_AGE,
    DOOR_ACKNOWLEDGE,
    DOOR_ANSWER,
    AUDIT_VERDICT,
    AUDIT_AGE,
)

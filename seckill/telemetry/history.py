"""The history of a lane: at most one sample per second with everything that charts show.

The consumers' parent writes it. It is kept in Redis beside the sale and is limited in size. The
counters run since the start, so they only grow: a rate is the difference of two samples. Of a quiet
period only the first and the last sample are kept, so a finished sale keeps its history.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

import msgspec
import redis

from seckill.lane.client import redis_errors, run_script
from seckill.lane.keys import Lane
from seckill.lane.status import ActivityStatus, LaneStatus
from seckill.telemetry.blocked import Blocked, in_words

# One hour of samples, if something changes every second.
SAMPLES_KEPT = 3600
# A sample older than this says nothing about the lag now, ms.
FRESH_MS = 10_000
# Items of an activity with a line of their own. Of the rest only the sum is kept.
ITEMS_KEPT = 50


@dataclass(frozen=True)
class ActivitySample:
    """An activity at one moment. `left` has the first ITEMS_KEPT items, `units_left` counts all."""

    version: int
    over: str | None
    left: dict[int, int]
    units_left: int
    units_sold: int
    # By name of the outcome.
    outcomes: dict[str, int]
    expired_with_stock: int
    # As in lane.status.Histogram: {lower bound in ms: requests}.
    cost_ms: dict[int, int]
    paused: bool = False


@dataclass(frozen=True)
class _Body:
    """The stored part of a sample. `lag` by partition; None if Kafka did not answer."""

    activities: dict[int, ActivitySample] = field(default_factory=dict)
    waiting: int = 0
    dead: int = 0
    invalid: int = 0
    no_such_activity: int = 0
    skipped: int = 0
    # Records that left the list for PostgreSQL.
    stored: int = 0
    lag: dict[int, int] | None = None
    # The part of the lag that open transactions block, by partition; and a text that names them.
    blocked: dict[int, int] = field(default_factory=dict)
    blocked_by: str = ""


@dataclass(frozen=True)
class Sample(_Body):
    """A lane at one moment. `at_ms` is Redis's time."""

    at_ms: int = 0

    @property
    def decided(self) -> int:
        """Requests that have an outcome, of all activities and of none."""
        known = sum(sum(a.outcomes.values()) for a in self.activities.values())
        return known + self.invalid + self.no_such_activity


_decode = msgspec.json.Decoder(_Body).decode


def sample_of(
    lane: LaneStatus,
    lag: Mapping[int, int] | None,
    at_ms: int = 0,
    blocked: tuple[Blocked, ...] = (),
) -> Sample:
    """A sample of what was read of the lane."""
    records = sum(activity.total_records for activity in lane.activities.values())
    return Sample(
        at_ms=at_ms,
        activities={number: _activity(a) for number, a in lane.activities.items()},
        waiting=lane.waiting,
        dead=lane.dead,
        invalid=lane.invalid,
        no_such_activity=lane.no_such_activity,
        skipped=lane.skipped,
        stored=max(0, records - lane.waiting - lane.dead),
        lag=None if lag is None else dict(lag),
        blocked={one.partition: one.requests for one in blocked},
        blocked_by=in_words(blocked),
    )


def append_sample(client: "redis.Redis", lane: Lane, sample: Sample) -> bool:
    """Append a sample now. False if this second already has one. Raises RedisAway."""
    body = {name: getattr(sample, name) for name in _Body.__dataclass_fields__}
    kept = run_script(
        client, "append_sample", [lane.series], [msgspec.json.encode(body), SAMPLES_KEPT]
    )
    return bool(kept)


def read_series(client: "redis.Redis", lane: Lane, since_ms: int = 0) -> list[Sample]:
    """The samples after a moment, oldest first. Raises RedisAway."""
    with redis_errors():
        found: list[bytes] = client.zrangebyscore(lane.series, f"({since_ms}", "+inf")  # type: ignore[assignment]
    return [_sample(text) for text in found]


def last_sample(client: "redis.Redis", lane: Lane) -> Sample | None:
    """The newest sample, or None. Raises RedisAway."""
    with redis_errors():
        found: list[bytes] = client.zrange(lane.series, -1, -1)  # type: ignore[assignment]
    return _sample(found[0]) if found else None


def fresh_sample(client: "redis.Redis", lane: Lane) -> Sample | None:
    """The newest sample, or None if it is too old to describe the present. Raises RedisAway."""
    newest = last_sample(client, lane)
    with redis_errors():
        seconds, micros = client.time()
    now_ms = seconds * 1000 + micros // 1000
    return newest if newest is not None and now_ms - newest.at_ms < FRESH_MS else None


def _sample(text: bytes) -> Sample:
    stamp, _, raw = text.partition(b" ")
    return Sample(**vars(_decode(raw)), at_ms=int(stamp))


def _activity(activity: ActivityStatus) -> ActivitySample:
    items = list(activity.items.values())
    return ActivitySample(
        version=activity.version,
        over=activity.over,
        left={item.item_id: item.left for item in items[:ITEMS_KEPT]},
        units_left=activity.left,
        units_sold=activity.total_units_sold,
        outcomes={outcome.name: count for outcome, count in activity.total_outcomes.items()},
        expired_with_stock=activity.total_expired_with_stock,
        cost_ms=activity.total_latency.buckets,
        paused=activity.paused,
    )

"""The history of a lane: one sample a second at most, of everything that a chart shows.

Written by the parent of the consumers, kept in Redis beside the sale, bounded. Counters are those
since ever, which only grow: a rate is the difference of two samples. Of a quiet time only the first
and the last sample stay, so a finished sale keeps its history.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

import msgspec
import redis

from seckill.blocked import Blocked, in_words
from seckill.keys import Lane
from seckill.redis_client import redis_errors, run_script
from seckill.stats import ActivityStatus, LaneStatus

# An hour of seconds in which something moved.
SAMPLES_KEPT = 3600
# A sample that is older than this says nothing of the lag now, ms.
FRESH_MS = 10_000
# Items of an activity that have their own line; of the others only the sum is kept.
ITEMS_KEPT = 50


@dataclass(frozen=True)
class ActivitySample:
    """An activity at one moment. `left` names the first ITEMS_KEPT items, `units_left` has all."""

    version: int
    over: str | None
    left: dict[int, int]
    units_left: int
    units_sold: int
    # By the outcome's name.
    outcomes: dict[str, int]
    expired_with_stock: int
    # As stats.Histogram has them: lower bound in ms to requests.
    cost_ms: dict[int, int]


@dataclass(frozen=True)
class _Body:
    """What is kept of a moment. `lag` by partition; None: Kafka did not answer."""

    activities: dict[int, ActivitySample] = field(default_factory=dict)
    waiting: int = 0
    dead: int = 0
    invalid: int = 0
    no_such_activity: int = 0
    skipped: int = 0
    # Records that left the list for PostgreSQL.
    stored: int = 0
    lag: dict[int, int] | None = None
    # What of the lag waits for an open transaction, by partition, and in words of whom.
    blocked: dict[int, int] = field(default_factory=dict)
    blocked_by: str = ""


@dataclass(frozen=True)
class Sample(_Body):
    """A lane at one moment, `at_ms` by Redis's clock."""

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
    """A look at the lane as the history keeps it."""
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
    """Add it to the history, now; False when this second has one already. Raises RedisAway."""
    body = {name: getattr(sample, name) for name in _Body.__dataclass_fields__}
    kept = run_script(
        client, "append_sample", [lane.series], [msgspec.json.encode(body), SAMPLES_KEPT]
    )
    return bool(kept)


def read_series(client: "redis.Redis", lane: Lane, since_ms: int = 0) -> list[Sample]:
    """The samples after a moment, the oldest first. Raises RedisAway."""
    with redis_errors():
        found: list[bytes] = client.zrangebyscore(lane.series, f"({since_ms}", "+inf")  # type: ignore[assignment]
    return [_sample(text) for text in found]


def last_sample(client: "redis.Redis", lane: Lane) -> Sample | None:
    """The newest sample, if there is one. Raises RedisAway."""
    with redis_errors():
        found: list[bytes] = client.zrange(lane.series, -1, -1)  # type: ignore[assignment]
    return _sample(found[0]) if found else None


def fresh_sample(client: "redis.Redis", lane: Lane, fresh_ms: int = FRESH_MS) -> Sample | None:
    """The newest sample, where it says something of now. Raises RedisAway."""
    newest = last_sample(client, lane)
    with redis_errors():
        seconds, micros = client.time()
    now_ms = seconds * 1000 + micros // 1000
    return newest if newest is not None and now_ms - newest.at_ms < fresh_ms else None


def _sample(text: bytes) -> Sample:
    stamp, _, raw = text.partition(b" ")
    return Sample(**vars(_decode(raw)), at_ms=int(stamp))


def _activity(activity: ActivityStatus) -> ActivitySample:
    items = list(activity.items.values())
    return ActivitySample(
        version=activity.version,
        over=activity.over,
        left={item.item_id: item.left for item in items[:ITEMS_KEPT]},
        units_left=sum(item.left for item in items),
        units_sold=activity.total_units,
        outcomes={outcome.name: count for outcome, count in activity.total_outcomes.items()},
        expired_with_stock=activity.total_expired_with_stock,
        cost_ms=activity.total_latency.buckets,
    )

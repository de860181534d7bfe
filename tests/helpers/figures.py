"""Figures of a lane, made by hand."""

import math

from seckill.formats.outcomes import Outcome
from seckill.lane.status import ActivityStatus, Histogram, LaneStatus


def bucket(cost: int) -> int:
    """decide_batch.lua's `bucket`, line by line."""
    if cost < 16:
        return cost
    _, exponent = math.frexp(cost)
    step = 2 ** (exponent - 4)
    return math.floor(cost / step) * step


def histogram(costs: list[int]) -> Histogram:
    buckets: dict[int, int] = {}
    for cost in costs:
        buckets[bucket(cost)] = buckets.get(bucket(cost), 0) + 1
    return Histogram(buckets)


def activity(**outcomes: int) -> ActivityStatus:
    counted = {o: outcomes.get(o.name, 0) for o in Outcome if o > Outcome.NO_SUCH_ACTIVITY}
    return ActivityStatus(
        activity_id=1, version=1, over=None, opens_at_ms=None, closes_at_ms=None, user_limit=None,
        timeout_ms=None, items={}, outcomes=counted,
        total_outcomes={outcome: 10 * count for outcome, count in counted.items()},
        units_sold=0, total_units=0, records=0, total_records=0, expired_with_stock=0,
            total_expired_with_stock=0, total_latency=Histogram({}),
        latency=Histogram({}),
    )  # fmt: skip


EMPTY = LaneStatus(
    loaded=False, activities={}, invalid=0, no_such_activity=0, skipped=0, positions={}, waiting=0,
    dead=0,
)  # fmt: skip

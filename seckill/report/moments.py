"""The history of a sale for the report's charts: cut out, counted from its start, lanes together.

Samples have Redis's time. The clocks of several Redis servers are taken to agree to a second.
"""

from bisect import bisect_right
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

from seckill.lane.status import ActivityStatus
from seckill.telemetry.history import ActivitySample, Sample

# Quiet time that the charts show before the first request, ms.
MARGIN_MS = 2_000


def since_start(samples: list[Sample], activity_id: int, activity: ActivityStatus) -> list[Sample]:
    """The samples that have the activity, of it alone, with its counters from the sale's start."""
    base = {
        outcome.name: activity.total_outcomes[outcome] - count
        for outcome, count in activity.outcomes.items()
    }
    units = activity.total_units_sold - activity.units_sold
    lost = activity.total_expired_with_stock - activity.expired_with_stock
    costs = {
        bucket: count - activity.latency.buckets.get(bucket, 0)
        for bucket, count in activity.total_latency.buckets.items()
    }
    return [
        replace(
            sample,
            activities={
                activity_id: _since(sample.activities[activity_id], base, units, lost, costs)
            },
        )
        for sample in samples
        if activity_id in sample.activities
    ]


def sale_moments(samples: list[Sample], activity_id: int, activity: ActivityStatus) -> list[Sample]:
    """The samples of `since_start` from the sale's first request to its last."""
    final = activity.total
    if not final:
        return []
    begun = ended = None
    for index, sample in enumerate(samples):
        count = sum(sample.activities[activity_id].outcomes.values())
        if not count:
            begun = index
        if ended is None and count >= final and sample.waiting == 0:
            ended = index
    return lane_counts_from(samples[begun or 0 : len(samples) if ended is None else ended + 1])


def lane_counts_from(samples: list[Sample]) -> list[Sample]:
    """The same; the lane's own counters begin with the first."""
    return [
        replace(
            sample,
            invalid=sample.invalid - samples[0].invalid,
            no_such_activity=sample.no_such_activity - samples[0].no_such_activity,
        )
        for sample in samples
    ]


def without_quiet(moments: list[Sample]) -> list[Sample]:
    """The same, starting shortly before the first request, so that no chart shows idle hours."""
    if len(moments) < 2:
        return moments
    first, second, *_ = moments
    begin = max(first.at_ms, second.at_ms - MARGIN_MS)
    return [replace(first, at_ms=begin), *moments[1:]]


def _since(
    sample: ActivitySample, base: dict[str, int], units: int, lost: int, costs: dict[int, int]
) -> ActivitySample:
    return replace(
        sample,
        outcomes={name: max(0, n - base.get(name, 0)) for name, n in sample.outcomes.items()},
        units_sold=max(0, sample.units_sold - units),
        expired_with_stock=max(0, sample.expired_with_stock - lost),
        cost_ms={b: max(0, n - costs.get(b, 0)) for b, n in sample.cost_ms.items()},
    )


def together(lanes: Sequence[tuple[int, list[Sample], list[Sample]]], head: int) -> list[Sample]:
    """The moments of a sale over several lanes, as if it were one activity with the head's number.

    Of each part: its number, its samples of `since_start`, and its own moments. There is one moment
    for each second in which a lane has a sample; of a lane that has none in it, the one before.
    """
    moments = [moment for _number, _samples, own in lanes for moment in own]
    if not moments:
        return []
    first, last = (end(moment.at_ms for moment in moments) for end in (min, max))
    series = [_between(samples, first, last) for _number, samples, _own in lanes]
    numbers = [number for number, _samples, _own in lanes]
    seen = [[sample.at_ms // 1000 for sample in one] for one in series]
    seconds = sorted({second for one in seen for second in one if second >= first // 1000})
    if all(len(own) <= 1 for _number, _samples, own in lanes):
        # Nobody has written a history: there is the present alone.
        seconds = seconds[-1:]
    found = []
    for second in seconds:
        places = [max(0, bisect_right(one, second) - 1) for one in seen]
        now = [one[place] for one, place in zip(series, places, strict=True)]
        found.append(_sum(second, now, numbers, head))
    return found


def _between(samples: list[Sample], first: int, last: int) -> list[Sample]:
    """The samples from the one before the first moment to the last one."""
    begun = max((n for n, sample in enumerate(samples) if sample.at_ms <= first), default=0)
    chosen = [sample for sample in samples[begun:] if sample.at_ms <= last]
    return lane_counts_from(chosen or samples[begun : begun + 1])


def _sum(second: int, samples: list[Sample], numbers: list[int], head: int) -> Sample:
    """All lanes at the end of a second."""
    activities = [s.activities[number] for s, number in zip(samples, numbers, strict=True)]
    lags = [sample.lag for sample in samples]
    return Sample(
        at_ms=max((s.at_ms for s in samples if s.at_ms // 1000 == second), default=second * 1000),
        activities={head: _activities(activities)},
        waiting=sum(sample.waiting for sample in samples),
        invalid=sum(sample.invalid for sample in samples),
        no_such_activity=sum(sample.no_such_activity for sample in samples),
        lag=None
        if None in lags
        else {lane: sum((lag or {}).values()) for lane, lag in enumerate(lags)},
    )


def _activities(parts: list[ActivitySample]) -> ActivitySample:
    left, outcomes, costs = Counter[int](), Counter[str](), Counter[int]()
    for part in parts:
        left.update(part.left)
        outcomes.update(part.outcomes)
        costs.update(part.cost_ms)
    return replace(
        parts[0],
        left=dict(left),
        units_left=sum(part.units_left for part in parts),
        units_sold=sum(part.units_sold for part in parts),
        outcomes=dict(outcomes),
        expired_with_stock=sum(part.expired_with_stock for part in parts),
        cost_ms=dict(costs),
    )

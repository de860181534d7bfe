"""What the report's charts draw: a sale's samples as points of (seconds since its begin, value)."""

from collections.abc import Callable, Sequence
from itertools import pairwise

from seckill.lane.status import Histogram
from seckill.report.data import SaleReport
from seckill.telemetry.history import ActivitySample, Sample


def over_time(
    report: SaleReport, value: Callable[[ActivitySample], int]
) -> list[tuple[float, float]]:
    """A value of the activity at each sample."""
    begin = report.moments[0].at_ms
    number_of = report.activity.activity_id
    return [
        ((moment.at_ms - begin) / 1000, float(value(moment.activities[number_of])))
        for moment in report.moments
    ]


def rates(moments: Sequence[Sample], outcome: str) -> list[tuple[float, float]]:
    """Requests per second between each two samples."""
    points = [(0.0, 0.0)]
    for before, after in pairwise(moments):
        seconds = (after.at_ms - before.at_ms) / 1000
        grown = _count(after, outcome) - _count(before, outcome)
        points.append(((after.at_ms - moments[0].at_ms) / 1000, max(0.0, grown / seconds)))
    return points


def percentiles(moments: Sequence[Sample], share: float) -> list[tuple[float, float]]:
    """The latency percentile, in s, between each two samples that have decisions between them."""
    points = []
    for before, after in pairwise(moments):
        grown = Histogram(
            {
                bucket: count - activity_before.cost_ms.get(bucket, 0)
                for number_of, activity in after.activities.items()
                for activity_before in (before.activities[number_of],)
                for bucket, count in activity.cost_ms.items()
                if count > activity_before.cost_ms.get(bucket, 0)
            }
        )
        value = grown.percentile(share)
        if value is not None:
            points.append(((after.at_ms - moments[0].at_ms) / 1000, value / 1000))
    return points


def _count(sample: Sample, outcome: str) -> int:
    return sum(activity.outcomes.get(outcome, 0) for activity in sample.activities.values())

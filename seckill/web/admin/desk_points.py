"""The points of the desk's charts: a lane's history, thinned, with rates and latencies."""

from typing import Any

from seckill.lane.status import Histogram
from seckill.telemetry.history import ActivitySample, Sample, sample_of
from seckill.web.admin.desk_look import HISTORY_LATE_MS, Look, percentiles

# About how many points a chart has. More samples are thinned evenly; counters lose nothing by it.
MAX_POINTS = 300
# A sample's rate applies for one second (ms). Behind a gap in the samples, a new rate starts then.
HOLD_MS = 1000


def points(look: Look, activity_id: int) -> list[dict[str, Any]]:
    """The chart's points, thinned. A `live` point applies until the history has a newer one.

    Of a quiet time the history has only the two ends. Both are kept, and a point after the first
    gives the rate in between. Otherwise a line from the rush to now would show requests that nobody
    sent.
    """
    samples = list(look.samples)
    late = not samples or look.now_ms - samples[-1].at_ms > HISTORY_LATE_MS
    if late:
        samples.append(sample_of(look.lane, None, look.now_ms))
    gap_ms = max(HISTORY_LATE_MS, (samples[-1].at_ms - samples[0].at_ms) / MAX_POINTS)
    every = -(-len(samples) // MAX_POINTS)
    found: list[dict[str, Any]] = []
    before = samples[0] if samples[0].at_ms <= look.since_ms else None
    for place in range(1 if before else 0, len(samples)):
        sample, last = samples[place], place == len(samples) - 1
        ends = last or samples[place + 1].at_ms - sample.at_ms > gap_ms
        gap = place > 0 and sample.at_ms - samples[place - 1].at_ms > gap_ms
        if place % every and not ends and not gap:
            continue
        point = _point(before, sample, activity_id, live=late and last)
        if before and gap:
            found.append(_held(before, activity_id, point))
        found.append(point)
        before = sample
    return found


def _held(before: Sample, activity_id: int, point: dict[str, Any]) -> dict[str, Any]:
    """The values of the sample before a gap, with the rates in the gap."""
    then = _point(None, before, activity_id, live=point["live"])
    return {**then, "t": before.at_ms + HOLD_MS, "rates": point["rates"]}


def _point(
    before: Sample | None, sample: Sample, activity_id: int, *, live: bool
) -> dict[str, Any]:
    now = sample.activities.get(activity_id)
    then = before.activities.get(activity_id) if before else None
    seconds = (sample.at_ms - before.at_ms) / 1000 if before else 0.0
    return {
        "t": sample.at_ms,
        "live": live,
        "left": now.left if now else {},
        "rates": _rates(then, now, before, sample, seconds),
        "ms": percentiles(_between(then, now)),
        "waiting": sample.waiting,
        "lag": sample.lag,
    }


def _rates(
    then: ActivitySample | None,
    now: ActivitySample | None,
    before: Sample | None,
    sample: Sample,
    seconds: float,
) -> dict[str, float]:
    """Requests/s by outcome since the previous sample; only outcomes that changed."""
    if before is None or seconds <= 0:
        return {}
    moved = {"INVALID": sample.invalid - before.invalid}
    moved["NO_SUCH_ACTIVITY"] = sample.no_such_activity - before.no_such_activity
    if now and then:
        for name, count in now.outcomes.items():
            moved[name] = count - then.outcomes.get(name, 0)
    return {name: round(n / seconds, 1) for name, n in moved.items() if n > 0}


def _between(then: ActivitySample | None, now: ActivitySample | None) -> Histogram:
    """The latencies of requests decided between two samples."""
    if then is None or now is None:
        return Histogram({})
    moved = {ms: n - then.cost_ms.get(ms, 0) for ms, n in now.cost_ms.items()}
    return Histogram({ms: n for ms, n in moved.items() if n > 0})

"""The desk's charts: points of a lane's history, thinned, with rates and latencies in between."""

from typing import Any

from seckill.admin.desk_look import HISTORY_LATE_MS, Look, percentiles
from seckill.series import ActivitySample, Sample, sample_of
from seckill.stats import Histogram

# Points of a chart, at most: more samples are thinned evenly, counters lose nothing by it.
MAX_POINTS = 300


def points(look: Look, activity_id: int) -> list[dict[str, Any]]:
    """The chart's points, thinned. One that is `live` holds until the history has a newer one."""
    samples = list(look.samples)
    late = not samples or look.now_ms - samples[-1].at_ms > HISTORY_LATE_MS
    if late:
        samples.append(sample_of(look.lane, None, look.now_ms))
    step_ms = look.window_ms / MAX_POINTS
    found: list[dict[str, Any]] = []
    before = samples[0] if samples[0].at_ms <= look.since_ms else None
    due = 0.0
    for sample in samples[1:] if before else samples:
        last = sample is samples[-1]
        if sample.at_ms < due and not last:
            continue
        due = sample.at_ms + step_ms
        found.append(_point(before, sample, activity_id, live=late and last))
        before = sample
    return found


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
    """Requests/s by outcome since the sample before; only those that moved."""
    if before is None or seconds <= 0:
        return {}
    moved = {"INVALID": sample.invalid - before.invalid}
    moved["NO_SUCH_ACTIVITY"] = sample.no_such_activity - before.no_such_activity
    if now and then:
        for name, count in now.outcomes.items():
            moved[name] = count - then.outcomes.get(name, 0)
    return {name: round(n / seconds, 1) for name, n in moved.items() if n > 0}


def _between(then: ActivitySample | None, now: ActivitySample | None) -> Histogram:
    """The latencies of what was decided between two samples."""
    if then is None or now is None:
        return Histogram({})
    moved = {ms: n - then.cost_ms.get(ms, 0) for ms, n in now.cost_ms.items()}
    return Histogram({ms: n for ms, n in moved.items() if n > 0})

"""Reads what a verdict needs. Owns how much of the history that is."""

from dataclasses import replace

import redis

from seckill.lane.keys import Lane
from seckill.lane.status import LaneStatus
from seckill.monitoring.verdict import NEEDED_MS, State, Verdict, judge
from seckill.telemetry.heartbeats import Worker
from seckill.telemetry.history import read_series

# States that may be older than what is read each time. Then all of the history is read, once.
LASTING = (State.STOPPED, State.SOLD_OUT, State.FINISHED, State.PAUSED, State.QUIET)
# How many beginnings of such states are remembered.
REMEMBERED = 100

# {what is known of the state: (when it began, whether it began before the history)}
_began: dict[tuple[object, ...], tuple[int, bool]] = {}


def read_verdict(
    client: "redis.Redis",
    lane: Lane,
    status: LaneStatus,
    workers: list[Worker],
    activity_id: int | None = None,
) -> Verdict:
    """The verdict on an activity, or on the whole lane, with its history. Raises RedisAway."""
    samples = read_series(client, lane, status.now_ms - NEEDED_MS)
    found = judge(status, samples, workers, activity_id)
    begins_ms = samples[0].at_ms if samples else status.now_ms
    known = found.held_ms is not None and status.now_ms - found.held_ms > begins_ms
    if known or found.state not in LASTING:
        return found
    key = (lane.list, status.identity, activity_id, found.state, status.decided, status.skipped)
    if key not in _began:
        whole = judge(status, read_series(client, lane), workers, activity_id)
        if len(_began) >= REMEMBERED:
            _began.clear()
        if whole.held_ms is None:
            return whole
        _began[key] = (status.now_ms - whole.held_ms, whole.longer)
    began_ms, longer = _began[key]
    return replace(found, held_ms=max(0, status.now_ms - began_ms), longer=longer)

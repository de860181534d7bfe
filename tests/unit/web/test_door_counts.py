"""What a door counts: each click once, by what came of it; and how its heartbeat is read."""

import msgspec
import pytest

from seckill.telemetry.door_counts import ACKNOWLEDGE, ANSWER, RESULTS, DoorCounts, bucket_of
from seckill.telemetry.heartbeats import Kind, Worker
from seckill.web.door.answers import State
from seckill.web.door.counts import Counts


def read(counts: Counts, **others: int) -> DoorCounts:
    """The counts, through a heartbeat and back."""
    said = msgspec.json.decode(msgspec.json.encode(counts.named() | others), type=dict[str, int])
    return DoorCounts(Worker(Kind.DOOR, "host:1", 0, 0, 0, 0, "", said))


def test_each_click_is_counted_once() -> None:
    counts = Counts()
    counts.shed, counts.repeated, counts.not_taken, counts.unknown = 1, 2, 3, 4
    counts.taken(0.004)
    counts.taken(0.006)
    assert counts.asked == 12
    found = read(counts, waiting=7, board_age_ms=250)
    assert found.results == {
        "shed": 1,
        "repeated": 2,
        "acknowledged": 2,
        "not_taken": 3,
        "unknown": 4,
    }
    assert tuple(found.results) == RESULTS
    assert (found.asked, found.waiting, found.board_age_s) == (12, 7, 0.25)
    assert found.mean_ms(ACKNOWLEDGE) == 5
    assert found.mean_ms(ANSWER) is None


def test_what_is_refused_is_counted_in_one_place() -> None:
    counts = Counts()
    for status in (401, 422, 422, 429, 503):
        counts.refuse(status)
    assert dict(counts.refused) == {401: 1, 422: 2}
    counts.limited = 3
    assert read(counts).refused == {"401": 1, "422": 2, "429": 3}


def test_calls_that_settle_holds() -> None:
    counts = Counts()
    for result in ("acknowledged", "acknowledged", "too_late"):
        counts.settle(result)
    assert read(counts).settlements == {
        "acknowledged": 2,
        "known": 0,
        "not_taken": 0,
        "unknown": 0,
        "too_late": 1,
    }


def test_answers_and_how_long_they_took() -> None:
    counts = Counts()
    counts.told(State.ACCEPTED, 0.0004)
    counts.told(State.REFUSED, 0.033)
    # Asked for later, with its ticket: when it was clicked is not known.
    counts.told(State.REFUSED, None)
    found = read(counts)
    assert found.told == {"accepted": 1, "refused": 2}
    histogram, sum_ms = found.durations(ANSWER)
    assert histogram.buckets == {0: 1, 32: 1}
    assert sum_ms == 33
    assert found.durations(ACKNOWLEDGE)[0].count == 0


@pytest.mark.parametrize(
    ("ms", "lower"),
    [(0, 0), (0.99, 0), (1, 1), (1.9, 1), (2, 2), (31.9, 16), (32, 32), (5000, 4096)],
)
def test_buckets_are_those_of_prometheus(ms: float, lower: int) -> None:
    """A bound of 1, 2, 4 ... ms falls between two of them, never inside one."""
    assert bucket_of(ms) == lower

"""The histogram of latencies: buckets as the script makes them, percentiles near the truth."""

import math

from hypothesis import example, given, settings
from hypothesis import strategies as st

from seckill.lane.status import Histogram, ItemStatus, LaneStatus, _width
from tests.helpers.figures import activity, bucket, histogram

# The longest latency there can be: a request of 1970, in ms.
LONGEST_MS = 2**41


@settings(derandomize=True, database=None, max_examples=300)
@given(st.integers(0, LONGEST_MS))
@example(15)
@example(16)
@example(17)
@example(31)
@example(32)
def test_a_bucket_holds_its_latency_and_no_other_bucket_does(cost: int) -> None:
    lower = bucket(cost)
    assert lower <= cost < lower + _width(lower)
    # The next bucket begins where this one ends.
    assert bucket(lower + _width(lower)) == lower + _width(lower)
    assert bucket(lower) == lower
    assert _width(lower) <= max(1, lower / 8)


@settings(derandomize=True, database=None, max_examples=300)
@given(
    st.lists(st.integers(0, 100_000), min_size=1, max_size=60),
    st.sampled_from([0.01, 0.5, 0.95, 0.99, 1.0]),
)
def test_a_percentile_is_within_six_percent(costs: list[int], share: float) -> None:
    exact = sorted(costs)[max(1, math.ceil(share * len(costs))) - 1]
    answer = histogram(costs).percentile(share)
    assert answer is not None
    assert abs(answer - exact) <= 0.0625 * exact


def test_nothing_measured_has_no_percentile() -> None:
    assert Histogram({}).percentile(0.5) is None
    assert Histogram({}).count == 0
    assert Histogram({0: 5}).percentile(0.99) == 0
    assert Histogram({3: 1, 4: 1}).percentile(0.5) == 3


def test_the_three_words_of_the_original_cover_every_request() -> None:
    status = activity(
        ACCEPTED=5, EXPIRED=3, OVER=2, SOLD_OUT=1, LIMIT=4, NOT_OPEN=6, UNKNOWN_ITEM=7
    )
    assert (status.success, status.timeouts, status.failures) == (5, 3, 20)
    assert status.total == 28


def test_decided_counts_every_request_ever() -> None:
    lane = LaneStatus(
        loaded=True, activities={1: activity(ACCEPTED=1), 2: activity(OVER=2)}, invalid=3,
        no_such_activity=4, skipped=100, positions={}, waiting=0, dead=0,
    )  # fmt: skip
    # The lane's own, and ten times the counters since the last reset, as above.
    assert lane.decided == 3 + 4 + 10 + 20


def test_what_is_sold_is_what_is_gone() -> None:
    assert ItemStatus(1001, left=3, loaded=10).sold == 7

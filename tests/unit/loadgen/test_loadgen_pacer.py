"""The pacer as pure arithmetic: whole curves from random segments."""

import math

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from loadgen import pacer
from loadgen.pacer import Pacer, Segment, capped

rates = st.floats(0, 50_000, allow_nan=False).map(lambda rate: round(rate, 3))
durations = st.floats(0.01, 500).map(lambda seconds: round(seconds, 3))
segments = st.builds(Segment, rates, rates, durations)
curves = st.lists(segments, min_size=1, max_size=6)


@given(curves, st.lists(st.floats(-10, 4000), min_size=2, max_size=20))
def test_due_never_falls_and_never_passes_the_total(
    curve: list[Segment], times: list[float]
) -> None:
    pace = Pacer(curve)
    due = [pace.due(t) for t in sorted(times)]
    assert due == sorted(due)
    assert due[0] >= 0
    assert due[-1] <= pace.total
    assert pace.due(1e9) == pace.total == int(sum(s.area for s in curve) + pacer.ROUNDING)


@given(curves, st.data())
def test_intended_is_when_a_request_becomes_due(curve: list[Segment], data: st.DataObject) -> None:
    pace = Pacer(curve)
    assume(pace.total > 0)
    number = data.draw(st.integers(0, pace.total - 1))
    at = pace.intended(number)
    assert 0 <= at <= sum(s.seconds for s in curve) + 1e-6
    # Seconds that rounding may cost where the rate is nearly 0.
    slack = 1e-3
    assert pace.due(at + slack) >= number + 1
    assert pace.due(at - slack) <= number + 1


@given(curves, st.integers(1, 5_000), st.data())
def test_times_are_the_same_however_they_are_asked_for(
    curve: list[Segment], count: int, data: st.DataObject
) -> None:
    pace = Pacer(curve)
    count = min(count, pace.total)
    assume(count > 0)
    first = data.draw(st.integers(0, pace.total - count))
    together = pace.times(first, count)
    assert len(together) == count
    assert together == sorted(together)
    for offset in {0, count // 3, count - 1}:
        assert pace.intended(first + offset) == pytest.approx(together[offset], rel=1e-9, abs=1e-9)


@given(curves, st.integers(1, 7), st.data())
def test_several_processes_keep_the_schedule_of_one(
    curve: list[Segment], parts: int, data: st.DataObject
) -> None:
    pace = Pacer(curve)
    shares = [pace.share(part, parts) for part in range(parts)]
    assert sum(share.total for share in shares) == pace.total
    assume(pace.total > 0)
    number = data.draw(st.integers(0, pace.total - 1))
    share, index = shares[number % parts], number // parts
    at = share.intended(index)
    # Seconds that rounding may cost where the rate is nearly 0.
    slack = 1e-3
    assert pace.due(at + slack) >= number + 1
    assert pace.due(at - slack) <= number + 1
    assert share.due(at + slack) >= index + 1


def test_a_constant_rate_is_evenly_spaced() -> None:
    pace = Pacer([Segment(200, 200, math.inf)], 1000)
    assert pace.times(0, 4) == pytest.approx([0.005, 0.010, 0.015, 0.020])
    assert pace.seconds == pytest.approx(5)
    assert [pace.due(t) for t in (0, 0.0049, 0.005, 2.5, 5, 100)] == [0, 0, 1, 500, 1000, 1000]


def test_a_ramp_and_a_spike_hold_the_area_under_the_curve() -> None:
    ramp = Pacer([Segment(0, 100, 10)])
    assert ramp.total == 500
    assert ramp.due(5) == 125
    spike = Pacer([Segment(10, 10, 5), Segment(1000, 1000, 2), Segment(1000, 10, 1)])
    assert spike.total == 50 + 2000 + 505
    assert spike.due(5) == 50
    assert spike.due(7) == 2050


def test_a_pause_of_rate_0_sends_nothing() -> None:
    pace = Pacer([Segment(0, 0, 3), Segment(10, 10, 1), Segment(0, 0, 3), Segment(10, 10, 1)])
    assert pace.total == 20
    assert pace.due(2.99) == 0
    assert pace.due(6.9) == 10
    assert pace.intended(9) == pytest.approx(4)
    assert pace.intended(10) == pytest.approx(7.1)


def test_the_last_rate_holds_until_the_total() -> None:
    pace = Pacer([Segment(0, 100, 1), Segment(100, 100, 1)], 1000)
    assert pace.seconds == pytest.approx(10.5)


@pytest.mark.parametrize(
    ("curve", "total", "words"),
    [
        ([Segment(10, 10, math.inf)], None, "no end"),
        ([Segment(10, 0, 1)], 100, "ends at 0"),
        ([Segment(5, 5, 1), Segment(0, 0, math.inf)], 6, "ends at 0"),
    ],
)
def test_a_total_that_is_never_reached_is_refused(
    curve: list[Segment], total: int | None, words: str
) -> None:
    with pytest.raises(ValueError, match=words):
        Pacer(curve, total)


@given(curves, st.floats(1, 60_000))
def test_capped_keeps_the_durations_and_the_limit(curve: list[Segment], limit: float) -> None:
    low = capped(curve, limit)
    assert sum(s.seconds for s in low) == pytest.approx(sum(s.seconds for s in curve))
    assert all(max(s.start, s.end) <= limit for s in low)
    assert sum(s.area for s in low) <= sum(s.area for s in curve) * (1 + 1e-9) + 1e-6


def test_capped_cuts_a_ramp_where_it_crosses() -> None:
    assert capped([Segment(0, 100, 10)], 50) == [Segment(0, 50, 5), Segment(50, 50, 5)]
    assert capped([Segment(100, 0, 10)], 50) == [Segment(50, 50, 5), Segment(50, 0, 5)]
    assert capped([Segment(80, 80, math.inf)], 50) == [Segment(50, 50, math.inf)]


def test_the_pacer_has_no_clock() -> None:
    assert not {"time", "datetime"} & set(vars(pacer))

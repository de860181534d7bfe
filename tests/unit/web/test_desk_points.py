"""The desk's charts: a history with gaps is drawn as what happened, thinned or not."""

from dataclasses import replace
from itertools import pairwise
from typing import Any

from seckill.lane.status import LaneStatus
from seckill.telemetry.history import ActivitySample, Sample
from seckill.web.admin.desk_look import Look
from seckill.web.admin.desk_points import MAX_POINTS, points

START_MS = 1_795_000_000_000
LANE = LaneStatus(
    loaded=True,
    activities={},
    positions={},
    waiting=0,
    dead=0,
    invalid=0,
    no_such_activity=0,
    skipped=0,
)


def sample(second: int, accepted: int) -> Sample:
    """The sale at a second: 100 units, one a request."""
    activity = ActivitySample(
        version=1,
        over=None,
        left={1001: 100 - accepted},
        units_left=100 - accepted,
        units_sold=accepted,
        outcomes={"ACCEPTED": accepted},
        expired_with_stock=0,
        cost_ms={},
    )
    return Sample(activities={1: activity}, lag={0: 0}, at_ms=START_MS + second * 1000)


def look(samples: list[Sample], now_s: int, since_s: int | None = None) -> Look:
    """A look at this second at a page whose newest point is of `since_s`."""
    since_ms = 0 if since_s is None else START_MS + since_s * 1000
    return Look(now_ms=START_MS + now_s * 1000, lane=LANE, samples=samples, since_ms=since_ms)


def rates(found: list[dict[str, Any]]) -> list[tuple[int, Any]]:
    """(second, requests/s by outcome) of each point."""
    return [((p["t"] - START_MS) // 1000, p["rates"]) for p in found]


def test_a_rush_ends_where_it_ended_however_long_nothing_comes_after_it() -> None:
    # The history keeps the two ends of a quiet time.
    rush = [sample(0, 0), sample(1, 40), sample(2, 90), sample(600, 90)]
    assert rates(points(look(rush, 600), 1)) == [
        (0, {}),
        (1, {"ACCEPTED": 40.0}),
        (2, {"ACCEPTED": 50.0}),
        (3, {}),
        (600, {}),
    ]
    held = points(look(rush, 600), 1)[3]
    assert (held["left"], held["lag"], held["ms"]) == ({1001: 10}, {0: 0}, None)


def test_a_page_that_goes_on_gets_the_gap_too() -> None:
    again = points(look([sample(2, 90), sample(600, 90)], 600, since_s=2), 1)
    assert rates(again) == [(3, {}), (600, {})]


def test_a_gap_in_which_something_happened_has_its_mean() -> None:
    # No parent took samples for 10 s.
    found = points(look([sample(0, 0), sample(10, 50)], 10), 1)
    assert rates(found) == [(0, {}), (1, {"ACCEPTED": 5.0}), (10, {"ACCEPTED": 5.0})]


def test_a_point_before_a_live_one_is_live_too() -> None:
    """The page drops both with the next answer, and asks from the last one that stays."""
    found = points(look([sample(0, 0)], 60), 1)
    assert [point["live"] for point in found] == [False, True, True]


def test_a_short_sale_keeps_each_second_in_a_long_window() -> None:
    found = points(look([*(sample(s, s) for s in range(20)), sample(3500, 19)], 3500), 1)
    assert [second for second, _ in rates(found)] == [*range(20), 20, 3500]


def test_a_long_history_is_thinned_and_keeps_its_sums() -> None:
    history = [replace(sample(s, 0), invalid=s) for s in range(3600)]
    found = points(look(history, 3599), 1)
    assert MAX_POINTS - 50 < len(found) <= MAX_POINTS + 2
    times = [int(point["t"]) for point in found]
    spans = [(b - a) / 1000 for a, b in pairwise(times)]
    sent = [p["rates"]["INVALID"] * s for p, s in zip(found[1:], spans, strict=True)]
    assert round(sum(sent)) == 3599

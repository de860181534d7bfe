"""The benchmark's own arithmetic: rates between looks, medians, goals, and how they are shown."""

import io
import json

import pytest
from rich.console import Console

from bench.deciding import DEMAND, REALISTIC
from bench.figures import Figure, tables
from bench.rig import rate_of
from seckill.lane.status import Histogram


@pytest.mark.parametrize(
    ("looks", "rate"),
    [
        # Starting does not count, nor do looks after the end.
        ([(0.0, 0), (5.0, 100), (6.0, 600), (7.0, 1100), (9.0, 1100)], 500.0),
        # All of it between two looks: no more than one look's time can be told.
        ([(0.0, 0), (1.0, 100)], 0.0),
    ],
)
def test_a_rate_is_taken_between_the_looks_that_saw_work(
    looks: list[tuple[float, int]], rate: float
) -> None:
    assert rate_of(looks) == rate


@pytest.mark.parametrize(
    ("values", "goal", "most", "reached"),
    [
        ([1.0, 9.0, 5.0], 5.0, False, True),
        ([1.0, 9.0, 4.0], 5.0, False, False),
        ([1.0, 9.0, 4.0], 5.0, True, True),
        ([6.0], 5.0, True, False),
        ([6.0], None, False, None),
    ],
)
def test_the_median_decides_whether_a_goal_is_reached(
    values: list[float], goal: float | None, most: bool, reached: bool | None
) -> None:
    figure = Figure("s", "n", values, "/s", goal, most)
    assert figure.reached is reached
    told = json.loads(json.dumps(figure.as_json()))
    assert (told["median"], told["lowest"], told["highest"]) == (
        figure.median,
        min(values),
        max(values),
    )
    assert (told["reached"], told["repeats"]) == (reached, len(values))


def test_the_table_tells_spread_goal_and_what_was_busy() -> None:
    out = io.StringIO()
    console = Console(file=out, width=160)
    figures = [
        Figure("store", "rows stored", [90.0, 120.0], "/s", 110, busy={"postgres": 0.98}),
        Figure("latency", "p99", [3.0], "ms", 50, most=True, note="GENERATOR LATE"),
    ]
    for table in tables(figures, {"cores": 2}):
        console.print(table)
    text = out.getvalue()
    for words in ("90.0 to 120", "over 110 missed", "postgres 0.98", "under 50.0 reached", "LATE"):
        assert words in text


def test_two_percent_can_win_the_realistic_sale() -> None:
    assert sum(share for share, _ in DEMAND.values()) == pytest.approx(1)
    ends = [end for _, end in DEMAND.values()]
    assert ends == sorted(set(ends))
    assert sum(REALISTIC.stock_for(500_000).values()) == pytest.approx(10_000, rel=0.05)


def test_a_histogram_since_another_one() -> None:
    before, after = Histogram({1: 5, 16: 2}), Histogram({1: 5, 16: 3, 40: 1})
    assert after.minus(before).count == 2
    assert after.minus(before).percentile(1) == 42

"""The picture of a sale: who jumped the queue, what is cut out of the history, how it is drawn."""

import re
from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from seckill.audit.audit import Report
from seckill.audit.checks import INVARIANTS, Finding
from seckill.formats.outcomes import Outcome
from seckill.lane.status import ActivityStatus, Histogram, ItemStatus, LaneStatus
from seckill.report import charts
from seckill.report.arrivals import shares
from seckill.report.charts import Line, thinned, ticks
from seckill.report.data import ItemStory, SaleReport
from seckill.report.fairness import Fairness, Queue, judge
from seckill.report.moments import sale_moments, since_start, without_quiet
from seckill.report.page import render
from seckill.telemetry.history import ActivitySample, Sample

NOTHING = {o: 0 for o in Outcome if o > Outcome.NO_SUCH_ACTIVITY}
BEGAN = 1_700_000_000_000


def verdict(winners: list[int], others: list[int]) -> Fairness:
    (found,) = judge({1001: Queue(winners, others)})
    return found


def test_in_order_of_arrival_nobody_jumped() -> None:
    found = verdict([10, 20, 30], [30, 40, 50])
    assert (found.requests, found.winners, found.jumped, found.share) == (6, 3, 0, 0.0)


def test_who_came_later_than_the_last_in_order_jumped_by_the_time_between() -> None:
    # In order, 10, 20 and 30 would have won: 50 jumped over 30 by 20 ms.
    found = verdict([10, 20, 50], [30, 40])
    assert (found.jumped, found.median_ms, found.longest_ms) == (1, 20, 20)
    found = verdict([10, 50, 90], [20, 30])
    assert (found.jumped, found.median_ms, found.longest_ms) == (2, 40, 60)


def test_together_is_no_jump_and_an_earlier_sale_is_no_queue() -> None:
    assert verdict([10, 20, 20], [20, 20]).jumped == 0
    found = verdict([10, 20], [1, 2, 3, 30])
    assert (found.requests, found.jumped) == (3, 0)


@given(st.lists(st.integers(0, 50), min_size=1), st.lists(st.integers(0, 50)))
def test_jumps_are_as_counted_one_by_one(winners: list[int], others: list[int]) -> None:
    found = verdict(winners, others)
    queue = sorted(winners + [at for at in others if at >= min(winners)])
    in_order = queue[: len(winners)]
    assert found.jumped == sum(at > in_order[-1] for at in winners)
    assert found.longest_ms == max(0, max(winners) - in_order[-1])


def test_a_bounded_read_takes_the_same_of_each_partition() -> None:
    assert shares({0: (5, 100), 1: (0, 8), 2: (7, 7)}, 60) == {0: (5, 25), 1: (0, 8), 2: (7, 7)}


def activity(accepted: int, before: int = 0) -> ActivityStatus:
    counts = {**NOTHING, Outcome.ACCEPTED: accepted}
    ever = {**NOTHING, Outcome.ACCEPTED: accepted + before}
    return ActivityStatus(
        activity_id=1, version=3, over="sold_out", opens_at_ms=None, closes_at_ms=None,
        user_limit=None, timeout_ms=None, paused=False, items={1001: ItemStatus(1001, 0, 30)},
        outcomes=counts, total_outcomes=ever, units_sold=accepted, total_units=accepted + before,
        records=accepted, total_records=accepted + before, expired_with_stock=0,
        total_expired_with_stock=0, latency=Histogram({4: accepted} if accepted else {}),
        total_latency=Histogram({4: accepted + before}),
    )  # fmt: skip


def moments_of(samples: list[Sample], status: ActivityStatus) -> list[Sample]:
    return sale_moments(since_start(samples, 1, status), 1, status)


def sample(second: int, accepted: int, waiting: int = 0) -> Sample:
    one = ActivitySample(
        version=3, over=None, left={1001: 40 - accepted}, units_left=40 - accepted,
        units_sold=accepted, outcomes={"ACCEPTED": accepted}, expired_with_stock=0,
        cost_ms={4: accepted},
    )  # fmt: skip
    return Sample(at_ms=BEGAN + second * 1000, activities={1: one}, waiting=waiting, lag={0: 1})


def test_a_sale_is_cut_out_of_the_history_and_counts_from_nought() -> None:
    samples = [sample(0, 4), sample(5, 10), sample(60, 10), sample(61, 25), sample(62, 40, 7)]
    samples += [sample(64, 40), sample(90, 40)]
    found = moments_of(samples, activity(30, before=10))
    assert [(m.at_ms - BEGAN) // 1000 for m in found] == [60, 61, 62, 64]
    assert [m.activities[1].outcomes["ACCEPTED"] for m in found] == [0, 15, 30, 30]
    assert [m.activities[1].cost_ms[4] for m in found] == [0, 15, 30, 30]


def test_the_quiet_before_a_sale_is_not_drawn() -> None:
    found = without_quiet(moments_of([sample(0, 0), sample(500, 30)], activity(30)))
    assert [(m.at_ms - BEGAN) // 1000 for m in found] == [498, 500]


def test_a_sale_without_requests_has_no_moments() -> None:
    assert moments_of([sample(0, 10)], activity(0, before=10)) == []


def test_ticks_are_round_and_reach_the_top() -> None:
    assert ticks(30_000) == [0, 10_000, 20_000, 30_000]
    assert ticks(0) == [0, 1]
    for top in (1, 3, 7, 11, 99, 101, 12_345, 0.07):
        marks = ticks(top)
        assert marks[-1] >= top
        assert 3 <= len(marks) <= 7


def test_a_long_line_is_thinned_and_keeps_its_end() -> None:
    points = [(float(x), float(x)) for x in range(3600)]
    kept = thinned(points)
    assert len(kept) <= charts.POINTS + 1
    assert (kept[0], kept[-1]) == (points[0], points[-1])


def test_layers_lie_on_top_of_each_other() -> None:
    low = Line("low", [(0, 10), (1, 10)], 0)
    high = Line("high", [(0, 10), (1, 10)], 1)
    drawn = charts.areas("what", [low, high])
    heights = [
        [float(point.split(",")[1]) for point in polygon.split()]
        for polygon in re.findall(r'points="([^"]+)"', drawn)
    ]
    assert heights[0][:2] == heights[1][2:], "the second stands on the first"
    assert heights[1][0] < heights[0][0]


def picture(**changes: object) -> str:
    moments = moments_of([sample(0, 0), sample(1, 12), sample(2, 30)], activity(30))
    lane = LaneStatus(True, {}, 0, 0, 0, {}, 0, 0)
    report = SaleReport(
        activity(30), lane, moments, [ItemStory(1001, 30, 0, BEGAN, BEGAN + 2000)], BEGAN + 9000,
        audit=Report(checks=32, messages=30), fairness=[Fairness(1001, 50, 30, 3, 12.5, 70)],
    )  # fmt: skip
    return render(replace(report, **changes))  # type: ignore[arg-type]


def test_the_page_needs_nothing_from_outside() -> None:
    page = picture()
    assert "<script" not in page
    assert not re.search(r"(?:src|href|url|@import)\s*[=(]", page)
    assert "http" not in page
    for words in ("clean", "10.00 %", "12.5 ms", "item 1001", "sold out", "prefers-color-scheme"):
        assert words in page
    # Each chart wide and narrow.
    assert page.count("<svg") == 10
    # Printed, a long table has its head on each page.
    assert page.count("<table>") == page.count("<table><thead>") > 4
    for name in INVARIANTS:
        assert name in page


def test_the_page_of_a_sale_that_went_wrong() -> None:
    finding = Finding("never lost", "offset <3>", "it is gone", "look")
    page = picture(audit=Report(clean=False, findings=[finding]))
    assert "VIOLATED" in page
    assert "offset &lt;3&gt;" in page
    page = picture(audit=None, audit_reason="PostgreSQL is away", fairness=[],
                   fairness_reason="Kafka is away")  # fmt: skip
    assert "Not run: PostgreSQL is away." in page
    assert "Not judged: Kafka is away." in page


def test_the_page_of_a_sale_that_has_not_begun() -> None:
    still = replace(activity(0), over=None, items={1001: ItemStatus(1001, 30, 30)})
    page = picture(activity=still, moments=[], items=[ItemStory(1001, 30, 30, None, None)],
                   fairness=[], fairness_reason="no item is sold out")  # fmt: skip
    assert "still running" in page
    assert "No request was decided yet." in page

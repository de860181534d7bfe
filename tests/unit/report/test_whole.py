"""A sale over several lanes: its history is one line, and its parts are added up."""

from dataclasses import replace

import pytest

from seckill.lane.status import ActivityStatus, ItemStatus
from seckill.report.moments import since_start, together
from seckill.report.series import rates
from seckill.report.whole import _activity, _over
from seckill.telemetry.history import Sample
from tests.unit.report.test_report import BEGAN, activity, moments_of, sample

Given = tuple[int, list[Sample], list[Sample]]


def at(second: float, accepted: int, number: int = 1, **more: object) -> Sample:
    """A sample at a part of a second, of the activity with this number."""
    one = sample(0, accepted)
    return replace(
        one, at_ms=BEGAN + int(second * 1000), activities={number: one.activities[1]}, **more  # type: ignore[arg-type]
    )  # fmt: skip


def lane(number: int, status: ActivityStatus, *samples: Sample) -> Given:
    """What the report has of a part."""
    renamed = [replace(s, activities={1: s.activities[number]}) for s in samples]
    own = moments_of(renamed, status)
    counted = since_start(renamed, 1, status)
    back = [
        [replace(s, activities={number: s.activities[1]}) for s in some] for some in (counted, own)
    ]
    return number, back[0], back[1]


def test_each_second_has_one_moment_with_the_sums_of_all_lanes() -> None:
    first = lane(1, activity(30), at(0, 0), at(1, 10), at(2, 30))
    # Half a second later by its own samples, with another activity's number, and it goes on longer.
    second = lane(
        2, activity(20), at(0.5, 0, 2), at(1.5, 5, 2), at(2.5, 15, 2), at(3.5, 20, 2)
    )  # fmt: skip
    found = together([first, second], 1)
    assert [moment.at_ms - BEGAN for moment in found] == [500, 1500, 2500, 3500]
    assert [m.activities[1].outcomes["ACCEPTED"] for m in found] == [0, 15, 45, 50]
    # 40 units in each at first.
    assert [m.activities[1].units_left for m in found] == [80, 65, 35, 30]
    assert [m.activities[1].left[1001] for m in found] == [80, 65, 35, 30]
    assert [m.activities[1].cost_ms[4] for m in found] == [0, 15, 45, 50]
    assert [rate for _at, rate in rates(found, "ACCEPTED")] == [0, 15, 30, 5]
    assert [m.lag for m in found] == [{0: 1, 1: 1}] * 4


def test_a_lane_that_has_ended_or_not_begun_is_shown_as_it_is() -> None:
    """Its units may be moved after its last request, and are in the sums before its first one."""
    early = lane(1, activity(10), at(0, 0), at(1, 10))
    moved = [*early[1], replace(at(3, 25), waiting=0)]
    late = lane(2, activity(20), at(2, 0, 2), at(3, 12, 2), at(4, 20, 2))
    found = together([(1, moved, early[2]), late], 1)
    assert [(m.at_ms - BEGAN) // 1000 for m in found] == [0, 1, 2, 3, 4]
    assert [m.activities[1].units_left for m in found] == [80, 70, 70, 43, 35]


def test_the_present_alone_is_one_moment() -> None:
    first, second = lane(1, activity(10), at(0.9, 10)), lane(2, activity(20), at(1.1, 20, 2))
    (now,) = together([first, second], 1)
    assert now.activities[1].outcomes["ACCEPTED"] == 30
    assert together([lane(1, activity(0), at(0, 0))], 1) == []


def test_an_unknown_lag_of_one_lane_is_no_lag_of_the_sale() -> None:
    first = lane(1, activity(10), at(0, 0), at(1, 10, lag=None))
    second = lane(2, activity(20), at(0, 0, 2), at(1, 20, 2))
    assert [m.lag for m in together([first, second], 1)] == [{0: 1, 1: 1}, None]


def test_parts_are_added_up() -> None:
    head = replace(
        activity(30), items={1001: ItemStatus(1001, 4, 30), 1002: ItemStatus(1002, 1, 2)}
    )
    part = replace(activity(20, before=5), activity_id=2, items={1001: ItemStatus(1001, 0, 20)})
    whole = _activity([head, part], 0)
    assert whole.items == {1001: ItemStatus(1001, 4, 50), 1002: ItemStatus(1002, 1, 2)}
    assert (whole.activity_id, whole.success, whole.total) == (1, 50, 50)
    assert (whole.units_sold, whole.total_units, whole.latency.count) == (50, 55, 50)


@pytest.mark.parametrize(
    ("parts", "on_the_way", "over"),
    [
        (["sold_out", "sold_out"], 0, "sold_out"),
        # They are on sale again in a moment.
        (["sold_out", "sold_out"], 1, None),
        (["sold_out", None], 0, None),
        (["finished", "sold_out"], 1, "finished"),
    ],
)
def test_a_sale_is_over_when_no_part_sells(
    parts: list[str | None], on_the_way: int, over: str | None
) -> None:
    assert _over([replace(activity(1), over=word) for word in parts], on_the_way) == over

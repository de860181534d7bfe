"""What a script waits for: when it has come, has not come yet, and cannot come any more."""

from dataclasses import replace

import pytest

from seckill.lane.status import ActivityStatus, Fence, ItemStatus, LaneStatus
from seckill.monitoring.milestones import (
    OPENED,
    SOLD_OUT,
    Judgement,
    judge_activity,
    judge_drained,
    together,
)
from seckill.web.api.schemas import _nothing

NOW = 1_000_000
SALE = replace(_nothing(1), items={1001: ItemStatus(1001, 3, 10)})
EMPTY = replace(SALE, items={1001: ItemStatus(1001, 0, 10)})


def lane(*activities: ActivityStatus, **more: object) -> LaneStatus:
    """A lane at NOW."""
    known = {each.activity_id: each for each in activities}
    made = LaneStatus(True, known, 0, 0, 0, {}, 0, 0, now_ms=NOW)
    return replace(made, **more)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("activity", "reached", "why"),
    [
        (SALE, True, "on sale"),
        (replace(SALE, paused=True), False, "paused"),
        (replace(SALE, opens_at_ms=NOW + 60_000), False, "opens in 60 s"),
        (replace(SALE, opens_at_ms=NOW, closes_at_ms=NOW + 1), True, "on sale"),
        (replace(SALE, closes_at_ms=NOW), None, "closed"),
        (replace(SALE, over="finished"), None, "over: finished"),
        (replace(EMPTY, over="sold_out"), None, "over: sold out"),
    ],
)
def test_opened(activity: ActivityStatus, reached: bool | None, why: str) -> None:
    found = judge_activity(lane(activity), 1, OPENED)
    assert found.reached is reached
    assert why in found.why


@pytest.mark.parametrize(
    ("activity", "reached"),
    [
        (SALE, False),
        (EMPTY, True),
        (replace(EMPTY, over="finished"), True),
        (replace(SALE, over="finished"), None),
    ],
)
def test_sold_out(activity: ActivityStatus, reached: bool | None) -> None:
    assert judge_activity(lane(activity), 1, SOLD_OUT).reached is reached


def test_a_clock_that_went_back_opens_nothing_twice() -> None:
    closed = replace(SALE, closes_at_ms=NOW + 5)
    assert judge_activity(lane(closed, clock_ms=NOW + 5), 1, OPENED).reached is None


@pytest.mark.parametrize("milestone", [OPENED, SOLD_OUT])
def test_what_is_not_there_may_still_come(milestone: str) -> None:
    assert judge_activity(lane(), 1, milestone).reached is False
    fenced = lane(EMPTY, fence=Fence("REWOUND", "older", 0))
    assert judge_activity(fenced, 1, milestone).reached is False


@pytest.mark.parametrize(
    ("lag", "waiting", "reached"), [(0, 0, True), (1, 0, False), (0, 1, False)]
)
def test_drained(lag: int, waiting: int, reached: bool) -> None:
    assert judge_drained(lane(waiting=waiting), lag).reached is reached


def test_lanes_together_have_come_as_far_as_the_last_one() -> None:
    done, waits = Judgement(True, "done"), Judgement(False, "waits")
    assert together([done, waits, done]) == waits
    assert together([done, done]).reached

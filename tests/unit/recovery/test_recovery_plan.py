"""When a recovery is needed at all, and what of: each difference alone, and none is none."""

from dataclasses import replace
from typing import Any, ClassVar

import pytest

from seckill.lane.status import Fence, Holds, LaneStatus
from seckill.postgres.settled import Ended
from seckill.recovery.plan import (
    ActivityPlan,
    ItemPlan,
    PartitionPlan,
    Plan,
    _changes,
    _changes_of_holds,
    _partitions,
)
from tests.helpers.figures import activity

LANE = LaneStatus(
    loaded=True, activities={}, invalid=0, no_such_activity=0, skipped=0, positions={}, waiting=0,
    dead=0,
)  # fmt: skip
SOUND = ActivityPlan(
    activity_id=1, version_now=1, items=[], state={}, requests=0, units=0, records=0,
    ended=Ended(), held=0, epoch_now=0, buyers=None, changes=[],
)  # fmt: skip
STANDS = PartitionPlan("s", 0, position_now=5, position=5)
PLAN = Plan(LANE, [SOUND, replace(SOUND, activity_id=2)], [STANDS], recovered=0)


def test_where_redis_is_as_the_records_say() -> None:
    assert not PLAN.needed
    assert not replace(PLAN, partitions=[PartitionPlan("s", 0, 6, 5)]).needed
    assert not replace(PLAN, activities=[], partitions=[]).needed


@pytest.mark.parametrize(
    "plan",
    [
        replace(PLAN, lane=replace(LANE, fence=Fence("REWOUND", 0, "why"))),
        replace(PLAN, older="it does not know this lane"),
        replace(PLAN, activities=[SOUND, replace(SOUND, changes=["not loaded in Redis"])]),
        replace(PLAN, partitions=[STANDS, PartitionPlan("s", 1, 4, 5)]),
        replace(PLAN, partitions=[STANDS, PartitionPlan("s", 1, None, 0)]),
        replace(PLAN, settle_partitions=[STANDS, PartitionPlan("s", 1, 4, 5)]),
    ],
)
def test_each_reason(plan: Plan) -> None:
    assert plan.needed


def test_a_partition_has_its_field() -> None:
    assert STANDS.field_name == "s:0"


class TestPartitions:
    """Those that Redis, the records or the topic know; each stands at the highest."""

    NOW: ClassVar = {"s:0": 5, "s:1": 7, "old:3": 2}
    ENDS = {("s", 0): 6, ("s", 1): 6, ("s", 2): 4}

    def test_what_the_topic_has_too(self) -> None:
        assert _partitions(self.NOW, self.ENDS, "s", [0, 1, 4]) == [
            PartitionPlan("old", 3, 2, 2),
            PartitionPlan("s", 0, 5, 6),
            PartitionPlan("s", 1, 7, 7),
            PartitionPlan("s", 2, None, 4),
            PartitionPlan("s", 4, None, 0),
        ]

    def test_without_a_topic(self) -> None:
        found = _partitions(self.NOW, self.ENDS, None, [0, 1, 4])
        assert [(place.source, place.partition) for place in found] == [
            *[("old", 3), ("s", 0), ("s", 1), ("s", 2)],
        ]
        assert _partitions(self.NOW, self.ENDS) == found


class TestChanges:
    """Of an activity that Redis has as the records say, but for one thing."""

    ITEM = ItemPlan(1001, left_now=3, loaded_now=5, left=3, loaded=5, sold=2)

    @pytest.mark.parametrize(
        ("now", "must", "why"),
        [
            ({}, {}, []),
            ({"paused": True}, {}, ["paused: 1 in Redis, no in PostgreSQL"]),
            ({}, {"paused": "1"}, ["paused: no in Redis, 1 in PostgreSQL"]),
            ({"paused": True}, {"paused": "1"}, []),
            ({"over": "finished"}, {}, ["over: finished in Redis, no in PostgreSQL"]),
            ({}, {"over": "sold_out"}, ["over: no in Redis, sold_out in PostgreSQL"]),
            ({"total_records": 1_234}, {}, ["1,234 records in Redis's counters, 0 proved"]),
        ],
    )
    def test_of_its_state(self, now: dict[str, Any], must: dict[str, str], why: list[str]) -> None:
        lane = replace(LANE, activities={1: replace(activity(), **now)})
        assert _changes(lane, 1, [self.ITEM], must, 0) == why

    @pytest.mark.parametrize("field", ["left_now", "loaded_now"])
    def test_of_an_item(self, field: str) -> None:
        lane = replace(LANE, activities={1: activity()})
        item = replace(self.ITEM, **{field: 4})
        left, loaded = item.left_now, item.loaded_now
        why = f"item 1001: {left} left of {loaded} in Redis, 3 of 5 proved"
        assert _changes(lane, 1, [self.ITEM, item], {}, 0) == [why]

    def test_of_its_holds(self) -> None:
        now = activity()
        assert _changes_of_holds(now, Ended(), 0) == []
        assert _changes_of_holds(None, Ended(paid=1), 1) == []
        now = replace(now, holds=Holds(held=2, expired=1))
        assert _changes_of_holds(now, Ended(cancelled=1), 2) == [
            "1 holds expired in Redis, 0 proved",
            "0 holds given back in Redis, 1 proved",
        ]

    def test_not_loaded(self) -> None:
        lane = replace(LANE, activities={2: activity()})
        assert _changes(lane, 1, [self.ITEM], {}, 0) == ["not loaded in Redis"]

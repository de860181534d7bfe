"""When a recovery is needed at all: any one reason is enough, and none is none."""

from dataclasses import replace

import pytest

from seckill.recovery_plan import ActivityPlan, PartitionPlan, Plan
from seckill.stats import Fence, LaneStatus

LANE = LaneStatus(
    loaded=True, activities={}, invalid=0, no_such_activity=0, skipped=0, positions={}, waiting=0,
    dead=0,
)  # fmt: skip
SOUND = ActivityPlan(
    activity_id=1, version_now=1, items=[], state={}, requests=0, units=0, records=0, buyers=None,
    changes=[],
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
    ],
)
def test_each_reason(plan: Plan) -> None:
    assert plan.needed


def test_a_partition_has_its_field() -> None:
    assert STANDS.field_name == "s:0"

"""The status line: what it says of a running, a finished, an empty and a troubled sale."""

from dataclasses import replace

from seckill.consumer.status_line import status_line
from seckill.formats.outcomes import Outcome
from seckill.lane.status import ActivityStatus, Histogram, ItemStatus, LaneStatus
from tests.helpers.figures import EMPTY


def activity(number: int = 1, items: int = 2, **outcomes: int) -> ActivityStatus:
    counted = {o: outcomes.get(o.name, 0) for o in Outcome if o > Outcome.NO_SUCH_ACTIVITY}
    return ActivityStatus(
        activity_id=number, version=1, over=None, opens_at_ms=None, closes_at_ms=None,
        user_limit=None, timeout_ms=None,
        items={1000 + n: ItemStatus(1000 + n, left=1200 * n, loaded=20000) for n in range(items)},
        outcomes=counted, total_outcomes=counted, units_sold=0, total_units=0, records=0,
        total_records=0, expired_with_stock=0, latency=Histogram({}),
        total_expired_with_stock=0, total_latency=Histogram({}),
    )  # fmt: skip


def line(lane: LaneStatus, lag: int | None = 0) -> str:
    return status_line(lane, rate=61234.4, lag=lag, consumers=2)


def test_a_running_sale() -> None:
    lane = replace(
        EMPTY, loaded=True, waiting=1234, invalid=3, no_such_activity=1,
        activities={1: activity(ACCEPTED=1500, EXPIRED=7, SOLD_OUT=20, LIMIT=4)},
    )  # fmt: skip
    assert line(lane, lag=5000) == (
        "[status] activity 1: left 1000:0 1001:1,200 | on sale | accepted 1,500 | expired 7"
        " | refused 28 (sold_out 20, limit 4, no_such_activity 1, invalid 3) | decided 1,535"
        " | 61,234/s | lag 5,000 | waiting for PostgreSQL 1,234 | consumers 2"
    )


def test_a_sale_that_is_over_says_why() -> None:
    sale = replace(activity(), over="finished")
    assert "| over (finished) |" in line(replace(EMPTY, loaded=True, activities={1: sale}))


def test_nothing_loaded_says_that_nothing_is_lost() -> None:
    text = line(EMPTY)
    assert "NOT_LOADED" in text
    assert "requests wait" in text
    assert "sold" not in text


def test_what_cannot_be_known_is_not_a_number() -> None:
    assert "lag unknown (Kafka is away)" in line(EMPTY, lag=None)


def test_parked_records_are_told_only_when_there_are_some() -> None:
    assert "parked" not in line(EMPTY)
    assert line(replace(EMPTY, dead=2)).endswith("parked records 2")


def test_several_activities_each_have_a_line() -> None:
    lane = replace(
        EMPTY, loaded=True,
        activities={1: activity(ACCEPTED=1), 2: activity(2, ACCEPTED=2), 3: activity(3, OVER=3)},
    )  # fmt: skip
    first, second, third = line(lane).splitlines()
    assert first.startswith("[status] activity 1: ")
    assert "accepted 3 " in first
    assert "(over 3)" in first
    assert second.strip().startswith("activity 2: left ")
    assert third.strip().startswith("activity 3: left ")


def test_many_items_are_summed_up() -> None:
    text = line(replace(EMPTY, loaded=True, activities={1: activity(items=11)}))
    rest = 1200 * (8 + 9 + 10)
    assert f"1007:8,400 and 3 more items: {rest:,} |" in text

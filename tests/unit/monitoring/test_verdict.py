"""The verdict on a lane: a table of what is read and what is said, and that it does not flap."""

from dataclasses import replace
from typing import Any

import pytest

from seckill.formats.outcomes import Outcome
from seckill.lane.status import ActivityStatus, Fence, Histogram, Holds, ItemStatus, LaneStatus
from seckill.monitoring.verdict import State, judge
from seckill.monitoring.verdict_text import in_words
from seckill.telemetry.heartbeats import Kind, Worker
from seckill.telemetry.history import Sample, sample_of

NOW_MS = 1_795_000_000_000


def activity(accepted: int = 0, **given: Any) -> ActivityStatus:
    """100 units of one item, one a request."""
    counts = dict.fromkeys(
        (o for o in Outcome if o not in (Outcome.INVALID, Outcome.NO_SUCH_ACTIVITY)), 0
    )
    counts[Outcome.ACCEPTED] = accepted
    fields: dict[str, Any] = {
        "activity_id": 1,
        "version": 1,
        "over": None,
        "opens_at_ms": None,
        "closes_at_ms": None,
        "user_limit": None,
        "timeout_ms": None,
        "items": {1: ItemStatus(1, 100 - accepted, 100)},
        "outcomes": counts,
        "total_outcomes": counts,
        "units_sold": accepted,
        "total_units": accepted,
        "records": accepted,
        "total_records": accepted,
        "expired_with_stock": 0,
        "total_expired_with_stock": 0,
        "latency": Histogram({}),
        "total_latency": Histogram({}),
    }
    return ActivityStatus(**{**fields, **given})


def lane(accepted: int = 0, **given: Any) -> LaneStatus:
    """One activity that has accepted so many requests; all is stored."""
    own = {name: given.pop(name) for name in tuple(given) if name in ActivityStatus.__annotations__}
    fields: dict[str, Any] = {
        "loaded": True,
        "positions": {},
        "waiting": 0,
        "dead": 0,
        "invalid": 0,
        "no_such_activity": 0,
        "skipped": 0,
        "now_ms": NOW_MS,
        "activities": {1: activity(accepted, **own)},
    }
    return LaneStatus(**{**fields, **given})


def past(ago_ms: int, accepted: int, lag: int | None, **given: Any) -> Sample:
    """What the history has of a moment."""
    return sample_of(
        lane(accepted, **given), None if lag is None else {0: lag}, at_ms=NOW_MS - ago_ms
    )


def consumer(silent_ms: int = 300, detail: str = "", number: int = 1) -> Worker:
    """Heard so many ms ago."""
    beat = NOW_MS - silent_ms
    return Worker(Kind.CONSUMER, f"h:{number}", beat, beat, beat, silent_ms, detail, {})


def settler(silent_ms: int = 300) -> Worker:
    """Heard so many ms ago."""
    return replace(consumer(silent_ms), kind=Kind.SETTLER)


def steady(until_ms: int, accepted: int, lag: int = 0) -> list[Sample]:
    """Four seconds with ten requests each, ending so many ms ago with this count."""
    return [past(until_ms + 1000 * n, accepted - 10 * n, lag) for n in (3, 2, 1, 0)]


ALIVE = [consumer()]
TABLE = {
    "it sells": (lane(50), steady(500, 48), ALIVE, "Selling for 2 s: 9/s, nothing waits"),
    "it sells, and a little waits": (
        lane(50),
        steady(500, 48, lag=9),
        ALIVE,
        "Selling for 2 s: 9/s, 7 wait in Kafka",
    ),
    "more waits than it decides in five seconds": (
        lane(50),
        steady(500, 48, lag=900),
        ALIVE,
        "Selling, but behind for 2 s: 9/s, 898 wait in Kafka",
    ),
    "frozen while it was busy": (
        lane(50),
        [*steady(2500, 50), past(1500, 50, 40), past(500, 50, 80)],
        [consumer(2100)],
        "Stopped for 2 s: 80 wait in Kafka, nothing is decided",
    ),
    "one of two is frozen, and the other has nothing to do": (
        lane(50),
        [*steady(2500, 50), past(1500, 50, 40), past(500, 50, 80)],
        [consumer(2600), consumer(200, number=2)],
        "Partly stopped for 3 s: 1 of 2 consumers give no sign, 80 wait in Kafka",
    ),
    "one of two is frozen, and the other decides": (
        lane(60),
        [*steady(2500, 50), past(1500, 53, 40), past(500, 59, 80)],
        [consumer(2600), consumer(200, number=2)],
        "Partly stopped for 3 s: 1 of 2 consumers give no sign, 79 wait in Kafka",
    ),
    "frozen with the parent that writes the history": (
        lane(50),
        [*steady(60_000, 50), past(59_000, 50, 40)],
        [consumer(59_500)],
        "Stopped for 1 min 00 s: 40 wait in Kafka, nothing is decided",
    ),
    "gone, and Kafka does not answer any more": (
        lane(50),
        [past(9000, 50, 40), past(8000, 50, 80), past(1000, 50, None)],
        [],
        "Stopped for 9 s: 80 wait in Kafka, nothing is decided",
    ),
    "it holds and says why": (
        lane(50),
        [past(1500, 50, 40), past(500, 50, 80)],
        [consumer(detail="PostgreSQL is away")],
        "Stopped for 2 s: 80 wait in Kafka, nothing is decided",
    ),
    "it beats, holds nothing, and decides nothing": (
        lane(50),
        [past(1000 * n, 50, 40) for n in (5, 4, 3, 2, 1)],
        ALIVE,
        "Stopped for 5 s: 40 wait in Kafka, nothing is decided",
    ),
    "the marker of a transaction counts as waiting for two looks": (
        lane(50),
        [*steady(3000, 50), past(2000, 50, 1), past(1000, 50, 1)],
        ALIVE,
        "Selling for 5 s: 0/s, 1 wait in Kafka",
    ),
    "a request has waited in the history, and is decided": (
        lane(50),
        [past(70_000, 40, 0), past(4000, 40, 0), past(3000, 40, 9)],
        [consumer(2500)],
        "Selling for 0 s: 3/s, nothing waits",
    ),
    "all that waits is hidden by a transaction": (
        lane(50),
        [
            replace(past(9000, 50, 7), blocked={0: 7}),
            replace(past(1000, 50, 7), blocked={0: 7}),
        ],
        ALIVE,
        "Open, but nobody asks for more than 9 s: 7 wait in Kafka",
    ),
    "nobody asks": (
        lane(50),
        [past(70_000, 40, 0), past(69_000, 50, 0), past(1000, 50, 0)],
        ALIVE,
        "Open, but nobody asks for 1 min 09 s: nothing waits",
    ),
    "no consumer was started": (
        lane(0),
        [],
        [],
        "No consumer runs: what comes now waits in Kafka",
    ),
    "fenced, whatever else": (
        lane(50, fence=Fence("REWOUND", NOW_MS - 6000, "partition 3")),
        [past(1000, 50, 40)],
        ALIVE,
        "Fenced (REWOUND) for 6 s: nothing is decided, 40 wait in Kafka",
    ),
    "Redis is empty": (
        lane(0, loaded=False, activities={}),
        [],
        [],
        "Nothing is loaded in Redis: nothing is decided, what waits in Kafka is not known",
    ),
    "paused": (
        lane(50, paused=True),
        [past(9000, 50, 0), past(8000, 50, 0, paused=True), past(1000, 50, 0, paused=True)],
        ALIVE,
        "Paused for 8 s: buyers are refused, units left: 50",
    ),
    "before the opening": (
        lane(0, opens_at_ms=NOW_MS + 90_000),
        [past(1000, 0, 0)],
        ALIVE,
        "Before the opening: in 1 min 30 s, with 100 on sale",
    ),
    "closed": (
        lane(50, closes_at_ms=NOW_MS - 7_200_000),
        [past(1000, 50, 0)],
        ALIVE,
        "Closed for 2 h 00 min: the window has ended, units left: 50",
    ),
    "closed while it was paused": (
        lane(50, closes_at_ms=NOW_MS - 7_200_000, paused=True),
        [past(1000, 50, 0, paused=True)],
        ALIVE,
        "Closed for 2 h 00 min: the window has ended, units left: 50",
    ),
    "sold out, and requests still come": (
        lane(100, over="sold_out"),
        [past(9000, 90, 0), past(3000, 100, 40, over="sold_out")],
        ALIVE,
        "Sold out for 3 s: 100 sold, none left, 40 wait in Kafka",
    ),
    "finished longer ago than the history goes": (
        lane(50, over="finished"),
        [past(80_000, 50, 0, over="finished"), past(1000, 50, 0, over="finished")],
        ALIVE,
        "Finished for more than 1 min 20 s: 50 sold, 50 left",
    ),
    "orders are not stored": (
        lane(50, waiting=30),
        [
            past(9000, 50, 0, waiting=20),
            past(8000, 40, 0, waiting=20),
            past(500, 48, 0, waiting=28),
        ],
        ALIVE,
        "Selling for 0 s: 1/s, nothing waits; no order is stored for 8 s: 30 wait in Redis",
    ),
    "holds, and no settler": (
        lane(50, holds=Holds(held=7)),
        steady(1000, 50),
        [*ALIVE, settler(silent_ms=20_000)],
        "Selling for 3 s: 7/s, nothing waits; no settler runs: payments wait in Kafka, unpaid "
        "holds stay (7)",
    ),
    "holds are made, and no settler was started": (
        lane(0, hold_s=60),
        [past(1000, 0, 0)],
        ALIVE,
        "Open, but nobody asks for more than 1 s: nothing waits; no settler runs: payments wait in "
        "Kafka, unpaid holds stay (0)",
    ),
    "holds with a settler": (
        lane(50, hold_s=60, holds=Holds(held=7)),
        steady(1000, 50),
        [*ALIVE, settler()],
        "Selling for 3 s: 7/s, nothing waits",
    ),
    "finished, and nothing is held": (
        lane(50, over="finished", hold_s=60, holds=Holds(paid=50)),
        [past(1000, 50, 0, over="finished")],
        ALIVE,
        "Finished for more than 1 s: 50 sold, 50 left",
    ),
}


@pytest.mark.parametrize("case", TABLE)
def test_what_is_said(case: str) -> None:
    now, samples, workers, said = TABLE[case]
    verdict = judge(now, samples, workers)
    assert in_words(verdict, NOW_MS) == said
    # The only activity of the lane is told the same.
    assert in_words(judge(now, samples, workers, 1), NOW_MS) == said


def test_what_is_bad_looks_bad() -> None:
    levels = {case: judge(*given[:3]).level for case, given in TABLE.items()}
    assert levels["it sells"] == levels["nobody asks"] == "success"
    assert levels["frozen while it was busy"] == levels["no consumer was started"] == "danger"
    assert levels["orders are not stored"] == levels["paused"] == "warning"
    assert levels["holds, and no settler"] == "warning"
    assert levels["holds with a settler"] == "success"
    # Neither a sold out sale nor one that has not begun needs anybody.
    assert levels["sold out, and requests still come"] == levels["before the opening"] == "info"
    lost = judge(lane(0, loaded=False, activities={}), [past(1000, 50, 40)], ALIVE)
    assert (lost.state, lost.level) == (State.NOT_LOADED, "danger")


def test_a_lane_that_works_is_never_called_stopped() -> None:
    """Each reading of a slow lane, with one decision in five seconds and work that always waits."""
    for ms in range(0, 20_000, 250):
        decided = ms // 3000
        samples = [
            sample_of(lane(at // 3000), {0: 7}, at_ms=NOW_MS + at) for at in range(0, ms, 1000)
        ]
        now = lane(decided, now_ms=NOW_MS + ms)
        assert judge(now, samples, ALIVE).state != State.STOPPED, ms


def test_a_frozen_lane_stays_stopped_until_it_decides() -> None:
    """From three seconds on, at each reading, whenever the history is written and the freeze is."""
    for offset in range(0, 1000, 100):
        for ms in range(3000, 30_000, 250):
            samples = [
                # Kafka is looked at up to a second before its sample is written.
                sample_of(lane(50), {0: max(0, at - 1000)}, at_ms=NOW_MS + at)
                for at in range(offset, ms, 1000)
            ]
            now = lane(50, now_ms=NOW_MS + ms)
            # Its last heartbeat was up to a second before.
            assert judge(now, samples, [consumer(ms + offset)]).state == State.STOPPED, (offset, ms)


def test_of_several_activities_the_one_that_sells_speaks() -> None:
    over = activity(100, activity_id=2, over="sold_out")
    now = lane(50)
    now = replace(now, activities={**now.activities, 2: over})
    before = [
        sample_of(replace(now, activities={1: activity(40), 2: over}), {0: 0}, at_ms=NOW_MS - 4000)
    ]
    whole = judge(now, before, ALIVE)
    assert (whole.state, whole.sold, whole.left) == (State.SELLING, 150, 50)
    assert judge(now, before, ALIVE, 2).state == State.SOLD_OUT
    assert judge(now, before, ALIVE, 2).rate == 0
    assert judge(now, before, ALIVE, 3).state == State.NO_SALE

"""Points that a sale reaches, for scripts that wait for them: `manage.py wait`.

Owns what each of them means, and when it cannot come any more.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from seckill.lane.phase import Phase
from seckill.lane.status import LaneStatus

OPENED, SOLD_OUT, DRAINED = "opened", "sold-out", "drained"
MILESTONES = (OPENED, SOLD_OUT, DRAINED)


@dataclass(frozen=True)
class Judgement:
    """`reached`: True, False for not yet, None for never. `why` is for people."""

    reached: bool | None
    why: str


def judge_activity(lane: LaneStatus, activity_id: int, milestone: str) -> Judgement:
    """Whether an activity has OPENED or is SOLD_OUT, at one reading of Redis."""
    activity = lane.activities.get(activity_id)
    if lane.fence is not None:
        return Judgement(False, f"the lane is fenced ({lane.fence.word}): nothing is decided")
    if activity is None:
        return Judgement(False, f"activity {activity_id} is not loaded yet")
    # As the next decision will see it: see docs/architecture.md, the clock.
    now_ms = max(lane.clock_ms, lane.now_ms)
    left = activity.left
    if milestone == SOLD_OUT:
        if activity.over == "finished" and left:
            return Judgement(None, f"it was finished with {left:,} units left")
        return Judgement(not left, "sold out" if not left else f"{left:,} units are left")
    match activity.phase(now_ms):
        case Phase.SOLD_OUT | Phase.FINISHED as over:
            return Judgement(None, f"it is over: {over.replace('_', ' ')}")
        case Phase.CLOSED:
            return Judgement(None, "its window is closed")
        case Phase.PAUSED:
            return Judgement(False, "it is paused")
        case Phase.SOON:
            wait_s = ((activity.opens_at_ms or now_ms) - now_ms) / 1000
            return Judgement(False, f"it opens in {wait_s:,.0f} s")
        case Phase.OPEN:
            return Judgement(True, "it is on sale")


def judge_drained(lane: LaneStatus, lag: int) -> Judgement:
    """Whether everything that was sent is decided and stored, of the whole lane."""
    done = lag == 0 and lane.waiting == 0
    return Judgement(done, f"{lag:,} requests wait in Kafka, {lane.waiting:,} records in Redis")


def together(lanes: Sequence[Judgement]) -> Judgement:
    """Whether all lanes have come so far: the first one that has not, or the last one."""
    return next((each for each in lanes if not each.reached), lanes[-1])

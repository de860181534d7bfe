"""The verdict on a lane: does it sell, and if not, what is wrong, and for how long already.

One pure function, `judge`: what was read of a lane in, one verdict out. Its words are in
`verdict_text`. Owns the thresholds. Reads no service.

"Stopped" needs two facts: the history saw requests waiting, and not one decision was made since.
Because the second is read now and not from the history, a lane that works is never called stopped:
it has decided something in between. So the verdict does not flap.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import StrEnum

from seckill.lane.phase import Phase
from seckill.lane.status import ActivityStatus, LaneStatus
from seckill.telemetry.heartbeats import GONE_S, Kind, Worker
from seckill.telemetry.history import FRESH_MS, Sample

# History that a verdict needs, ms. An older state "has held for more than" this.
NEEDED_MS = 120_000
# A consumer beats about once a second. After so many ms of silence, although requests wait and none
# is decided, it is frozen, gone or cut off; after so many it is so even if others go on.
SILENT_MS, PARTLY_MS = 1_700, 2_500
# Ms without a decision although requests wait: of consumers that say why they hold, and of others.
# Others may look at the marker of a transaction, which counts as waiting for two looks at Kafka.
HOLDING_MS, STUCK_MS = 1_000, 4_000
# What the history has of Kafka's end may be so old, ms.
LOOKED_MS = 2_500
# A consumer that is silent for longer (ms) has lost its partitions to the others.
TAKEN_OVER_MS = 60_000
# Ms over which a rate is taken, and without a request after which a sale is quiet.
RATE_MS, QUIET_MS = 3_000, 5_000
# Ms that waiting orders may stand still, and work (in ms at the current rate) that may wait.
UNSTORED_MS, BEHIND_MS = 5_000, 5_000


class State(StrEnum):
    """What a lane, or an activity in it, does now."""

    FENCED = "fenced"
    NOT_LOADED = "not_loaded"
    STOPPED = "stopped"
    NO_CONSUMER = "no_consumer"
    PARTLY = "partly_stopped"
    BEHIND = "behind"
    SELLING = "selling"
    QUIET = "quiet"
    PAUSED = "paused"
    BEFORE = "before_opening"
    CLOSED = "closed"
    SOLD_OUT = "sold_out"
    FINISHED = "finished"
    NO_SALE = "no_sale"


# What the activity's own rules say. QUIET stands for open.
OF_PHASE = {
    Phase.SOON: State.BEFORE,
    Phase.OPEN: State.QUIET,
    Phase.PAUSED: State.PAUSED,
    Phase.CLOSED: State.CLOSED,
    Phase.SOLD_OUT: State.SOLD_OUT,
    Phase.FINISHED: State.FINISHED,
}
# How bad a state is: danger, warning, success, or info (nothing is wrong, and nothing is sold).
LEVELS = {
    State.FENCED: "danger",
    State.STOPPED: "danger",
    State.NO_CONSUMER: "danger",
    State.NOT_LOADED: "warning",
    State.PARTLY: "warning",
    State.BEHIND: "warning",
    State.PAUSED: "warning",
    State.SELLING: "success",
    State.QUIET: "success",
}
# Of several activities the first of these speaks for the lane.
SPEAKS = (State.QUIET, State.PAUSED, State.BEFORE, State.SOLD_OUT, State.FINISHED, State.CLOSED)


@dataclass(frozen=True)
class Verdict:
    """What a lane does now. `held_ms` is for how long; None if that is not known.

    `rate` is requests decided a second, `lag` undecided requests in Kafka; None: not known.
    """

    state: State
    level: str
    held_ms: int | None = None
    # It has held for longer, but the history that was given begins here.
    longer: bool = False
    rate: float | None = None
    lag: int | None = None
    # Orders that wait for PostgreSQL, and for how long none of them was stored.
    waiting: int = 0
    unstored_ms: int = 0
    # Holds that wait for a settler, if one is needed and none is alive; None: all is well.
    unsettled: int | None = None
    # Units left and sold, of the activity or of all.
    left: int = 0
    sold: int = 0
    # When the window opens, ms; the fence's word; silent consumers and all consumers.
    opens_at_ms: int | None = None
    word: str = ""
    silent: int = 0
    consumers: int = 0


def judge(
    lane: LaneStatus,
    samples: Sequence[Sample] = (),
    workers: Sequence[Worker] = (),
    activity_id: int | None = None,
) -> Verdict:
    """The verdict on an activity, or on the whole lane. `samples`: the last NEEDED_MS or more.

    What stops the lane stops each of its activities, so that comes first.
    """
    chosen = [
        activity
        for number, activity in sorted(lane.activities.items())
        if activity_id in (None, number)
    ]
    consumers = [worker for worker in workers if worker.kind == Kind.CONSUMER]
    silent = [w for w in consumers if PARTLY_MS <= w.silent_ms < TAKEN_OVER_MS]
    base = Verdict(
        state=State.NO_SALE,
        level="info",
        rate=rate_of(lane, samples, activity_id),
        lag=_lag(lane, samples),
        waiting=lane.waiting,
        unstored_ms=_unstored_ms(lane, samples),
        unsettled=_unsettled(lane, workers),
        left=sum(item.left for a in chosen for item in a.items.values()),
        sold=sum(item.sold for a in chosen for item in a.items.values()),
        word=lane.fence.word if lane.fence else "",
        silent=len(silent),
        consumers=len([w for w in consumers if w.silent_ms < TAKEN_OVER_MS]),
    )
    if lane.fence:
        return _as(base, State.FENCED, lane.now_ms - lane.fence.at_ms)
    if not lane.loaded:
        # Requests wait in Kafka, and Redis has lost what they are for.
        found = _as(base, State.NOT_LOADED, None)
        return replace(found, level="danger") if base.lag else found
    stopped_ms = _stopped_ms(lane, samples, consumers)
    if stopped_ms is not None:
        return _as(base, State.STOPPED, stopped_ms)
    alive = [worker for worker in consumers if worker.silent_ms < GONE_S * 1000]
    states = {a.activity_id: OF_PHASE[a.phase(lane.now_ms)] for a in chosen}
    if not alive and any(state in SPEAKS[:3] for state in states.values()):
        return _as(base, State.NO_CONSUMER, min((w.silent_ms for w in consumers), default=None))
    if silent and base.lag:
        return _as(base, State.PARTLY, max(worker.silent_ms for worker in silent))
    return _of_activities(base, lane, samples, chosen, activity_id)


def _of_activities(
    base: Verdict,
    lane: LaneStatus,
    samples: Sequence[Sample],
    chosen: Sequence[ActivityStatus],
    activity_id: int | None,
) -> Verdict:
    """The verdict if nothing stops the lane."""
    if not chosen:
        return base
    states = {a.activity_id: OF_PHASE[a.phase(lane.now_ms)] for a in chosen}
    speaker = min(chosen, key=lambda a: SPEAKS.index(states[a.activity_id]))
    state = states[speaker.activity_id]
    if state == State.QUIET:
        return _open(base, lane, samples, activity_id)
    held_ms, longer = None, False
    if state == State.CLOSED:
        held_ms = lane.now_ms - (speaker.closes_at_ms or lane.now_ms)
    elif state != State.BEFORE:
        held_ms, longer = _same_state_ms(lane, samples, speaker)
    opens_at_ms = speaker.opens_at_ms if state == State.BEFORE else None
    return replace(_as(base, state, held_ms, longer), opens_at_ms=opens_at_ms)


def _open(
    base: Verdict, lane: LaneStatus, samples: Sequence[Sample], activity_id: int | None
) -> Verdict:
    """Selling, behind, or quiet because nobody asks."""
    now, counts = lane.now_ms, [_total(lane, activity_id)]
    moves = [now] if samples and counts[0] != _count(samples[-1], activity_id) else []
    for sample, after in zip(reversed(samples), [None, *reversed(samples)], strict=False):
        if after is not None and _count(after, activity_id) != _count(sample, activity_id):
            moves.append(after.at_ms)
    start = samples[0].at_ms if samples else now
    last = moves[0] if moves else None
    if last is None or now - last > QUIET_MS:
        return _as(base, State.QUIET, now - (last or start) if samples else None, last is None)
    since = last
    for move in moves:
        if since - move > QUIET_MS:
            break
        since = move
    longer = since - start <= QUIET_MS and now - start >= NEEDED_MS - QUIET_MS
    state = State.BEHIND if _behind(base, lane, samples) else State.SELLING
    return _as(base, state, now - since, longer)


def _behind(base: Verdict, lane: LaneStatus, samples: Sequence[Sample]) -> bool:
    """More waits than is decided in BEHIND_MS, and something has waited for all of that time."""
    if not base.lag or base.lag * 1000 <= (base.rate or 0) * BEHIND_MS:
        return False
    for sample in reversed(samples):
        if sample.lag is not None and not _readable(sample):
            return False
        if lane.now_ms - sample.at_ms >= BEHIND_MS:
            break
    return True


def _as(base: Verdict, state: State, held_ms: int | None, longer: bool = False) -> Verdict:
    level = LEVELS.get(state, "info")
    if (base.unstored_ms or base.unsettled is not None) and level != "danger":
        level = "warning"
    held_ms = None if held_ms is None else max(0, held_ms)
    return replace(base, state=state, level=level, held_ms=held_ms, longer=longer)


def _stopped_ms(
    lane: LaneStatus, samples: Sequence[Sample], consumers: Sequence[Worker]
) -> int | None:
    """For how long requests have waited without one decision; None if the lane is not stopped."""
    waits_since = still_since = None
    for sample in reversed(samples):
        if sample.decided + sample.skipped != lane.decided + lane.skipped:
            break
        if sample.lag is not None and not _readable(sample):
            if waits_since is None:
                return None
            # What came next may have been there already: Kafka is looked at once a second.
            if waits_since - sample.at_ms < LOOKED_MS:
                still_since = sample.at_ms
            break
        still_since = sample.at_ms
        # Where Kafka did not answer, what waited before waits still.
        waits_since = sample.at_ms if sample.lag is not None else waits_since
    if waits_since is None or still_since is None:
        return None
    stopped_ms = lane.now_ms - waits_since
    awake = [worker for worker in consumers if worker.silent_ms < SILENT_MS]
    holding = all(worker.detail for worker in awake)
    enough_ms = 0 if not awake else HOLDING_MS if holding else STUCK_MS
    return lane.now_ms - still_since if stopped_ms >= enough_ms else None


def _readable(sample: Sample) -> int:
    """Requests that wait and are not hidden behind an open transaction."""
    return sum((sample.lag or {}).values()) - sum(sample.blocked.values())


def _lag(lane: LaneStatus, samples: Sequence[Sample]) -> int | None:
    """Undecided requests now: of the newest sample, less what was decided since."""
    for sample in reversed(samples):
        if sample.lag is not None:
            waited = sum(sample.lag.values())
            decided = lane.decided + lane.skipped - sample.decided - sample.skipped
            if lane.now_ms - sample.at_ms > FRESH_MS and decided:
                return None
            return max(0, waited - max(0, decided))
    return None


def _unstored_ms(lane: LaneStatus, samples: Sequence[Sample]) -> int:
    """For how long orders have waited without one being stored; 0 if that is short or not so."""
    if not lane.waiting:
        return 0
    records = sum(activity.total_records for activity in lane.activities.values())
    stored, since = max(0, records - lane.waiting - lane.dead), lane.now_ms
    for sample in reversed(samples):
        if sample.stored != stored or not sample.waiting:
            break
        since = sample.at_ms
    held_ms = lane.now_ms - since
    return held_ms if held_ms >= UNSTORED_MS else 0


def _unsettled(lane: LaneStatus, workers: Sequence[Worker]) -> int | None:
    """Holds that wait for a settler; None if none is needed, or one is alive."""
    if not lane.needs_settler or any(w.alive for w in workers if w.kind == Kind.SETTLER):
        return None
    return lane.held


def _same_state_ms(
    lane: LaneStatus, samples: Sequence[Sample], activity: ActivityStatus
) -> tuple[int | None, bool]:
    """For how long the activity is over or paused, and whether for longer than is known."""
    since = lane.now_ms
    for sample in reversed(samples):
        then = sample.activities.get(activity.activity_id)
        if then is None or (then.over, then.paused) != (activity.over, activity.paused):
            return lane.now_ms - since, False
        since = sample.at_ms
    return (lane.now_ms - since, True) if samples else (None, False)


def rate_of(lane: LaneStatus, samples: Sequence[Sample], activity_id: int | None) -> float | None:
    """Requests decided a second over the last RATE_MS, by one activity or by all (None).

    None without a history.
    """
    base = next((s for s in reversed(samples) if lane.now_ms - s.at_ms >= RATE_MS), None)
    base = base or (samples[0] if samples else None)
    if base is None or lane.now_ms <= base.at_ms:
        return None
    decided = _total(lane, activity_id) - _count(base, activity_id)
    return max(0.0, decided * 1000 / (lane.now_ms - base.at_ms))


def _total(lane: LaneStatus, activity_id: int | None) -> int:
    if activity_id is None:
        return lane.decided
    activity = lane.activities.get(activity_id)
    return sum(activity.total_outcomes.values()) if activity else 0


def _count(sample: Sample, activity_id: int | None) -> int:
    if activity_id is None:
        return sample.decided
    activity = sample.activities.get(activity_id)
    return sum(activity.outcomes.values()) if activity else 0

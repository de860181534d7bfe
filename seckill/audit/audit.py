"""The audit: checks the five invariants from the outside while the sale goes on.

It reads everything and changes nothing. Each look compares the data at one moment T: it reads Redis
in one transaction, then the lists, then one snapshot of PostgreSQL. In that snapshot only what was
decided before T counts (see `seckill.postgres.sold`), so later progress is not a finding. A
difference becomes a finding only if two looks show it.
"""

import time
from collections import defaultdict
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import redis

from seckill.audit import events, holds, moves
from seckill.audit.checks import Finding, Totals, all_checks
from seckill.audit.ground import (
    buyers_of,
    clicks_in_records,
    compared,
    forgotten,
    look_at_ground,
    server_of,
    unclicked,
)
from seckill.audit.totals import archived, begun_acts, count, locked_activities
from seckill.dead_letters.reader import MANY_DEAD
from seckill.formats.advice import in_lane
from seckill.formats.outcomes import Outcome
from seckill.lane.keys import Lane
from seckill.lane.status import LaneStatus, read_lane
from seckill.postgres import sold
from seckill.postgres.through_django import postgres_errors, snapshot
from seckill.postgres.witness import lost_acts, undecided

# A finding is reported if two looks show it. The last look is reported as it is.
LOOKS = 4
# Seconds between two looks, so that an operator's act that was under way can end.
BETWEEN_LOOKS_S = 0.3


@dataclass
class Report:
    """What was checked and found. Its JSON form is stable: keys are only ever added."""

    clean: bool = True
    checks: int = 0
    findings: list[Finding] = field(default_factory=list)
    activities: int = 0
    messages: int = 0
    skipped: int = 0
    recovered: int = 0
    outcomes: dict[str, int] = field(default_factory=dict)
    units_loaded: int = 0
    units_left: int = 0
    units_sold: int = 0
    records_stored: int = 0
    records_waiting: int = 0
    records_dead: int = 0
    notes: list[str] = field(default_factory=list)
    took_ms: int = 0
    # Redis at the moment of these figures, for who shows others beside them. Not in the JSON form.
    lane: LaneStatus | None = field(default=None, repr=False, compare=False)

    def as_json(self) -> dict[str, Any]:
        """All of it in plain types."""
        plain = asdict(replace(self, lane=None))
        del plain["lane"]
        return {"schema": 1, **plain}


class CannotCheck(Exception):
    """The audit cannot run now. The message says why and what to do."""


def audit(client: "redis.Redis", lane: Lane) -> Report:
    """Check a whole lane. Raises CannotCheck, RedisAway or PostgresAway."""
    began = time.monotonic()
    seen: set[tuple[str, str]] = set()
    for look in range(1, LOOKS + 1):
        report = _look(client, lane)
        standing = [f for f in report.findings if (f.invariant, f.culprit) in seen]
        if standing or not report.findings or look == LOOKS:
            report.findings = standing or report.findings
            break
        seen = {(f.invariant, f.culprit) for f in report.findings}
        time.sleep(BETWEEN_LOOKS_S)
    report.findings = [finding.of(lane) for finding in report.findings]
    report.notes = [in_lane(note, lane.name) for note in report.notes]
    report.clean = not report.findings
    report.took_ms = round((time.monotonic() - began) * 1000)
    return report


def _look(client: "redis.Redis", lane: Lane) -> Report:
    before = read_lane(client, lane)
    if not before.loaded and not before.positions:
        raise CannotCheck(
            in_lane(
                "Redis holds no sale: nothing has been loaded yet, or Redis was emptied. Load a "
                "sale (manage.py set_stock 1001:10); after a loss see docs/operations.md",
                lane.name,
            )
        )
    run_id = server_of(client)
    limits = before.limits
    found = sold.waiting(client, lane, limits)
    limited = {n for n, a in before.activities.items() if a.user_limit is not None}
    with postgres_errors(), snapshot():
        sold.stage(found)
        counts = count(limits, lane)
        seen = compared(lane, before, run_id)
        buyers = buyers_of(limited, limits)
        clicks = clicks_in_records(set(before.activities), limits)
        proved = holds.prove(before, lane)
        begun = begun_acts(lane)
        cursors = events.cursors()
        moved = moves.read(lane)
        seasons = archived(lane)
    # Redis's books after those of PostgreSQL: it must know at least as much.
    short = forgotten(client, lane, buyers)
    proved = holds.compare(client, lane, before, proved)
    after = read_lane(client, lane)
    # Left out: records of a partition whose first batch was decided after T, and activities that
    # an operator is changing. Redis and PostgreSQL cannot be read at the same moment for those.
    totals = counts.without(set(after.positions) - set(before.positions))
    steered = {
        activity_id
        for activity_id, activity in after.activities.items()
        if activity_id not in before.activities
        or before.activities[activity_id].version != activity.version
    }
    with postgres_errors():
        steered |= locked_activities(set(before.activities))
    returned_since = {
        activity_id: activity.holds.units_returned
        - before.activities[activity_id].holds.units_returned
        for activity_id, activity in after.activities.items()
        if activity_id in before.activities
    }
    totals = replace(
        totals,
        # Whatever is stored was decided before, so this later look at Redis must show it.
        future=undecided(after.positions, seen.ends),
        older=seen.older,
        acts=lost_acts(after, {n: a for n, a in seen.acts.items() if n not in steered}),
        buyers={activity: (found.least, found.most) for activity, found in buyers.items()},
        # Who gave units back meanwhile has fewer by right.
        forgotten={
            activity: why for activity, why in short.items() if not returned_since.get(activity)
        },
        late_returned=returned_since,
        clicks={activity: found.number for activity, found in clicks.items()},
        unclicked=unclicked(client, lane, clicks),
    )
    report = _summary(before, totals)
    report.lane = before
    ground = look_at_ground(client, before, seen)
    for finding in (
        *all_checks(before, totals, found, steered, ground),
        *holds.checks(before, after, proved),
        *events.checks(cursors),
        *moves.checks(moved),
    ):
        report.checks += 1
        if finding is not None:
            report.findings.append(finding)
    report.records_dead = sum(seen.dead.values())
    report.notes = [
        *_notes(before, report.records_dead, begun, steered),
        *moves.notes(moved),
        *(
            f"{number:,} activities are archived: their orders are in {file}"
            for file, number in seasons
        ),
    ]
    return report


def _notes(before: LaneStatus, dead: int, begun: list[int], steered: set[int]) -> list[str]:
    notes = []
    ended = sum(activity_id not in steered for activity_id in begun)
    if ended:
        notes.append(f"{ended} control acts have no known result: see the journal")
    if before.fence is not None:
        notes.append(f"the lane is fenced: {before.fence.word}: {before.fence.why}")
    if dead:
        alarm = " (TOO MANY: find what refuses them)" if dead > MANY_DEAD else ""
        notes.append(
            f"{dead:,} dead records, not stored as orders{alarm}: manage.py dead_letters list"
        )
    for activity_id in sorted(steered):
        notes.append(f"activity {activity_id} was being changed: its allocation was not compared")
    return notes


def _summary(lane: LaneStatus, totals: Totals) -> Report:
    items = [item for a in lane.activities.values() for item in a.items.values()]
    outcomes: dict[str, int] = defaultdict(int)
    for activity in lane.activities.values():
        for outcome, number in activity.total_outcomes.items():
            outcomes[outcome.name] += number
    outcomes[Outcome.INVALID.name] += lane.invalid
    outcomes[Outcome.NO_SUCH_ACTIVITY.name] += lane.no_such_activity
    return Report(
        activities=len(lane.activities),
        messages=lane.decided,
        skipped=lane.skipped,
        recovered=lane.recovered,
        outcomes=dict(outcomes),
        units_loaded=sum(item.loaded for item in items),
        units_left=sum(item.left for item in items),
        units_sold=sum(map(totals.sold, totals.units)),
        records_stored=totals.stored,
        records_waiting=lane.waiting,
    )

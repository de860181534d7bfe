"""The checks of the audit: pure functions from counts to findings."""

from collections.abc import Iterator
from dataclasses import dataclass, field, replace

from seckill.formats.advice import in_lane
from seckill.formats.outcomes import Outcome
from seckill.lane.keys import Lane
from seckill.lane.status import LaneStatus
from seckill.postgres.sold import Waiting
from seckill.process.printable import preview

NEVER_OVERSOLD = "never oversold"
NEVER_LOST = "never lost"
NEVER_TWICE = "never twice"
NEVER_DROPPED = "never a silent drop"
# Not a promise itself, but what the promises rest on: one Redis, one PostgreSQL, neither of them
# older than the other, clocks that agree, a Redis that evicts nothing.
FOUNDATIONS = "the foundations hold"
INVARIANTS = (NEVER_OVERSOLD, NEVER_LOST, NEVER_TWICE, NEVER_DROPPED, FOUNDATIONS)

# What to do. No advice may put a sold unit on sale again. Each of these acts refuses that by
# itself, and a test follows each advice from the state that leads to it.
KAFKA_KNOWS = "manage.py audit --kafka names the message; keep the topic and Redis's files"
LOOK_AT_THE_PLAN = "manage.py recover shows the plan, --apply carries it out"
FROM_KAFKA = (
    "bring the newer PostgreSQL back; or manage.py recover --apply --from-kafka stores the lost "
    "orders again from the topic. Until then put nothing on sale: these units are sold"
)
STOP_AND_LOOK = (
    "pause the activity (manage.py pause); manage.py audit --kafka names the messages; a person "
    "must decide about the units sold above the allocation"
)
MOST_CLOCK_MS = 60_000


@dataclass(frozen=True)
class Finding:
    """A violated invariant: the first culprit, and what to do."""

    invariant: str
    culprit: str
    explanation: str
    act: str

    def of(self, lane: Lane) -> "Finding":
        """The same, with the commands as they are to be run for this lane."""
        told = in_lane(self.explanation, lane.name), in_lane(self.act, lane.name)
        return replace(self, explanation=told[0], act=told[1])


@dataclass(frozen=True)
class Totals:
    """Counts of records accepted before the moment of the audit. A record counts once, whether it
    is stored or waiting. Keys are activities, or (activity, item). Texts are "" for nothing found.

    units           accepted, whatever became of them; returned: of these, what came back
    late_returned   units that expired while the audit looked: they may be in `returned`
    inventory       (allocation, sold, returned) in PostgreSQL
    stored, stored_by_item, stored_returned  PostgreSQL alone, in the same snapshot as `inventory`
    differing       a record that exists with two contents
    stored_once     whether PostgreSQL refuses duplicates
    future          a partition with stored records that Redis has not decided
    older           what PostgreSQL has lost
    acts            an operator's act that Redis does not know
    buyers          how many users have units of each activity: at least, at most
    forgotten       a user for whom Redis has fewer units than the records, by activity
    clicks          how many clicks of each activity the records hold
    unclicked       a click that Redis does not know, by activity
    """

    units: dict[tuple[int, int], int]
    records: dict[int, int]
    requests: dict[int, int]
    stored: int
    inventory: dict[tuple[int, int], tuple[int, int, int]]
    stored_by_item: dict[tuple[int, int], int]
    differing: str = ""
    stored_once: bool = True
    future: str = ""
    older: str = ""
    acts: str = ""
    returned: dict[tuple[int, int], int] = field(default_factory=dict)
    stored_returned: dict[tuple[int, int], int] = field(default_factory=dict)
    late_returned: dict[int, int] = field(default_factory=dict)
    buyers: dict[int, tuple[int, int]] = field(default_factory=dict)
    forgotten: dict[int, str] = field(default_factory=dict)
    clicks: dict[int, int] = field(default_factory=dict)
    unclicked: dict[int, str] = field(default_factory=dict)

    def sold(self, item: tuple[int, int]) -> int:
        """Units of an (activity, item) that were accepted and did not come back."""
        return self.units.get(item, 0) - self.returned.get(item, 0)


@dataclass(frozen=True)
class Ground:
    """What the promises rest on, as it was read.

    `lane` says why Redis and PostgreSQL do not belong to one lane, or why this Redis does not lead
    it; "" if all is well. `policy` is Redis's maxmemory-policy, "" if unknown. Clocks are in ms.
    """

    lane: str
    policy: str
    redis_ms: int
    lane_ms: int
    postgres_ms: int
    # Dead records that need a person, by kind.
    unreadable: int = 0
    overlap: int = 0


# A check's answer is None if the invariant holds.
Checks = Iterator[Finding | None]


def all_checks(
    lane: LaneStatus, totals: Totals, found: Waiting, steered: set[int], ground: Ground
) -> Checks:
    """Every check, one answer each. An act is under way on `steered` activities."""
    yield from foundations(lane, totals, ground)
    yield from stock(lane, totals)
    yield from counters(lane, totals)
    yield from limits(lane, totals, steered)
    yield from clicks(lane, totals)
    yield from inventory(lane, totals, steered)
    yield from records(totals, found, ground)
    yield from outcomes(lane)


def _unless(
    holds: bool, invariant: str, culprit: str, explanation: str, act: str
) -> Finding | None:
    return None if holds else Finding(invariant, culprit, explanation, act)


def foundations(lane: LaneStatus, totals: Totals, ground: Ground) -> Checks:
    """One lane, one leader, neither side older than the other, no eviction, clocks that agree."""
    yield _unless(
        not ground.lane,
        FOUNDATIONS,
        "the lane",
        ground.lane,
        "correct the address that is wrong; if none is, " + LOOK_AT_THE_PLAN,
    )
    yield _unless(not totals.older, NEVER_LOST, "PostgreSQL", totals.older, FROM_KAFKA)
    yield _unless(
        not totals.acts,
        FOUNDATIONS,
        "an operator's act",
        f"Redis does not know it: {totals.acts}",
        LOOK_AT_THE_PLAN,
    )
    yield _unless(
        ground.policy in ("", "noeviction"),
        FOUNDATIONS,
        "Redis's maxmemory-policy",
        f"it is {ground.policy}: a full Redis evicts keys of the sale",
        "CONFIG SET maxmemory-policy noeviction, and set it in Redis's configuration file too",
    )
    apart = abs(ground.redis_ms - ground.postgres_ms)
    yield _unless(
        apart <= MOST_CLOCK_MS,
        FOUNDATIONS,
        "clocks",
        f"Redis's and PostgreSQL's differ by {apart // 1000:,} s: windows and timeouts may follow "
        "a wrong clock",
        "correct the clock that is wrong",
    )
    back = lane.clock_ms - ground.redis_ms
    yield _unless(
        back <= MOST_CLOCK_MS,
        FOUNDATIONS,
        "clocks",
        f"Redis's clock went back by {back // 1000:,} s: windows stand still until it has caught "
        "up",
        "correct the clock if it is wrong now",
    )


def stock(lane: LaneStatus, totals: Totals) -> Checks:
    """Invariant 1, and 2 from the other side: loaded = left + sold and left >= 0, for each item.

    Sold is what was accepted and did not come back.
    """
    for activity_id, activity in lane.activities.items():
        for item_id, item in activity.items.items():
            who = f"activity {activity_id}, item {item_id}"
            units = totals.sold((activity_id, item_id))
            late = totals.late_returned.get(activity_id, 0)
            seen = f"loaded {item.loaded}, left {item.left}, sold in records {units}"
            yield _unless(
                item.left >= 0 and item.loaded - item.left >= units,
                NEVER_OVERSOLD,
                who,
                seen,
                STOP_AND_LOOK,
            )
            yield _unless(
                item.loaded - item.left <= units + late,
                NEVER_LOST,
                who,
                f"{seen}: units were taken without a record",
                FROM_KAFKA,
            )
    for activity_id, item_id in totals.units:
        known = lane.activities.get(activity_id)
        yield _unless(
            known is not None and item_id in known.items,
            NEVER_OVERSOLD,
            f"activity {activity_id}, item {item_id}",
            "there are records of an item that is not loaded in Redis",
            LOOK_AT_THE_PLAN,
        )


def counters(lane: LaneStatus, totals: Totals) -> Checks:
    """Invariants 2 and 3: the script's counters against the records, for each activity."""
    for activity_id, activity in lane.activities.items():
        units = sum(count for (a, _), count in totals.units.items() if a == activity_id)
        accepted = activity.total_outcomes[Outcome.ACCEPTED]
        for name, counted, proved in (
            ("records", activity.total_records, totals.records.get(activity_id, 0)),
            ("accepted requests", accepted, totals.requests.get(activity_id, 0)),
            ("units", activity.total_units, units),
        ):
            yield _unless(
                counted == proved,
                NEVER_LOST if counted > proved else NEVER_TWICE,
                f"activity {activity_id}",
                f"{name}: the script counted {counted}, the records say {proved}",
                KAFKA_KNOWS,
            )


def limits(lane: LaneStatus, totals: Totals, steered: set[int]) -> Checks:
    """Redis's buyers against the records, for activities with a limit per user."""
    for activity_id, activity in lane.activities.items():
        if activity.user_limit is None or activity_id in steered:
            continue
        counted = lane.buyers.get(activity_id, 0)
        least, proved = totals.buyers.get(activity_id, (0, 0))
        yield _unless(
            least <= counted <= proved and not totals.forgotten.get(activity_id),
            NEVER_OVERSOLD,
            f"activity {activity_id}, its limit per user",
            totals.forgotten.get(activity_id)
            or f"Redis has {counted:,} buyers, the records {proved:,}: some could buy again",
            LOOK_AT_THE_PLAN,
        )


def clicks(lane: LaneStatus, totals: Totals) -> Checks:
    """Redis's clicks against the records: what it does not know could be bought again."""
    for activity_id in lane.activities:
        counted, proved = lane.clicks.get(activity_id, 0), totals.clicks.get(activity_id, 0)
        yield _unless(
            counted == proved and not totals.unclicked.get(activity_id),
            NEVER_LOST if counted > proved else NEVER_TWICE,
            f"activity {activity_id}, its clicks",
            totals.unclicked.get(activity_id)
            or f"Redis has {counted:,} clicks, the records {proved:,}: a repeated click could buy "
            "again, or be told that it has bought",
            LOOK_AT_THE_PLAN,
        )


def inventory(lane: LaneStatus, totals: Totals, steered: set[int]) -> Checks:
    """PostgreSQL against itself (sold = sum of records) and against Redis (allocation = loaded)."""
    for (activity_id, item_id), (allocation, sold, returned) in totals.inventory.items():
        who = f"activity {activity_id}, item {item_id}"
        back = totals.stored_returned.get((activity_id, item_id), 0)
        stored = totals.stored_by_item.get((activity_id, item_id), 0) - back
        yield _unless(
            sold == stored,
            NEVER_TWICE if sold > stored else NEVER_LOST,
            who,
            f"the inventory says {sold} sold, the stored records say {stored}",
            "somebody changed a table by hand: correct seckill_item.sold",
        )
        yield _unless(
            returned == back,
            NEVER_TWICE if returned > back else NEVER_LOST,
            who,
            f"the inventory says {returned} returned, the stored settlements say {back}",
            "somebody changed a table by hand: correct seckill_item.returned",
        )
        units = totals.sold((activity_id, item_id))
        yield _unless(
            units <= allocation or activity_id in steered,
            NEVER_OVERSOLD,
            who,
            f"sold above the allocation: {units} of {allocation}",
            STOP_AND_LOOK,
        )
        activity = lane.activities.get(activity_id)
        item = activity.items.get(item_id) if activity else None
        yield _unless(
            item is None or item.loaded == allocation or activity_id in steered,
            NEVER_OVERSOLD,
            who,
            f"allocation {allocation} in PostgreSQL, loaded {item.loaded if item else 0} in Redis",
            "an act was cut off, or somebody changed a table by hand: see the journal. "
            "manage.py sync_from_db sets Redis to the allocation, and refuses if a record is "
            "missing",
        )


def records(totals: Totals, found: Waiting, ground: Ground) -> Checks:
    """Invariant 3 in list and table, rows that Redis has not decided, unreadable entries."""
    yield _unless(
        not totals.differing,
        NEVER_TWICE,
        totals.differing,
        "a record is in two places (list, row, dead record) with different contents",
        "stop the consumers; manage.py audit --kafka says which one is right",
    )
    yield _unless(
        totals.stored_once,
        NEVER_TWICE,
        "table seckill_record",
        "its unique constraint record_stored_once is missing: a record could be stored twice",
        "stop the log workers, remove duplicates, add the constraint again",
    )
    yield _unless(
        not totals.future,
        NEVER_TWICE,
        totals.future,
        "records are stored for offsets that Redis has not decided yet: when it decides them, "
        "their orders cannot be stored",
        "find who wrote them. After a loss of Redis: " + LOOK_AT_THE_PLAN,
    )
    first = found.unreadable[0] if found.unreadable else (b"", "")
    number = found.unreadable_count + ground.unreadable
    yield _unless(
        not number,
        NEVER_LOST,
        preview(first[0], 200) if found.unreadable else "dead records",
        f"{number} entries of the list are not records ({first[1] or 'kept as dead records'})",
        "another program writes to the list: find it. manage.py dead_letters list shows the "
        "entries; manage.py dead_letters dismiss settles them",
    )
    yield _unless(
        not ground.overlap,
        NEVER_LOST,
        f"{ground.overlap} orders",
        "they were decided on a Redis that did not lead the lane, and are not sold; their buyers "
        "may have got a yes",
        "manage.py dead_letters list names each; tell the buyers, then manage.py dead_letters "
        "dismiss",
    )


def outcomes(lane: LaneStatus) -> Checks:
    """Invariant 4: outcomes, those of archived activities too, skipped and recovered offsets add up
    to the positions.
    """
    positions = sum(lane.positions.values())
    yield _unless(
        positions == lane.decided + lane.archived + lane.skipped + lane.recovered,
        NEVER_DROPPED,
        "the sum over all partitions",
        f"positions add up to {positions}, outcomes to "
        f"{lane.decided + lane.archived}, skipped to {lane.skipped},"
        f" recovered to {lane.recovered}",
        KAFKA_KNOWS,
    )

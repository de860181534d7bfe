"""The plan of a recovery: what Redis must hold, from PostgreSQL, the list and the dead records.

It only reads: it compares what Redis has with what it must have. What the records prove stays: an
order is sold to its buyer even if Redis has forgotten it. A request without a record was rejected,
or was lost with Redis. Requests are decided again from the first offset after the last record.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import redis
from django.db import connection, transaction
from django.db.models import Max

from seckill.audit.totals import begun_acts
from seckill.control.loading import kept_state, state_of
from seckill.formats.lanes import MAIN
from seckill.formats.outcomes import Outcome
from seckill.lane.keys import Lane, position_field
from seckill.lane.status import ActivityStatus, LaneStatus, read_lane
from seckill.models import Activity, Item, StockChange
from seckill.postgres import lease, settled, sold
from seckill.postgres.claims import claim_of_lane
from seckill.postgres.lanes import lanes_of, of_lane, stranger
from seckill.postgres.settled import Ended
from seckill.postgres.through_django import snapshot
from seckill.postgres.witness import last_rows, lost_entries, lost_rows
from seckill.recovery import restore, restore_settled

# The state of an activity with no unit left.
SOLD_OUT = "sold_out"


@dataclass(frozen=True)
class ItemPlan:
    """One item: what Redis has now (None: nothing), what it must have, and the units in records."""

    item_id: int
    left_now: int | None
    loaded_now: int | None
    left: int
    loaded: int
    sold: int


@dataclass(frozen=True)
class ActivityPlan:
    """One activity as it must be. `state` has the fields of its hash in Redis."""

    activity_id: int
    # The version in Redis now; 0: not loaded.
    version_now: int
    items: list[ItemPlan]
    state: dict[str, str]
    requests: int
    units: int
    records: int
    # How its holds ended, and how many nobody has settled.
    ended: Ended
    held: int
    # Of the state in Redis now.
    epoch_now: int
    # {user: units} if the activity has a limit per user.
    buyers: dict[int, int] | None
    # Differences between Redis and the plan, in words.
    changes: list[str]

    @property
    def holds(self) -> bool:
        """Whether it has holds, or had some."""
        return "hold_s" in self.state or bool(self.held or self.ended != Ended())


@dataclass(frozen=True)
class PartitionPlan:
    """One partition: its position in Redis now (None: none), and the one that records prove."""

    source: str
    partition: int
    position_now: int | None
    position: int

    @property
    def field_name(self) -> str:
        """The partition's field in the hash of positions."""
        return position_field(self.source, self.partition)


@dataclass
class Plan:
    """What must be done. `needed` is false if Redis matches the records and is not fenced."""

    lane: LaneStatus
    activities: list[ActivityPlan]
    partitions: list[PartitionPlan]
    recovered: int
    # Partitions of the settle topic, and the outcomes of its messages.
    settle_partitions: list[PartitionPlan] = field(default_factory=list)
    settle_stats: dict[str, int] = field(default_factory=dict)
    # {source:partition: the offset after the last stored record}
    stored: dict[str, int] = field(default_factory=dict)
    # What PostgreSQL has lost, in words; "" for nothing.
    older: str = ""
    notes: list[str] = field(default_factory=list)

    @property
    def needed(self) -> bool:
        """Whether there is anything to do."""
        return (
            self.lane.fence is not None
            or bool(self.older)
            or any(a.changes for a in self.activities)
            or any(
                place.position_now is None or place.position_now < place.position
                for place in (*self.partitions, *self.settle_partitions)
            )
        )


@dataclass(frozen=True)
class PostgresState:
    """Whether PostgreSQL has all stored records. `older` says what it has lost, "" for nothing."""

    older: str
    missing: restore.Missing
    lost: restore_settled.Lost


def postgres_state(client: "redis.Redis", lane: Lane) -> PostgresState:
    """What PostgreSQL or the list has lost of a lane. Raises RedisAway."""
    status = read_lane(client, lane)
    found = sold.waiting(client, lane, {})
    with snapshot():
        sold.stage(found)
        missing = restore.find_missing(client, lane, status)
        lost = restore_settled.find_lost(client, lane, status)
        with connection.cursor() as cursor:
            row = lease.read(cursor, lane.list)
            gone = lost_rows(cursor, status.stored) if status.stored else ""
            gone = gone or lost_entries(cursor, status)
    older = ""
    claim = claim_of_lane(status)
    if claim.identity and row is None:
        older = "PostgreSQL does not know this lane"
    elif row is not None and (claim.generation > row.generation or claim.term > row.term):
        older = "PostgreSQL is from before the last recovery or the last start of Redis"
    if gone:
        older = f"PostgreSQL is older than what was stored: {gone}"
    if missing.count:
        what = f"{missing.count:,} accepted requests have no record: {missing.named()}"
        older = f"{older}; {what}" if older else what
    if lost.holds:
        older = f"{older}; {lost.named()}" if older else lost.named()
    return PostgresState(older, missing, lost)


def make_plan(
    client: "redis.Redis",
    lane: Lane,
    source: str | None,
    partitions: list[int],
    *,
    accept_oversell: bool = False,
    expired_gives_back: bool = False,
) -> Plan:
    """Read everything. `source` and `partitions` are the topic's, as Kafka reports them.

    `expired_gives_back` is the settlers' setting. It counts for expired holds of which nobody knows
    whether they were forgiven.

    Without a source the plan is only for reading: it lacks partitions that no record and no
    position names. Call it while nobody stores records, or in one snapshot. Raises RedisAway;
    PostgreSQL's errors pass through.
    """
    status = read_lane(client, lane)
    found = sold.waiting(client, lane, {})
    with transaction.atomic():
        sold.stage(found)
        with connection.cursor() as cursor:
            stored, lanes = last_rows(cursor, lane), lanes_of(cursor)
            wrong = stranger(cursor, lane, status.activities)
        units = sold.units_by_item({})
        numbers = {activity for activity, _ in units} | set(status.activities)
        numbers |= set(Item.objects.values_list("activity_id", flat=True))
        # An archived activity has no orders here any more: its units would be on sale again.
        numbers -= set(Activity.objects.exclude(archived_at=None).values_list("pk", flat=True))
        numbers = {number for number in numbers if lanes.get(number, MAIN) == lane.name}
        activities = [
            _activity(
                number,
                status,
                units,
                accept_oversell=accept_oversell,
                expired_gives_back=expired_gives_back,
            )
            for number in sorted(numbers)
        ]
        places = _partitions(status.positions, _ends(lane), source, partitions)
        settle_places = _partitions(status.settle_positions, _by_place(settled.settle_ends(lane)))
    # Redis's counters stay for all outcomes but one: accepted is what the records prove.
    accepted_now = sum(a.total_outcomes[Outcome.ACCEPTED] for a in status.activities.values())
    decided = status.decided - accepted_now + sum(plan.requests for plan in activities)
    return Plan(
        lane=status,
        activities=activities,
        partitions=places,
        recovered=sum(place.position for place in places)
        - (decided + status.skipped + status.archived),
        settle_partitions=settle_places,
        settle_stats=_settle_stats(status, settle_places, activities),
        stored=stored,
        notes=[*([wrong] if wrong else []), *_notes(lane, status, found, activities)],
    )


def _settle_stats(
    status: LaneStatus, places: list[PartitionPlan], activities: list[ActivityPlan]
) -> dict[str, int]:
    """Settle messages by outcome. What the settlements prove replaces Redis's counters; of messages
    that left no entry, those that a loss of Redis took are `recovered`.
    """
    if not places:
        return {}
    stats = dict(status.settle_stats)
    stats["paid"] = sum(activity.ended.paid for activity in activities)
    stats["released"] = sum(activity.ended.cancelled for activity in activities)
    late = sum(activity.ended.late for activity in activities)
    stats["too_late"] = max(stats.get("too_late", 0), late)
    stats.pop("recovered", None)
    stats["recovered"] = sum(place.position for place in places) - sum(stats.values())
    return stats


def _by_place(ends: Mapping[str, int]) -> dict[tuple[str, int], int]:
    found = {}
    for name, end in ends.items():
        source, _, partition = name.rpartition(":")
        found[source, int(partition)] = end
    return found


def _activity(
    activity_id: int,
    status: LaneStatus,
    units: Mapping[tuple[int, int], int],
    *,
    accept_oversell: bool,
    expired_gives_back: bool,
) -> ActivityPlan:
    now = status.activities.get(activity_id)
    allocations = dict(
        Item.objects.filter(activity_id=activity_id).values_list("item_id", "allocation")
    )
    numbers = set(allocations) | {item for number, item in units if number == activity_id}
    numbers |= set(now.items) if now else set()
    items = []
    for number in sorted(numbers):
        known = now.items.get(number) if now else None
        # An item without a row in PostgreSQL was loaded by hand: only Redis knows how many.
        loaded = allocations.get(number, known.loaded if known else 0)
        gone = units.get((activity_id, number), 0)
        if accept_oversell:
            loaded = max(loaded, gone)
        items.append(
            ItemPlan(
                number,
                known.left if known else None,
                known.loaded if known else None,
                # If more is sold than was put on sale, nothing is left, and the audit reports it.
                max(0, loaded - gone),
                loaded,
                gone,
            )
        )
    row = Activity.objects.filter(pk=activity_id).first() or Activity(pk=activity_id)
    held = {**state_of(row), **kept_state(row)}
    if not any(item.left for item in items):
        held["over"] = held["over"] or SOLD_OUT
    state = {name: str(value) for name, value in held.items() if value is not None}
    state["clicks"] = "1"
    last = StockChange.objects.filter(activity_id=activity_id).aggregate(last=Max("version"))
    state["version"] = str(max(last["last"] or 0, now.version if now else 0) + 1)
    requests, total, records = sold.totals(activity_id, {})
    ended = settled.ended({}).get(activity_id, Ended())
    left_held = settled.count_held(activity_id)
    return ActivityPlan(
        activity_id=activity_id,
        version_now=now.version if now else 0,
        items=items,
        state=state,
        requests=requests,
        units=total,
        records=records,
        ended=ended,
        held=left_held,
        epoch_now=now.epoch if now else 0,
        buyers=None
        if row.user_limit is None
        else sold.units_by_user(activity_id, {}, expired_gives_back=expired_gives_back),
        changes=[
            *_changes(status, activity_id, items, state, records),
            *_changes_of_holds(now, ended, left_held),
        ],
    )


def _changes(
    status: LaneStatus,
    activity_id: int,
    items: list[ItemPlan],
    state: dict[str, str],
    records: int,
) -> list[str]:
    now = status.activities.get(activity_id)
    if now is None:
        return ["not loaded in Redis"]
    changes = [
        f"item {item.item_id}: {item.left_now} left of {item.loaded_now} in Redis, "
        f"{item.left} of {item.loaded} proved"
        for item in items
        if (item.left_now, item.loaded_now) != (item.left, item.loaded)
    ]
    for name, there in (("over", now.over), ("paused", "1" if now.paused else None)):
        if there != state.get(name):
            changes.append(
                f"{name}: {there or 'no'} in Redis, {state.get(name, 'no')} in PostgreSQL"
            )
    if now.total_records != records:
        changes.append(f"{now.total_records:,} records in Redis's counters, {records:,} proved")
    return changes


def _changes_of_holds(now: ActivityStatus | None, ended: Ended, held: int) -> list[str]:
    if now is None:
        return []
    return [
        f"{counted:,} holds {word} in Redis, {proved:,} proved"
        for word, counted, proved in (
            ("held", now.holds.held, held),
            ("paid", now.holds.paid, ended.paid),
            ("expired", now.holds.expired, ended.expired),
            ("given back", now.holds.cancelled, ended.cancelled),
        )
        if counted != proved
    ]


def _ends(lane: Lane) -> dict[tuple[str, int], int]:
    """{(source, partition): the offset after the last record}, of a lane, stored or waiting."""
    with connection.cursor() as cursor:
        cursor.execute(
            'SELECT source, partition, max("offset") + 1 FROM ('
            ' SELECT source, partition, "offset" FROM seckill_record'
            f" WHERE {of_lane(lane, 'activity_id')}"
            ' UNION ALL SELECT source, partition, "offset" FROM waiting) AS all_records'
            " GROUP BY source, partition"
        )
        return {(str(source), partition): end for source, partition, end in cursor.fetchall()}


def _partitions(
    positions: Mapping[str, int],
    ends: Mapping[tuple[str, int], int],
    source: str | None = None,
    partitions: Sequence[int] = (),
) -> list[PartitionPlan]:
    now = _by_place(positions)
    places = set(now) | set(ends)
    if source is not None:
        places |= {(source, number) for number in partitions}
    return [
        PartitionPlan(
            place[0],
            place[1],
            now.get(place),
            max(now.get(place, 0), ends.get(place, 0)),
        )
        for place in sorted(places)
    ]


def _notes(
    lane: Lane, status: LaneStatus, found: sold.Waiting, activities: list[ActivityPlan]
) -> list[str]:
    notes = []
    begun = len(begun_acts(lane))
    if begun:
        notes.append(
            f"{begun} acts in the journal have no known result: the plan uses PostgreSQL's "
            "allocations. See the journal, and repeat the acts that are still wanted"
        )
    if found.unreadable_count:
        notes.append(
            f"{found.unreadable_count} entries of the list are not records and do not count; the "
            f"first one: {found.unreadable[0][0][:100]!r}"
        )
    notes += [
        f"activity {activity.activity_id}, item {item.item_id}: {item.sold:,} sold, but only "
        f"{item.loaded:,} were put on sale. The fence stays; to accept the oversell, run with "
        "--accept-oversell"
        for activity in activities
        for item in activity.items
        if item.sold > item.loaded
    ]
    if not status.loaded and not status.positions:
        notes.append("Redis holds nothing: it was emptied, or this is another server")
    return notes

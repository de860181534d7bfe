"""The checks of the audit: pure functions from what was counted to what does not hold."""

from collections.abc import Iterator
from dataclasses import dataclass

from seckill.sold import Waiting
from seckill.stats import LaneStatus
from seckill.wire import Outcome

NEVER_OVERSOLD = "never oversold"
NEVER_LOST = "never lost"
NEVER_TWICE = "never twice"
NEVER_DROPPED = "never a silent drop"
KAFKA_KNOWS = "manage.py audit --kafka names the message; keep the topic and Redis's files"
INVARIANTS = (NEVER_OVERSOLD, NEVER_LOST, NEVER_TWICE, NEVER_DROPPED)


@dataclass(frozen=True)
class Finding:
    """An invariant that does not hold: the first culprit, and what to do."""

    invariant: str
    culprit: str
    explanation: str
    act: str


@dataclass(frozen=True)
class Totals:
    """Counts of records accepted before the moment of the audit, stored or waiting, each once.

    Keys are activities, or (activity, item). `inventory` is (allocation, sold) as PostgreSQL says;
    `stored` and `stored_by_item` count PostgreSQL alone, at the same snapshot as `inventory`.
    `differing` names a record with two contents; `stored_once` is whether PostgreSQL refuses twins.
    """

    units: dict[tuple[int, int], int]
    records: dict[int, int]
    requests: dict[int, int]
    stored: int
    inventory: dict[tuple[int, int], tuple[int, int]]
    stored_by_item: dict[tuple[int, int], int]
    differing: str = ""
    stored_once: bool = True


# A check's answer: None where it holds.
Checks = Iterator[Finding | None]


def all_checks(lane: LaneStatus, totals: Totals, found: Waiting, steered: set[int]) -> Checks:
    """Every check, one answer each. `steered` activities are in the middle of an act."""
    yield from stock(lane, totals)
    yield from counters(lane, totals)
    yield from inventory(lane, totals, steered)
    yield from records(totals, found)
    yield from outcomes(lane)


def _unless(
    holds: bool, invariant: str, culprit: str, explanation: str, act: str
) -> Finding | None:
    return None if holds else Finding(invariant, culprit, explanation, act)


def stock(lane: LaneStatus, totals: Totals) -> Checks:
    """Invariant 1, and 2 from the other side: loaded = left + sold and left >= 0, for each item."""
    for activity_id, activity in lane.activities.items():
        for item_id, item in activity.items.items():
            who = f"activity {activity_id}, item {item_id}"
            units = totals.units.get((activity_id, item_id), 0)
            seen = f"loaded {item.loaded}, left {item.left}, sold in records {units}"
            yield _unless(
                item.left >= 0 and item.loaded - item.left >= units,
                NEVER_OVERSOLD,
                who,
                seen,
                "finish the activity, find the cause, then sync_from_db",
            )
            yield _unless(
                item.loaded - item.left <= units,
                NEVER_LOST,
                who,
                f"{seen}: units were taken without a record",
                "sync_from_db puts them back on sale",
            )
    for activity_id, item_id in totals.units:
        known = lane.activities.get(activity_id)
        yield _unless(
            known is not None and item_id in known.items,
            NEVER_OVERSOLD,
            f"activity {activity_id}, item {item_id}",
            "there are records of an item that is not loaded in Redis",
            "load it with sync_from_db",
        )


def counters(lane: LaneStatus, totals: Totals) -> Checks:
    """Invariants 2 and 3: what the script counted against the records, for each activity."""
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


def inventory(lane: LaneStatus, totals: Totals, steered: set[int]) -> Checks:
    """PostgreSQL against itself (sold is the sum of records) and Redis (allocation is loaded)."""
    for (activity_id, item_id), (allocation, sold) in totals.inventory.items():
        who = f"activity {activity_id}, item {item_id}"
        stored = totals.stored_by_item.get((activity_id, item_id), 0)
        yield _unless(
            sold == stored,
            NEVER_TWICE if sold > stored else NEVER_LOST,
            who,
            f"the inventory says {sold} sold, the stored records say {stored}",
            "a table was changed by hand: correct seckill_item.sold",
        )
        activity = lane.activities.get(activity_id)
        item = activity.items.get(item_id) if activity else None
        yield _unless(
            item is None or item.loaded == allocation or activity_id in steered,
            NEVER_OVERSOLD,
            who,
            f"allocation {allocation} in PostgreSQL, loaded {item.loaded if item else 0} in Redis",
            "an act was cut off (see the journal): repeat it, or sync_from_db",
        )


def records(totals: Totals, found: Waiting) -> Checks:
    """Invariant 3 within list and table, and entries that are no records."""
    yield _unless(
        not totals.differing,
        NEVER_TWICE,
        totals.differing,
        "a record stands in the list twice, or in the list and in PostgreSQL, with other contents",
        "stop the consumers; manage.py audit --kafka says which one is right",
    )
    yield _unless(
        totals.stored_once,
        NEVER_TWICE,
        "table seckill_record",
        "its unique constraint record_stored_once is missing: a record could be stored twice",
        "stop the log workers, remove what is there twice, put the constraint back",
    )
    first = found.unreadable[0] if found.unreadable else (b"", "")
    yield _unless(
        not found.unreadable_count,
        NEVER_LOST,
        first[0].decode(errors="replace")[:200],
        f"{found.unreadable_count} entries of the lists of records are no records ({first[1]})",
        "another program writes there: find it. manage.py dead_letters list shows what is parked",
    )


def outcomes(lane: LaneStatus) -> Checks:
    """Invariant 4: outcomes, skipped and recovered offsets add up to the positions."""
    positions = sum(lane.positions.values())
    yield _unless(
        positions == lane.decided + lane.skipped + lane.recovered,
        NEVER_DROPPED,
        "the sum over all partitions",
        f"positions add up to {positions}, outcomes to {lane.decided}, skipped to {lane.skipped},"
        f" recovered to {lane.recovered}",
        KAFKA_KNOWS,
    )

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
    """

    units: dict[tuple[int, int], int]
    records: dict[int, int]
    requests: dict[int, int]
    stored: int
    inventory: dict[tuple[int, int], tuple[int, int]]
    stored_by_item: dict[tuple[int, int], int]


# A check's answer: None where it holds.
Checks = Iterator[Finding | None]


def all_checks(
    lane: LaneStatus, totals: Totals, found: Waiting, unreadable_dead: list[str]
) -> Checks:
    """Every check, one answer each."""
    yield from stock(lane, totals)
    yield from counters(lane, totals)
    yield from inventory(lane, totals)
    yield from records(found, unreadable_dead)
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
                "see docs/operations.md, audit",
            )


def inventory(lane: LaneStatus, totals: Totals) -> Checks:
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
            item is None or item.loaded == allocation,
            NEVER_OVERSOLD,
            who,
            f"allocation {allocation} in PostgreSQL, loaded {item.loaded if item else 0} in Redis",
            "an act was cut off (see the journal): repeat it, or sync_from_db",
        )


def records(found: Waiting, unreadable_dead: list[str]) -> Checks:
    """Invariant 3 within the list, and entries that are no records."""
    twice = found.conflicting
    yield _unless(
        not twice,
        NEVER_TWICE,
        f"partition {twice[0].partition}, offset {twice[0].offset}" if twice else "",
        f"{len(twice)} records stand in the list twice, with different contents",
        "stop the consumers; see docs/operations.md, audit",
    )
    texts = [text.decode(errors="replace")[:200] for text, _ in found.unreadable]
    texts += unreadable_dead
    yield _unless(
        not texts,
        NEVER_LOST,
        texts[0] if texts else "",
        f"{len(texts)} entries of the lists of records are no records",
        "another program writes there: find it",
    )


def outcomes(lane: LaneStatus) -> Checks:
    """Invariant 4: outcomes and skipped offsets add up to the positions."""
    positions = sum(lane.positions.values())
    yield _unless(
        positions == lane.decided + lane.skipped,
        NEVER_DROPPED,
        "the sum over all partitions",
        f"positions add up to {positions}, outcomes to {lane.decided}, skipped to {lane.skipped}",
        "see docs/operations.md, audit",
    )

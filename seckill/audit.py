"""The audit: the four invariants, checked from the outside while the sale goes on.

Reads everything, changes nothing; only commands and tests read it. It looks at one moment T: Redis
in one transaction, then the list, then one snapshot of PostgreSQL, in which only what was decided
before T counts (see `seckill.sold`). What moved on meanwhile is therefore no finding.
"""

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from typing import Any

import msgspec
import redis
from django.db import connection, transaction

from seckill import sold
from seckill.audit_checks import Finding, Totals, all_checks
from seckill.control import postgres_errors
from seckill.errors import Poison, RedisAway
from seckill.keys import Lane
from seckill.models import StockChange
from seckill.records import parse
from seckill.stats import LaneStatus, read_lane
from seckill.wire import Outcome

# How often the look is repeated when an operator steered in the middle of it.
ATTEMPTS = 5


@dataclass
class Report:
    """What was checked and found. Its JSON form is stable: keys are only ever added."""

    clean: bool = True
    checks: int = 0
    findings: list[Finding] = field(default_factory=list)
    activities: int = 0
    messages: int = 0
    skipped: int = 0
    outcomes: dict[str, int] = field(default_factory=dict)
    units_loaded: int = 0
    units_left: int = 0
    units_sold: int = 0
    records_stored: int = 0
    records_waiting: int = 0
    records_dead: int = 0
    notes: list[str] = field(default_factory=list)

    def as_json(self) -> dict[str, Any]:
        """All of it in plain types."""
        return {"schema": 1, **asdict(self)}


class CannotCheck(Exception):
    """The audit cannot be made now. The message says why and what to do."""


def audit(client: "redis.Redis", lane: Lane | None = None) -> Report:
    """Check all of a lane. Raises CannotCheck, RedisAway or PostgresAway."""
    lane = lane or Lane()
    for _ in range(ATTEMPTS):
        before = read_lane(client, lane)
        if not before.loaded and not before.positions:
            raise CannotCheck(
                "Redis holds no sale: nothing was loaded yet, or it was emptied. Load a sale "
                "(manage.py set_stock 1001:10), or, after a loss, POST /sync_from_db"
            )
        try:
            found = sold.waiting(client, lane, before.positions)
            letters: list[bytes] = client.lrange(lane.dead, 0, -1)  # type: ignore[assignment]
        except redis.RedisError as away:
            raise RedisAway(away) from None
        dead, unreadable = _dead_records(letters, before)
        for record in dead:
            found.records.setdefault(record.identity, record)
        with postgres_errors(), transaction.atomic():
            with connection.cursor() as cursor:
                cursor.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
            totals = _count(found, before)
        after = read_lane(client, lane)
        if _steered(before) == _steered(after) and set(before.positions) == set(after.positions):
            break
    else:
        raise CannotCheck("operators or new partitions came in between each time; try again")
    report = _summary(before, totals)
    for finding in all_checks(before, totals, found, unreadable):
        report.checks += 1
        if finding is not None:
            report.findings.append(finding)
    report.clean = not report.findings
    with postgres_errors():
        begun = StockChange.objects.filter(state=StockChange.State.STARTED).count()
    if begun:
        report.notes.append(f"{begun} control acts whose end is not known: see the journal")
    if before.dead:
        report.notes.append(f"{before.dead} records are parked in {lane.dead}, not in PostgreSQL")
    return report


def _steered(lane: LaneStatus) -> dict[int, int]:
    return {activity_id: a.version for activity_id, a in lane.activities.items()}


def _dead_records(letters: Iterable[bytes], lane: LaneStatus) -> tuple[list[Any], list[str]]:
    """Parked records that can be read, and the texts of those that can't."""
    limits = sold.positions_by_partition(lane.positions)
    records, unreadable = [], []
    for letter in letters:
        try:
            text = msgspec.json.decode(letter)["record"]
            record = parse(text.encode())
        except (msgspec.MsgspecError, Poison, KeyError, TypeError):
            unreadable.append(letter.decode(errors="replace")[:200])
            continue
        limit = limits.get((record.source, record.partition))
        if limit is None or record.offset < limit:
            records.append(record)
    return records, unreadable


def _count(found: sold.Waiting, lane: LaneStatus) -> Totals:
    sold.stage(found)
    accepted, arguments = sold.accepted_sql(lane.positions)
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT activity_id, item_id, sum(quantity)::bigint, count(*)"
            f" FROM ({accepted}) AS accepted GROUP BY activity_id, item_id",
            arguments,
        )
        rows = cursor.fetchall()
        cursor.execute(
            'SELECT activity_id, count(DISTINCT (source, partition, "offset"))'
            f" FROM ({accepted}) AS accepted GROUP BY activity_id",
            arguments,
        )
        requests = dict(cursor.fetchall())
        cursor.execute(
            "SELECT activity_id, item_id, sum(quantity)::bigint, count(*) FROM seckill_record"
            " GROUP BY activity_id, item_id"
        )
        stored = cursor.fetchall()
        cursor.execute("SELECT activity_id, item_id, allocation, sold FROM seckill_item")
        inventory = {(a, i): (allocation, units) for a, i, allocation, units in cursor.fetchall()}
    records: dict[int, int] = defaultdict(int)
    for activity, _item, _units, count in rows:
        records[activity] += count
    return Totals(
        units={(activity, item): units for activity, item, units, _ in rows},
        records=dict(records),
        requests=requests,
        stored=sum(count for *_, count in stored),
        inventory=inventory,
        stored_by_item={(activity, item): units for activity, item, units, _ in stored},
    )


def _summary(lane: LaneStatus, totals: Totals) -> Report:
    items = [item for a in lane.activities.values() for item in a.items.values()]
    outcomes: dict[str, int] = defaultdict(int)
    for activity in lane.activities.values():
        for outcome, count in activity.total_outcomes.items():
            outcomes[outcome.name] += count
    outcomes[Outcome.INVALID.name] += lane.invalid
    outcomes[Outcome.NO_SUCH_ACTIVITY.name] += lane.no_such_activity
    return Report(
        activities=len(lane.activities),
        messages=lane.decided,
        skipped=lane.skipped,
        outcomes=dict(outcomes),
        units_loaded=sum(item.loaded for item in items),
        units_left=sum(item.left for item in items),
        units_sold=sum(totals.units.values()),
        records_stored=totals.stored,
        records_waiting=lane.waiting,
        records_dead=lane.dead,
    )

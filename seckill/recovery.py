"""Carrying out the plan of a recovery: fence, rebuild, audit, and only then let the sale go on.

Always: the lane is fenced before the plan is made that is carried out, and the fence is lifted
only after a clean audit. Cut off anywhere, the lane stays fenced and the command can be run again.
Consumers may run all the time: they hold, then are told where to go on (the script's MOVED).
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import msgspec
import redis
from django.db import connection, transaction

from seckill import buyers
from seckill.act_script import ActScripts
from seckill.audit import Report, audit
from seckill.errors import Refused
from seckill.fence import RECOVERING, fence, lift
from seckill.journal import Journal
from seckill.keys import Lane
from seckill.last_audit import write_last_audit
from seckill.models import Activity, Item, StockChange
from seckill.recovery_plan import ActivityPlan, Plan, make_plan
from seckill.redis_client import run_script
from seckill.stats import read_lane

# Seconds that a batch which is being stored is waited for: more than a log worker waits itself.
STORING_LIMIT_S = 90
# The field of accepted requests in an activity's stats.
ACCEPTED = "1"
# How the journal names it.
ACT = "recover"


@dataclass(frozen=True)
class Done:
    """What a recovery came to. `lifted` tells whether the sale goes on."""

    plan: Plan
    generation: int
    report: Report
    lifted: bool


def recover(
    client: "redis.Redis",
    lane: Lane,
    source: str,
    partitions: list[int],
    actor: str,
    say: Callable[[str], None],
) -> Done:
    """Rebuild the lane. Raises RedisAway, CannotCheck, or Django's errors: it stays fenced then."""
    fence(client, lane, RECOVERING, f"manage.py recover by {actor}", replace=True)
    say("fenced: nothing is decided until the audit is clean")
    _await_storing()
    _settle(client, lane, actor)
    with _every_turn():
        plan = make_plan(client, lane, source, partitions)
        entries = _begin(plan, actor)
        generation = rebuild(client, lane, plan)
        say(f"rebuilt: generation {generation}, {len(plan.activities)} activities")
        _conclude(plan, entries)
    for note in plan.notes:
        say(f"note: {note}")
    report = audit(client, lane)
    finding = report.findings[0].explanation if report.findings else ""
    write_last_audit(client, report.clean, report.checks, finding, ACT, lane)
    if report.clean:
        lift(client, lane)
        say("audit clean: the fence is lifted, the sale goes on")
    return Done(plan, generation, report, report.clean)


@contextmanager
def _every_turn() -> Iterator[None]:
    """Nobody else acts: the locks by which operators take turns, on a connection of its own."""
    holder = connection.copy()
    try:
        holder.set_autocommit(False)
        with holder.cursor() as cursor:
            cursor.execute("SELECT id FROM seckill_activity ORDER BY id FOR UPDATE")
        yield
    finally:
        holder.close()


def _await_storing() -> None:
    """Batches that are being stored are stored, or not: after a loss no list has them any more.

    A log worker begins with a batch right after it has read it, so none of before comes later.
    """
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("SELECT set_config('lock_timeout', %s, true)", [f"{STORING_LIMIT_S}s"])
        cursor.execute("LOCK TABLE seckill_record IN SHARE MODE")


def _settle(client: "redis.Redis", lane: Lane, actor: str) -> None:
    """Acts that Redis has done and PostgreSQL has not heard of hold: their rows are completed."""
    activities = read_lane(client, lane).activities
    journal = Journal(ActScripts(client, lane), activities.get, actor)
    for activity_id in activities:
        with transaction.atomic():
            Activity.objects.select_for_update().filter(pk=activity_id).first()
            journal.settle(activity_id)


def rebuild(client: "redis.Redis", lane: Lane, plan: Plan) -> int:
    """Put the lane to the plan, in one script; the new generation. Raises RedisAway or Refused."""
    keys = [lane.activities, lane.positions, lane.stats, lane.state]
    activities = []
    for activity in plan.activities:
        names = lane.activity(activity.activity_id)
        token = buyers.NONE
        if activity.buyers is not None:
            token = buyers.stage(client, names.new_buyers, activity.buyers)
        keys += [names.state, names.stock, names.loaded, names.stats]
        keys += [names.buyers, names.new_buyers]
        activities.append([*_packed(activity), token])
    positions = [part for p in plan.partitions for part in (p.field_name, str(p.position))]
    packed = msgspec.msgpack.encode([positions, str(plan.recovered), activities])
    generation = int(run_script(client, "rebuild", keys, [RECOVERING, packed]))
    if generation < 0:
        raise Refused("somebody else steers or recovers at the same time; run it again")
    return generation


def _packed(plan: ActivityPlan) -> list[object]:
    """An activity as the script's header says, without the token."""

    def flat(pairs: dict[str, str]) -> list[str]:
        return [part for pair in pairs.items() for part in pair]

    return [
        str(plan.activity_id),
        str(plan.version_now),
        flat(plan.state),
        flat({str(item.item_id): str(item.left) for item in plan.items}),
        flat({str(item.item_id): str(item.loaded) for item in plan.items}),
        flat(
            {ACCEPTED: str(plan.requests), "units": str(plan.units), "records": str(plan.records)}
        ),
    ]


def _begin(plan: Plan, actor: str) -> list[StockChange]:
    """The journal's rows, before Redis is changed."""
    entries = []
    for activity in plan.activities:
        Activity.objects.get_or_create(pk=activity.activity_id)
        entries.append(
            StockChange.objects.create(actor=actor, act=ACT, activity_id=activity.activity_id)
        )
    return entries


def _conclude(plan: Plan, entries: list[StockChange]) -> None:
    """The rows' end, and the allocations that were below what is sold."""
    with transaction.atomic():
        for activity, entry in zip(plan.activities, entries, strict=True):
            for item in activity.items:
                Item.objects.update_or_create(
                    activity_id=activity.activity_id,
                    item_id=item.item_id,
                    defaults={"allocation": item.loaded},
                )
            entry.version = int(activity.state["version"])
            entry.old = {str(item.item_id): item.left_now for item in activity.items}
            entry.new = {str(item.item_id): item.left for item in activity.items}
            entry.state = StockChange.State.APPLIED
            entry.save()

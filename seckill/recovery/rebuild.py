"""Carries out the plan of a recovery: fence, rebuild, audit, and only then resume the sale.

Always: the lane is fenced before the plan is made. The fence is lifted only after a clean audit,
with the token of this recovery. The transaction of the plan locks the lane's row in PostgreSQL and
increments its generation, so a batch that was read before cannot be stored afterwards. If the
recovery is cut off, the lane stays fenced and the command can run again. Consumers may keep
running: they wait, and then the script's MOVED tells them where to continue.
Never: raise an allocation without being asked. If more is sold than was put on sale, a person must
decide.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace

import msgspec
import redis
from django.db import connection, transaction

from seckill.audit.audit import Report, audit
from seckill.audit.verdict import write_report
from seckill.broker.reader import TopicReader
from seckill.control import staging
from seckill.control.act_script import ActScripts
from seckill.control.journal import Journal
from seckill.control.tables import follow_redis
from seckill.dead_letters import records as dead_records
from seckill.dead_letters.from_redis import adopt
from seckill.dead_letters.records import Dead
from seckill.errors import Refused
from seckill.lane import board
from seckill.lane.client import redis_errors, run_script
from seckill.lane.fence import RECOVERING, FenceToken, fence, lift, new_token
from seckill.lane.keys import Lane
from seckill.lane.status import read_lane
from seckill.models import Activity, Item, StockChange
from seckill.postgres import lease, sold
from seckill.postgres.access import NO_LIMITS
from seckill.postgres.claims import claim_of_lane
from seckill.postgres.lanes import stranger
from seckill.postgres.lease import Claim, ForeignLane, NotLeading
from seckill.recovery import restore, restore_settled
from seckill.recovery.plan import ActivityPlan, Plan, PostgresState, make_plan, postgres_state

# Seconds to wait for a batch that is being stored: longer than a log worker itself waits.
STORING_LIMIT_S = 90
# Ms that every hold has at least when the sale goes on.
GRACE_MS = 1_000
# The field of accepted requests in an activity's stats.
ACCEPTED = "1"
# The name of this act in the journal.
ACT = "recover"


@dataclass(frozen=True)
class Done:
    """The result of a recovery. `lifted` tells whether the sale goes on."""

    plan: Plan
    generation: int
    report: Report
    lifted: bool
    restored: int = 0


def recover(
    client: "redis.Redis",
    lane: Lane,
    source: str,
    partitions: list[int],
    actor: str,
    say: Callable[[str], None],
    *,
    topic: TopicReader | None = None,
    settle_topic: TopicReader | None = None,
    accept_oversell: bool = False,
    expired_gives_back: bool = False,
) -> Done:
    """Rebuild the lane. With a `topic`, rows that PostgreSQL has lost are stored again from it, and
    with the settle topic what became of holds.

    `accept_oversell` raises an allocation to the units sold, if more are sold: a person's decision.
    `expired_gives_back`: see `make_plan`.
    Raises Refused before any change if rows are lost and no topic is given. After any other
    Refused, RedisAway, CannotCheck or error of Django the lane stays fenced.
    """
    with connection.cursor() as cursor:
        wrong = stranger(cursor, lane, read_lane(client, lane).activities)
    if wrong:
        raise Refused(f"{wrong}. {STRANGER}")
    state = postgres_state(client, lane)
    if state.older and topic is None:
        raise Refused(f"{state.older}. {FROM_KAFKA}")
    claim = _lead(client, lane)
    token = new_token()
    why = f"manage.py recover by {actor}"
    fence(client, lane, RECOVERING, why, token=token, replace=True)
    say("fenced: nothing is decided until the audit is clean")
    with _every_turn(lane):
        _settle(client, lane, actor)
        _adopt_old_letters(client, lane)
        restored = _restore(client, lane, state, topic, settle_topic, say)
        plan, claim, entries = _plan(
            client,
            lane,
            source,
            partitions,
            claim,
            actor,
            accept_oversell=accept_oversell,
            expired_gives_back=expired_gives_back,
        )
        rebuild(client, lane, plan, claim, token)
        say(f"rebuilt: generation {claim.generation}, {len(plan.activities)} activities")
        _conclude(plan, entries, accept_oversell=accept_oversell)
    for note in plan.notes:
        say(f"note: {note}")
    report = audit(client, lane)
    write_report(client, report, ACT, lane)
    lifted = report.clean and lift(client, lane, token)
    if lifted:
        say("audit clean: the fence is lifted, the sale goes on")
    return Done(plan, claim.generation, report, lifted, restored)


STRANGER = (
    "A Redis has the data of another lane, or a row was changed by hand: "
    "bring the right Redis to this lane (section lanes of config.yaml)"
)
FROM_KAFKA = (
    "Bring the newer PostgreSQL back; or run manage.py recover --apply --from-kafka, which stores "
    "the lost orders again from the topic"
)


def _lead(client: "redis.Redis", lane: Lane) -> Claim:
    """Make this Redis lead the lane. Raises Refused if somebody decides on another Redis."""
    with redis_errors():
        run_id: str = client.info("server")["run_id"]
    claim = claim_of_lane(read_lane(client, lane))
    try:
        with transaction.atomic(), connection.cursor() as cursor:
            return lease.lead(cursor, lane.list, run_id, claim, repairing=True)
    except (ForeignLane, NotLeading) as refused:
        raise Refused(str(refused)) from None


def _restore(
    client: "redis.Redis",
    lane: Lane,
    state: PostgresState,
    topic: TopicReader | None,
    settle_topic: TopicReader | None,
    say: Callable[[str], None],
) -> int:
    """Restore what PostgreSQL has lost, from topic and Redis. Returns how many requests."""
    if topic is None:
        return 0
    status = read_lane(client, lane)
    restored = restore.store_missing(client, lane, status, topic)
    say(f"restored from the topic: the rows of {restored:,} accepted requests")
    settled = restore_settled.store_lost(client, lane, status, settle_topic)
    if settled:
        say(f"restored from the settle topic: the settlements of {settled:,} holds")
    if state.older:
        for number, now in status.activities.items():
            follow_redis(number, now, lane)
        say("PostgreSQL is older: stock and rules of activities were taken from Redis")
    return restored


@contextmanager
def _every_turn(lane: Lane) -> Iterator[None]:
    """Keep all operators from acting in the lane: lock its activities, on a separate connection.

    This lock excludes the lock of an operator's turn, but lets this recovery change the rows.
    """
    holder = connection.copy()
    try:
        holder.set_autocommit(False)
        with holder.cursor() as cursor:
            cursor.execute(NO_LIMITS)
            cursor.execute(
                "SELECT id FROM seckill_activity WHERE lane = %s ORDER BY id FOR KEY SHARE",
                [lane.name],
            )
        yield
    finally:
        holder.close()


def _settle(client: "redis.Redis", lane: Lane, actor: str) -> None:
    """Complete the journal rows of acts that Redis has done but PostgreSQL does not know of."""
    activities = read_lane(client, lane).activities
    journal = Journal(ActScripts(client, lane), lane, activities.get, lambda: None, actor)
    for activity_id in activities:
        with transaction.atomic():
            journal.settle(activity_id)


def _adopt_old_letters(client: "redis.Redis", lane: Lane) -> None:
    def keep(dead: Sequence[Dead]) -> None:
        with transaction.atomic(), connection.cursor() as cursor:
            dead_records.keep(cursor, dead)

    adopt(client, lane, keep)


def _plan(
    client: "redis.Redis",
    lane: Lane,
    source: str,
    partitions: list[int],
    claim: Claim,
    actor: str,
    *,
    accept_oversell: bool,
    expired_gives_back: bool,
) -> tuple[Plan, Claim, list[StockChange]]:
    """The plan, the claim with the new generation, and the journal's rows, in one transaction.

    Nobody stores records at the same time: this waits for transactions under way, and later ones
    find the new generation.
    """
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("SELECT set_config('lock_timeout', %s, true)", [f"{STORING_LIMIT_S}s"])
        row = lease.read(cursor, lane.list, lock="FOR UPDATE")
        assert row is not None
        generation = max(row.generation, claim.generation) + 1
        plan = make_plan(
            client,
            lane,
            source,
            partitions,
            accept_oversell=accept_oversell,
            expired_gives_back=expired_gives_back,
        )
        cursor.execute(
            "UPDATE seckill_lane SET generation = %s WHERE name = %s", [generation, lane.list]
        )
        return plan, replace(claim, generation=generation), _begin(plan, actor, lane)


def rebuild(client: "redis.Redis", lane: Lane, plan: Plan, claim: Claim, token: FenceToken) -> None:
    """Bring the lane to the plan: the board first, and then the rest in one script.

    Raises RedisAway or Refused.
    """
    clicks, holds = _rebuild_pieces(client, lane, plan)
    keys = [lane.activities, lane.positions, lane.stats, lane.state, lane.stored]
    keys += [lane.settle_positions, lane.settle_stats, lane.settle_read]
    activities = []
    for activity in plan.activities:
        names = lane.activity(activity.activity_id)
        staged = staging.NONE
        if activity.buyers is not None:
            staged = staging.stage(client, names.new_buyers, activity.buyers.items())
        keys += [names.state, names.stock, names.loaded, names.stats]
        keys += [names.buyers, names.new_buyers, names.clicks, names.new_clicks]
        keys += [names.held, names.new_held, names.due, names.new_due]
        number = activity.activity_id
        packed = _packed(activity, claim.generation)
        activities.append([*packed, staged, clicks[number], holds[number]])
    positions = [part for p in plan.partitions for part in (p.field_name, str(p.position))]
    settled = [part for p in plan.settle_partitions for part in (p.field_name, str(p.position))]
    about = {"identity": claim.identity, "generation": claim.generation, "term": claim.term}
    packed_plan = msgspec.msgpack.encode(
        [
            *(positions, str(plan.recovered), activities, _flat(about), _flat(plan.stored)),
            *(settled, _flat(plan.settle_stats)),
        ]
    )
    if int(run_script(client, "rebuild", keys, [token.value, packed_plan])) < 0:
        raise Refused("another act or recovery is running at the same time; run this again")


def _rebuild_pieces(
    client: "redis.Redis", lane: Lane, plan: Plan
) -> tuple[dict[int, str], dict[int, str]]:
    """Rebuild the board piece by piece: nobody else writes to it while the lane is fenced.

    Stage the clicks and the holds of each activity; returns the tokens of both.
    """
    # Who could not pay while Redis was away gets a moment, whatever the time was.
    earliest_ms = read_lane(client, lane).now_ms + GRACE_MS
    with transaction.atomic():
        sold.stage(sold.waiting(client, lane, {}))
        for place in plan.partitions:
            board.rebuild(
                client,
                lane,
                (place.source, place.partition),
                place.position_now or 0,
                place.position,
                restore.recorded_bytes(place.source, place.partition),
            )
        numbers = [activity.activity_id for activity in plan.activities]
        clicks = {
            number: staging.stage_clicks(client, lane.activity(number).new_clicks, number, {})
            for number in numbers
        }
        holds = {
            number: staging.stage_holds(client, lane.activity(number), number, earliest_ms)
            for number in numbers
        }
        return clicks, holds


def _flat(pairs: Mapping[str, object]) -> list[str]:
    return [str(part) for pair in pairs.items() for part in pair]


def _packed(plan: ActivityPlan, generation: int) -> list[object]:
    """An activity in the form that the script's header describes, without the tokens."""
    state, stats = dict(plan.state), {
        ACCEPTED: plan.requests, "units": plan.units, "records": plan.records
    }  # fmt: skip
    if plan.holds:
        # Units may have come back, so what was counted as certain before is not.
        state["epoch"] = str(max(plan.epoch_now + 1, generation))
        ended = asdict(plan.ended)
        stats |= {"held": plan.held, "too_late": ended.pop("late"), **ended}
    return [
        str(plan.activity_id),
        str(plan.version_now),
        _flat(state),
        _flat({str(item.item_id): item.left for item in plan.items}),
        _flat({str(item.item_id): item.loaded for item in plan.items}),
        _flat(stats),
    ]


def _begin(plan: Plan, actor: str, lane: Lane) -> list[StockChange]:
    """Begin the journal's rows, before Redis is changed."""
    entries = []
    for activity in plan.activities:
        Activity.objects.get_or_create(pk=activity.activity_id, defaults={"lane": lane.name})
        entries.append(
            StockChange.objects.create(actor=actor, act=ACT, activity_id=activity.activity_id)
        )
    return entries


def _conclude(plan: Plan, entries: list[StockChange], *, accept_oversell: bool) -> None:
    """Complete the journal's rows, and create rows for items that only Redis knew."""
    with transaction.atomic():
        for activity, entry in zip(plan.activities, entries, strict=True):
            for item in activity.items:
                row, _made = Item.objects.get_or_create(
                    activity_id=activity.activity_id,
                    item_id=item.item_id,
                    defaults={"allocation": item.loaded},
                )
                if accept_oversell and item.loaded > row.allocation:
                    row.allocation = item.loaded
                    row.save(update_fields=["allocation"])
                    entry.detail = "accepted by hand: more was sold than was put on sale"
            entry.version = int(activity.state["version"])
            entry.old = {str(item.item_id): item.left_now for item in activity.items}
            entry.new = {str(item.item_id): item.left for item in activity.items}
            entry.state = StockChange.State.APPLIED
            entry.save()

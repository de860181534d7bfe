"""The table of `manage.py status`: a lane at a glance, for a terminal or a file.

Owns the texts and their order.
"""

from functools import partial

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from seckill.formats.advice import in_lane
from seckill.formats.outcomes import Outcome
from seckill.lane.phase import Phase
from seckill.lane.settle_status import SettleStatus
from seckill.lane.status import ActivityStatus, LaneStatus
from seckill.monitoring.look import Look
from seckill.monitoring.verdict_text import in_words
from seckill.process.columns import Fitted
from seckill.telemetry.door_counts import ACKNOWLEDGE, DoorCounts
from seckill.telemetry.heartbeats import LETTERS_LOST, Kind

# Items that get their own row; the others are summed up in one row.
ITEMS_SHOWN = 10
# How a verdict's line looks, by its level.
STYLES = {"danger": "bold red", "warning": "bold yellow", "success": "green", "info": ""}


def table(now: Look, before: Look | None = None) -> RenderableType:
    """The table. With an earlier look it also shows rates."""
    lane, told = now.lane, partial(in_lane, lane=now.named)
    parts: list[RenderableType] = [
        Text(in_words(now.verdict, now.now_ms), STYLES[now.verdict.level])
    ]
    if lane.fence is not None:
        parts.append(
            Text(
                told(f"FENCED {lane.fence.word}: {lane.fence.why}. manage.py recover repairs it."),
                "bold red",
            )
        )
    if not lane.loaded:
        parts.append(
            Text(
                told(
                    "For a new sale run manage.py set_stock, after a loss of Redis "
                    "manage.py recover."
                ),
                "bold yellow",
            )
        )
    if now.sample and now.sample.blocked:
        parts.append(Text(f"Kafka hides requests: {now.sample.blocked_by}.", "bold yellow"))
    if lane.activities:
        parts.append(_activities(lane, now.now_ms))
    doors = [DoorCounts(w) for w in now.workers if w.kind is Kind.DOOR and w.alive]
    parts.append(_lane(now, before))
    if now.holds is not None and now.holds.known:
        parts.append(_holds(now.holds, now.named))
    parts += [_workers(now), *map(_door, doors), _audit(now)]
    return Group(*parts)


def state_text(status: ActivityStatus, now_ms: int) -> str:
    """Whether the activity sells now, and if not, why."""
    match status.phase(now_ms):
        case Phase.SOLD_OUT | Phase.FINISHED as over:
            return f"over ({over.replace('_', ' ')})"
        case Phase.OPEN:
            return "on sale"
        case Phase.PAUSED:
            return "paused"
        case Phase.SOON | Phase.CLOSED:
            return "not open"


def _activities(lane: LaneStatus, now_ms: int) -> Fitted:
    shown = Table(box=None, pad_edge=False, header_style="bold")
    for name in ("activity", "state", "version"):
        shown.add_column(name)
    for name in ("item", "left", "sold", "accepted", "refused", "expired", "p50 / p99"):
        shown.add_column(name, justify="right")
    for activity in lane.activities.values():
        p50, p99 = activity.latency.percentile(0.5), activity.latency.percentile(0.99)
        latency = "-" if p50 is None or p99 is None else f"{p50:,.0f} / {p99:,.0f} ms"
        lost = activity.expired_with_stock
        expired = f"{activity.timeouts:,}" + (f" ({lost:,} with stock)" if lost else "")
        head = [str(activity.activity_id), state_text(activity, now_ms), str(activity.version)]
        tail = [f"{activity.success:,}", f"{activity.failures:,}", expired, latency]
        items = list(activity.items.values())
        for item in items[:ITEMS_SHOWN]:
            shown.add_row(*head, str(item.item_id), f"{item.left:,}", f"{item.sold:,}", *tail)
            head, tail = ["", "", ""], ["", "", "", ""]
        rest = items[ITEMS_SHOWN:]
        if rest:
            left, sold = sum(i.left for i in rest), sum(i.sold for i in rest)
            shown.add_row("", "", "", f"{len(rest)} more", f"{left:,}", f"{sold:,}", *tail)
    return Fitted(shown, "version", "refused", "expired", "p50 / p99", "accepted", "state")


def _lane(now: Look, before: Look | None) -> Text:
    lane = now.lane
    parts = [f"decided {lane.decided:,}"]
    if before is not None and now.now_ms > before.now_ms:
        rate = (lane.decided - before.lane.decided) * 1000 / (now.now_ms - before.now_ms)
        parts.append(f"{max(rate, 0):,.0f}/s")
    parts.append("lag unknown (no consumer reports it)" if now.lag is None else f"lag {now.lag:,}")
    parts.append(f"waiting for PostgreSQL {lane.waiting:,}")
    reasons = [
        (o.name.lower(), sum(a.outcomes.get(o, 0) for a in lane.activities.values()))
        for o in Outcome
        if o not in (Outcome.ACCEPTED, Outcome.EXPIRED)
    ]
    reasons += [("invalid", lane.invalid), ("no_such_activity", lane.no_such_activity)]
    reasons += [("parked records", lane.dead), ("recovered", lane.recovered)]
    totals: dict[str, int] = {}
    for name, count in reasons:
        totals[name] = totals.get(name, 0) + count
    parts += [f"{name} {count:,}" for name, count in totals.items() if count]
    return Text(" | ".join(parts))


def _holds(holds: SettleStatus, lane: str) -> Text:
    parts = [f"holds: held {holds.held:,}", f"paid {holds.total('paid'):,}"]
    parts += [f"given back {holds.total('cancelled'):,}", f"expired {holds.total('expired'):,}"]
    parts.append(f"units returned {holds.total('units_returned'):,}")
    parts += [
        f"{name.replace('_', ' ')} {holds.messages[name]:,}"
        for name in ("too_late", "repeated", "not_held", "invalid")
        if holds.messages.get(name)
    ]
    if holds.overdue:
        parts.append(
            f"{holds.overdue:,} overdue: manage.py run_settler has not read all that Kafka has"
        )
    return Text(in_lane(" | ".join(parts), lane), "bold red" if holds.overdue else "")


def _workers(now: Look) -> Text:
    if not now.workers:
        return Text("workers: no heartbeat within the last hour", "yellow")
    text = Text("workers: ")
    for index, worker in enumerate(now.workers):
        state = "alive" if worker.alive else f"silent for {worker.silent_ms // 1000} s"
        detail = f" ({worker.detail})" if worker.detail else ""
        if lost := worker.counts.get(LETTERS_LOST):
            detail += f" ({lost:,} dead letters given up)"
        text.append(
            f"{', ' if index else ''}{worker.kind} {worker.id} {state}{detail}",
            None if worker.alive else "bold red",
        )
    return text


def _door(door: DoorCounts) -> Text:
    results = [f"{name.replace('_', ' ')} {count:,}" for name, count in door.results.items()]
    parts = [f"door {door.worker.id}: clicks {door.asked:,} ({', '.join(results)})"]
    parts += [f"told {state} {count:,}" for state, count in door.told.items()]
    if refused := sum(door.refused.values()):
        parts.append(f"refused calls {refused:,}")
    parts.append(f"waiting {door.waiting:,}")
    mean = door.mean_ms(ACKNOWLEDGE)
    if mean is not None:
        parts.append(f"acknowledged in {mean:,.0f} ms on average")
    if door.blind:
        parts.append(f"can read no answer, for {door.board_age_s:,.0f} s")
    return Text(" | ".join(parts), "bold red" if door.blind else "")


def _audit(now: Look) -> Text:
    if now.audit is None:
        return Text(in_lane("audit: not run yet; manage.py audit runs one", now.named), "yellow")
    age_s = max(0, now.now_ms - now.audit.at_ms) // 1000
    when = f"{age_s} s ago, by {now.audit.by}"
    if now.audit.clean is None:
        return Text(f"audit: could not check ({now.audit.finding}), {when}", "yellow")
    if now.audit.clean:
        return Text(f"audit: clean, {when}", "green")
    return Text(f"audit: VIOLATED: {now.audit.finding}; {when}", "bold red")

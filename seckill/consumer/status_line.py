"""The status line of the consumers: one line, and one more for each further activity."""

from seckill.formats.outcomes import Outcome
from seckill.lane.status import ActivityStatus, LaneStatus

# Items shown one by one. Of the others only the sum is shown.
ITEMS_SHOWN = 8


def status_line(
    lane: LaneStatus, *, rate: float, lag: int | None, consumers: int, blocked: str = ""
) -> str:
    """What an operator wants to know at a glance. `lag` None: Kafka does not answer.

    `blocked` says which part of the lag waits for open transactions.
    """
    if not lane.loaded:
        stock = ["nothing is loaded: NOT_LOADED, requests wait"]
    else:
        stock = [_stock(activity) for activity in lane.activities.values()]
    activities = list(lane.activities.values())
    accepted = sum(a.success for a in activities)
    expired = sum(a.timeouts for a in activities)
    reasons = {
        outcome.name.lower(): sum(a.outcomes.get(outcome, 0) for a in activities)
        for outcome in Outcome
        if outcome not in (Outcome.ACCEPTED, Outcome.EXPIRED)
    }
    reasons["invalid"] = lane.invalid
    reasons["no_such_activity"] = lane.no_such_activity
    refused = sum(reasons.values())
    named = ", ".join(f"{name} {count:,}" for name, count in reasons.items() if count)
    lag_text = "unknown (Kafka is away)" if lag is None else f"{lag:,}"
    if blocked:
        lag_text += f" ({blocked})"
    parts = [
        stock[0],
        f"accepted {accepted:,}",
        f"expired {expired:,}",
        f"refused {refused:,}" + (f" ({named})" if named else ""),
        f"decided {accepted + expired + refused:,}",
        f"{rate:,.0f}/s",
        f"lag {lag_text}",
        f"waiting for PostgreSQL {lane.waiting:,}",
        f"consumers {consumers}",
    ]
    if lane.dead:
        parts.append(f"parked records {lane.dead:,}")
    return "\n".join(["[status] " + " | ".join(parts), *(f"         {line}" for line in stock[1:])])


def _stock(activity: ActivityStatus) -> str:
    shown = list(activity.items.values())[:ITEMS_SHOWN]
    text = " ".join(f"{item.item_id}:{item.left:,}" for item in shown)
    rest = list(activity.items.values())[ITEMS_SHOWN:]
    if rest:
        text += f" and {len(rest)} more items: {sum(item.left for item in rest):,}"
    state = f"over ({activity.over})" if activity.over else "on sale"
    return f"activity {activity.activity_id}: left {text} | {state}"

"""The desk's JSON for one activity: figures, history, workers, alerts.

It only computes from what it is given. Texts are in the reader's language.
"""

from collections.abc import Mapping
from typing import Any

from django.urls import reverse
from django.utils.translation import gettext as _

from seckill.control.whole_sale import PartOfSale, WholeSale
from seckill.lane.status import ActivityStatus
from seckill.telemetry.door_counts import DoorCounts
from seckill.telemetry.heartbeats import Kind, Worker
from seckill.web.admin import desk_acts
from seckill.web.admin.desk_alerts import alerts
from seckill.web.admin.desk_look import Look, health_of, newest_lag, percentiles
from seckill.web.admin.desk_points import points
from seckill.web.admin.live import STATES, state_of, verdict_json

# An audit older than this (ms) says little about the present.
AUDIT_OLD_MS = 15 * 60_000


def answer(look: Look, activity_id: int) -> dict[str, Any]:
    """The desk's JSON for one activity."""
    status = look.lane.activities.get(activity_id)
    lag = newest_lag(look)
    return {
        "now_ms": look.now_ms,
        "verdict": verdict_json(look.verdict, look.now_ms),
        "activity": _activity(activity_id, status, look.now_ms),
        "items": _items(status, look.names),
        "outcomes": {o.name: n for o, n in status.outcomes.items()} if status else {},
        "latency": percentiles(status.latency) if status else None,
        "figures": _figures(look, status),
        "lag": {str(partition): n for partition, n in sorted((lag or {}).items())},
        "workers": [_worker(worker, look, lag) for worker in look.workers],
        "audit": _audit(look),
        "alerts": [vars(alert) for alert in alerts(look, status, lag)],
        "acts": desk_acts.offered(status),
        "primary": desk_acts.primary(status),
        "done": [act_json(act) for act in look.acts],
        "holds": _holds(look, status),
        "points": points(look, activity_id),
        "sale": sale_json(look.sale, activity_id),
    }


def _activity(activity_id: int, status: ActivityStatus | None, now_ms: int) -> dict[str, Any]:
    key = state_of(status, now_ms)
    kind, text = STATES[key]
    return {
        "id": activity_id,
        "state": key,
        "kind": kind,
        "text": str(text),
        "version": status.version if status else None,
        "opens_at_ms": status.opens_at_ms if status else None,
        "closes_at_ms": status.closes_at_ms if status else None,
        "user_limit": status.user_limit if status else None,
        "timeout_ms": status.timeout_ms if status else None,
        "hold_s": status.hold_s if status else None,
    }


def _items(status: ActivityStatus | None, names: Mapping[int, str]) -> list[dict[str, Any]]:
    return [
        {
            "id": str(item.item_id),
            "name": names.get(item.item_id, ""),
            "left": item.left,
            "sold": item.sold,
            "loaded": item.loaded,
        }
        for item in (status.items.values() if status else ())
    ]


def _figures(look: Look, status: ActivityStatus | None) -> dict[str, int | None]:
    # Of the activity: `left` now, `requests` to `lost` since its statistics were reset, `sold`,
    # `loaded` and `stored` ever. Of the whole lane: all below, the last three ever.
    return {
        "left": status.left if status else 0,
        "loaded": status.loaded if status else 0,
        "sold": status.sold if status else 0,
        "requests": status.total if status else 0,
        "accepted": status.success if status else 0,
        "lost": status.expired_with_stock if status else 0,
        "stored": look.stored,
        "lag": look.verdict.lag,
        "waiting": look.lane.waiting,
        "dead": look.lane.dead,
        "invalid": look.lane.invalid,
        "no_such_activity": look.lane.no_such_activity,
    }


def _holds(look: Look, status: ActivityStatus | None) -> dict[str, int] | None:
    """What the panel shows; None: this activity has never held anything."""
    if status is None or (status.hold_s is None and not status.holds.all and not look.late):
        return None
    holds = status.holds
    return {
        "held": holds.held,
        "paid": holds.paid,
        "expired": holds.expired,
        "cancelled": holds.cancelled,
        "returned": holds.units_returned,
        "late": look.late,
    }


def sale_json(sale: WholeSale | None, activity_id: int) -> dict[str, Any] | None:
    """The sums of a sale over several lanes and its parts; None: the activity is not split."""
    if sale is None:
        return None
    return {
        "left": sale.left,
        "sold": sale.sold,
        "loaded": sale.loaded,
        "on_the_way": sale.on_the_way,
        "parts": [
            {
                "id": str(part.row.pk),
                "lane": part.row.lane,
                "url": reverse("admin:seckill_activity_desk", args=[part.row.pk]),
                "here": part.row.pk == activity_id,
                "away": part.away,
                **_part_state(part),
                "left": part.left,
                "sold": part.sold,
                "loaded": part.loaded,
            }
            for part in sale.parts
        ],
    }


def _part_state(part: PartOfSale) -> dict[str, str]:
    if part.lane is None:
        return {"kind": "danger", "text": _("Redis is away")}
    kind, text = STATES[state_of(part.status, part.lane.now_ms)]
    return {"kind": kind, "text": str(text)}


def act_json(act: Mapping[str, Any]) -> dict[str, Any]:
    """An act with its time in ms."""
    return {**act, "at": round(act["at"].timestamp() * 1000)}


def _worker(worker: Worker, look: Look, lag: dict[int, int] | None) -> dict[str, Any]:
    kinds = {
        Kind.CONSUMER: _("consumer"),
        Kind.PARENT: _("parent of consumers"),
        Kind.LOG_WORKER: _("log worker"),
        Kind.DOOR: _("buyers' door"),
        Kind.SETTLER: _("settler"),
        Kind.SETTLER_PARENT: _("parent of settlers"),
        Kind.PUBLISHER: _("publisher of events"),
        Kind.WEBHOOKS: _("webhooks"),
    }
    return {
        "id": worker.id,
        "kind": kinds[worker.kind],
        "health": health_of(worker, look, lag),
        "beat_age_ms": worker.silent_ms,
        "progress_age_ms": max(0, look.now_ms - worker.progress_ms),
        "detail": worker.detail or (_door(DoorCounts(worker)) if worker.kind is Kind.DOOR else ""),
    }


def _door(door: DoorCounts) -> str:
    return _(
        "%(asked)s clicks: %(acknowledged)s taken, %(shed)s certain losers, %(lost)s answered 503; "
        "%(waiting)s wait"
    ) % {
        "asked": f"{door.asked:,}",
        "acknowledged": f"{door.results['acknowledged']:,}",
        "shed": f"{door.results['shed']:,}",
        "lost": f"{door.results['not_taken'] + door.results['unknown']:,}",
        "waiting": f"{door.waiting:,}",
    }


def _audit(look: Look) -> dict[str, Any] | None:
    audit = look.audit
    if audit is None:
        return None
    age_ms = max(0, look.now_ms - audit.at_ms)
    if audit.clean is None:
        word, light = _("could not check"), "warning"
    elif not audit.clean:
        word, light = _("broken"), "danger"
    else:
        old = age_ms > AUDIT_OLD_MS
        word, light = (_("clean (old)"), "warning") if old else (_("clean"), "success")
    return {"word": word, "light": light, "age_ms": age_ms, "finding": audit.finding}

"""The desk's alerts: what happened, what it means for the sale, what to run; the worst first."""

import time
from dataclasses import dataclass, replace

from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from seckill.formats.advice import in_lane
from seckill.lane.status import ActivityStatus
from seckill.telemetry.heartbeats import Kind
from seckill.web.admin.desk_look import Look, health_of, newest_blocked

# Synchronized clocks never differ by more than so many seconds.
CLOCKS_APART_S = 10


@dataclass(frozen=True)
class Alert:
    """Something that needs a person: how bad it is, what it is, what it means, what to run."""

    level: str
    title: str
    text: str
    command: str = ""


def alerts(look: Look, status: ActivityStatus | None, lag: dict[int, int] | None) -> list[Alert]:
    """What needs a person now, the worst first."""
    found = [*_lane_alerts(look), *_worker_alerts(look, lag)]
    if status and status.expired_with_stock:
        text = _("These buyers waited too long although units were left: lost sales.")
        number = f"{status.expired_with_stock:,}"
        title = ngettext(
            "%(n)s request expired while stock was left",
            "%(n)s requests expired while stock was left",
            status.expired_with_stock,
        ) % {"n": number}
        found.append(Alert("warning", title, text))
    if look.audit and look.audit.clean is False:
        found.append(
            Alert(
                "danger",
                _("The last audit found a broken promise"),
                look.audit.finding,
                "manage.py audit",
            )
        )
    order = {"danger": 0, "warning": 1, "info": 2}
    return [_in_lane(alert, look.named) for alert in sorted(found, key=lambda a: order[a.level])]


def _in_lane(alert: Alert, lane: str) -> Alert:
    """Commands work in lane main unless they are told otherwise."""
    return replace(alert, text=in_lane(alert.text, lane), command=in_lane(alert.command, lane))


def _lane_alerts(look: Look) -> list[Alert]:
    lane, found = look.lane, []
    if lane.fence:
        found.append(
            Alert(
                "danger",
                _("Fenced: %(word)s") % {"word": lane.fence.word},
                _("Nothing is decided, requests wait in Kafka, nothing is lost. %(why)s")
                % {"why": lane.fence.why},
                "manage.py recover",
            )
        )
    elif not lane.loaded:
        found.append(
            Alert(
                "danger",
                _("NOT_LOADED: Redis holds no sale"),
                _(
                    "Nothing is decided, requests wait in Kafka, nothing is lost. For a new sale, "
                    "set the stock; after a loss of Redis, run manage.py recover."
                ),
                "manage.py recover",
            )
        )
    apart_s = (
        max(abs(lane.now_ms - time.time_ns() // 1_000_000), lane.clock_ms - lane.now_ms) // 1000
    )
    if apart_s > CLOCKS_APART_S:
        found.append(
            Alert(
                "danger",
                _("Two clocks differ by %(n)s s") % {"n": f"{apart_s:,}"},
                _(
                    "Redis's clock differs from this server's, or went back. From 60 s on nothing "
                    "is decided, because a wrong clock would refuse buyers."
                ),
                "date",
            )
        )
    blocked, whose = newest_blocked(look)
    if blocked:
        title = ngettext(
            "Kafka hides %(n)s request behind an open transaction",
            "Kafka hides %(n)s requests behind an open transaction",
            blocked,
        )
        found.append(Alert("warning", title % {"n": f"{blocked:,}"}, whose))
    if lane.dead:
        title = ngettext(
            "%(n)s order could not be stored", "%(n)s orders could not be stored", lane.dead
        )
        found.append(
            Alert(
                "danger",
                title % {"n": f"{lane.dead:,}"},
                _("They are parked with their reasons and count as sold: return no stock."),
                "manage.py dead_letters list",
            )
        )
    return found


def _worker_alerts(look: Look, lag: dict[int, int] | None) -> list[Alert]:
    found = []
    alive = {kind: [w for w in look.workers if w.kind == kind and w.alive] for kind in Kind}
    if not alive[Kind.CONSUMER]:
        found.append(
            Alert(
                "danger",
                _("No consumer is alive"),
                _("Requests wait in Kafka and none is decided."),
                "manage.py run_consumer",
            )
        )
    if not alive[Kind.LOG_WORKER]:
        found.append(
            Alert(
                "danger" if look.lane.waiting else "warning",
                _("No log worker is alive"),
                _("Sold orders are safe in Redis, but do not reach PostgreSQL."),
                "manage.py run_log_worker",
            )
        )
    if look.lane.needs_settler and not alive[Kind.SETTLER]:
        found.append(
            Alert(
                "danger" if look.lane.held else "warning",
                _("No settler is alive"),
                _("Payments wait in Kafka, and no hold expires. No payment is lost."),
                "manage.py run_settler",
            )
        )
    for worker in look.workers:
        if worker.alive and health_of(worker, look, lag) == "stuck":
            found.append(
                Alert(
                    "warning",
                    _("%(worker)s makes no progress") % {"worker": worker.id},
                    worker.detail or _("It is running and has work, but gets nothing done."),
                )
            )
    return found

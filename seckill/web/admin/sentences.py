"""What the admin says about an act before and after it: whole sentences for operators.

Owns the texts. It changes nothing.
"""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from django.utils import timezone
from django.utils.translation import gettext as _

from seckill.control.acts import act_text
from seckill.control.control import Act
from seckill.errors import ServiceAway
from seckill.lane.status import ActivityStatus
from seckill.models import Item, StockChange
from seckill.web.admin.times import clock

# How many acts a page names that were done since the operator looked.
MOVED_SHOWN = 10


def stock_lines(
    status: ActivityStatus | None, activity_id: int, item_id: int, units: int
) -> list[str]:
    """What setting the stock will do."""
    item = status.items.get(item_id) if status else None
    lines = []
    if item is None:
        known = Item.objects.filter(activity_id=activity_id, item_id=item_id).first()
        sold = known.sold if known else 0
        lines.append(
            _("Item %(item)s of activity %(activity)s is not on sale now. It will have %(units)s.")
            % {"item": item_id, "activity": activity_id, "units": count(units)}
        )
    else:
        sold = item.sold
        lines.append(
            _("Item %(item)s of activity %(activity)s has %(left)s now. It will have %(units)s.")
            % {
                "item": item_id,
                "activity": activity_id,
                "left": count(item.left),
                "units": count(units),
            }
        )
    lines.append(
        _("Already sold: %(sold)s, which stay sold. Total ever put on sale: %(loaded)s.")
        % {"sold": count(sold), "loaded": count(sold + units)}
    )
    if status is None:
        lines.append(_("The activity is not loaded in Redis: its other items are loaded too."))
    else:
        lines.append(
            _("The activity's statistics start again; until now they count %(total)s requests.")
            % {"total": f"{status.total:,}"}
        )
    others = sum(i.left for i in status.items.values() if i.item_id != item_id) if status else 0
    if status and status.over and units + others:
        lines.append(
            _("The sale is over (%(why)s). It opens again at once.")
            % {"why": why_text(status.over)}
        )
    if status and not units + others:
        lines.append(_("No unit of any item will be left: the sale will be sold out."))
    return lines


def sale_lines(status: ActivityStatus | None) -> list[str]:
    """Where an act on the head of a sale over several lanes is done; [] for any other activity."""
    if status is None or not status.leads:
        return []
    return [
        _(
            "The sale is split over %(n)s lanes, and this is done in all of them. The units named "
            "below are those of this lane."
        )
        % {"n": status.part.partition("/")[2]}
    ]


def finish_lines(status: ActivityStatus) -> list[str]:
    """What finishing an activity will do."""
    left = status.left
    lines = [
        _("From now on every request for activity %(id)s is answered OVER, even if units are left.")
        % {"id": status.activity_id},
        _("%(left)s stay unsold. Units already sold stay sold.") % {"left": count(left)},
        _("To open the sale again, reopen it or set the stock of an item."),
    ]
    if status.over:
        lines.insert(0, _("It is already over: %(why)s.") % {"why": why_text(status.over)})
    return lines


def more_lines(status: ActivityStatus, item_id: int, units: int) -> list[str]:
    """What adding units will do."""
    item = status.items.get(item_id)
    left = item.left if item else 0
    lines = [
        _("Item %(item)s has %(left)s now and will have %(units)s, less what sells until then.")
        % {"item": item_id, "left": count(left), "units": count(left + units)},
        _("The statistics continue, and units already sold stay sold."),
    ]
    if status.over == "finished":
        lines.append(_("The sale stays finished: reopen it to sell these units."))
    elif status.over:
        lines.append(_("The sale is sold out. It opens again at once."))
    return lines


def pause_lines(status: ActivityStatus) -> list[str]:
    """What pausing will do."""
    left = status.left
    lines = [
        _("From the next batch on every request for activity %(id)s is answered NOT_OPEN.")
        % {"id": status.activity_id},
        _("%(left)s stay as they are. Units already sold stay sold.") % {"left": count(left)},
        _("Buyers are refused, not queued: they must send their requests again."),
    ]
    if status.paused:
        lines.insert(0, _("It is already paused."))
    return lines


def resume_lines(status: ActivityStatus) -> list[str]:
    """What resuming will do."""
    left = status.left
    lines = [_("From the next batch on it sells again: %(left)s.") % {"left": count(left)}]
    if not status.paused:
        lines.insert(0, _("It is not paused now."))
    if status.over:
        lines.append(_("The sale is still over: %(why)s.") % {"why": why_text(status.over)})
    return lines


def reopen_lines(status: ActivityStatus) -> list[str]:
    """What reopening will do."""
    left = status.left
    if not status.over:
        return [_("It is open now: nothing changes but the version.")]
    if not left:
        return [_("No unit is left: it will be sold out instead of finished. Add units to sell.")]
    lines = [_("It sells again from the next batch on: %(left)s.") % {"left": count(left)}]
    if status.paused:
        lines.append(_("It stays paused until it is resumed."))
    return lines


def window_lines(
    status: ActivityStatus | None, opens_at: datetime | None, closes_at: datetime | None
) -> list[str]:
    """What another window will do."""
    lines = [
        _("It opens at %(at)s.") % {"at": clock(opens_at)}
        if opens_at
        else _("It is open from the start."),
        _("It closes at %(at)s.") % {"at": clock(closes_at)}
        if closes_at
        else _("It stays open until it is finished."),
    ]
    now = timezone.now()
    if (opens_at and now < opens_at) or (closes_at and now >= closes_at):
        lines.append(_("Now is outside this window: requests are answered NOT_OPEN at once."))
    elif status and status.over:
        lines.append(_("The sale is still over: %(why)s.") % {"why": why_text(status.over)})
    return lines


def limit_lines(status: ActivityStatus | None, limit: int | None) -> list[str]:
    """What another limit per user will do."""
    before = status.user_limit if status else None
    lines = [
        _("The limit is %(units)s per user now.") % {"units": count(before)}
        if before is not None
        else _("There is no limit now."),
    ]
    if limit is None:
        return [*lines, _("There will be no limit: one user may buy all units.")]
    lines.append(_("It will be %(units)s per user.") % {"units": count(limit)})
    if before is None:
        lines.append(
            _("Units that users have bought so far count: they are added up from the orders first.")
        )
    lines.append(_("Users who already have more keep their units, but get no more."))
    return lines


def hold_lines(status: ActivityStatus | None, hold_s: int | None) -> list[str]:
    """What another time to pay will do."""
    lines = (
        [_("An accepted request is sold at once.")]
        if hold_s is None
        else [
            _("An accepted request is held for %(n)s s. Then its units are on sale again.")
            % {"n": f"{hold_s:,}"},
            _("Nothing is paid and nothing expires without manage.py run_settler."),
        ]
    )
    if status and status.holds.held:
        lines.append(
            _("%(n)s holds go on as they are: each keeps the end that its buyer was told.")
            % {"n": f"{status.holds.held:,}"}
        )
    return lines


def moved_lines(activity_id: int, seen: int, now: int) -> list[str]:
    """What happened since an operator looked: the acts between two versions."""
    acts = StockChange.objects.filter(
        activity_id=activity_id, version__gt=seen, version__lte=now
    ).order_by("version")[:MOVED_SHOWN]
    return [
        _(
            "Nothing was done: you looked at version %(seen)s of this activity, and it is at "
            "%(now)s now. Read again what will happen."
        )
        % {"seen": seen, "now": now},
        *(
            _("%(who)s: %(act)s, %(changes)s (version %(version)s)")
            % {
                "who": change.actor,
                "act": act_text(change.act),
                "changes": changes_text(change.old or {}, change.new or {}),
                "version": change.version,
            }
            for change in acts
        ),
    ]


def sync_lines() -> list[str]:
    """What syncing from the database will do."""
    return [
        _("For each item, units left become allocation - sold, but never less than 0."),
        _("Orders that still wait to be stored count as sold."),
        _("Where Redis already agrees nothing changes, even during a sale."),
    ]


def done_text(act: Act) -> str:
    """What an act did."""
    return _("%(act)s, activity %(id)s: %(changes)s; version %(version)s") % {
        "act": act_text(act.act),
        "id": act.activity_id,
        "changes": changes_text(act.old, act.new),
        "version": act.version,
    }


def away_text(away: ServiceAway) -> str:
    """What it means for an act that a service is away."""
    return _("%(away)s. See the journal for what was done, then try again.") % {"away": away}


def not_saved(away: ServiceAway) -> str:
    """What it means for a form that a service is away."""
    return _("Nothing was saved: %(away)s. Save again when it is back.") % {"away": away}


def why_text(why: str | None) -> str:
    """Why a sale is over."""
    return {"finished": _("finished"), "sold_out": _("sold out")}.get(why or "", why or "")


def count(units: int) -> str:
    """Units as text."""
    return _("%(units)s units") % {"units": f"{units:,}"}


def changes_text(old: Mapping[str, Any], new: Mapping[str, Any]) -> str:
    """What an act changed, on one line."""
    return ", ".join(
        f"{field_text(name)}: {value_text(name, old.get(name))} → {value_text(name, value)}"
        for name, value in new.items()
    ) or _("no change")


def field_text(name: str) -> str:
    """A field of an act, for people; an item is its number."""
    names = {
        "over": _("over"),
        "paused": _("paused"),
        "opens_at": _("opens at"),
        "closes_at": _("closes at"),
        "user_limit": _("units per user"),
        "timeout": _("timeout, ms"),
        "hold_s": _("hold, s"),
        "name": _("name"),
        "lanes": _("lanes"),
        "parts": _("parts"),
    }
    return names.get(name, name)


def value_text(name: str, value: Any) -> str:
    """A field's value, for people."""
    if value is None:
        return "–"
    if isinstance(value, bool):
        return _("yes") if value else _("no")
    if name in ("opens_at", "closes_at") and isinstance(value, int):
        return clock(datetime.fromtimestamp(value / 1000, UTC)) or ""
    if name == "over":
        return why_text(value)
    return f"{value:,}" if isinstance(value, int) else str(value)

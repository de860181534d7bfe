"""What the admin says of an act before and after it: whole sentences, for operators.

Owns the words. Reads what it is given, and does nothing.
"""

from typing import Any

from django.utils.translation import gettext as _

from seckill.control import Act
from seckill.errors import ServiceAway
from seckill.models import Item
from seckill.stats import ActivityStatus, LaneStatus


def stock_lines(lane: LaneStatus, activity_id: int, item_id: int, units: int) -> list[str]:
    """What setting the stock will do, for people."""
    status = lane.activities.get(activity_id)
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
        _("What was sold (%(sold)s) stays sold: ever put on sale will be %(loaded)s.")
        % {"sold": count(sold), "loaded": count(sold + units)}
    )
    if status is None:
        lines.append(_("The activity is not loaded in Redis: the rest of it is loaded too."))
    else:
        lines.append(
            _("The statistics of the activity start again; %(total)s requests were counted.")
            % {"total": f"{status.total:,}"}
        )
    others = sum(i.left for i in status.items.values() if i.item_id != item_id) if status else 0
    if status and status.over and units + others:
        lines.append(
            _("The sale is over (%(why)s). It opens again at once.")
            % {"why": why_text(status.over)}
        )
    if status and not units + others:
        lines.append(_("No unit of any item is left then: the sale is over, as sold out."))
    return lines


def finish_lines(status: ActivityStatus) -> list[str]:
    """What finishing an activity will do."""
    left = sum(item.left for item in status.items.values())
    lines = [
        _("From now on every request of activity %(id)s is answered OVER, whatever is left.")
        % {"id": status.activity_id},
        _("%(left)s stay unsold. Nothing that was sold is taken back.") % {"left": count(left)},
        _("Setting the stock of an item opens the sale again."),
    ]
    if status.over:
        lines.insert(0, _("It is over already: %(why)s.") % {"why": why_text(status.over)})
    return lines


def sync_lines() -> list[str]:
    """What syncing from the database will do."""
    return [
        _("For each item: units left become allocation - sold, and never less than 0."),
        _("Orders that still wait to be stored are counted as sold first."),
        _("Where Redis agrees already nothing changes, in the middle of a sale too."),
    ]


def done_text(act: Act) -> str:
    """What an act did, for people."""
    changes = ", ".join(
        f"{name}: {_value(act.old.get(name))} → {_value(value)}" for name, value in act.new.items()
    )
    return _("%(act)s of activity %(id)s: %(changes)s; version %(version)s") % {
        "act": act.act,
        "id": act.activity_id,
        "changes": changes or _("no change"),
        "version": act.version,
    }


def away_text(away: ServiceAway) -> str:
    """What it means that a service is away."""
    return _("%(away)s. Look at the journal for what was done, and try again.") % {"away": away}


def not_saved(away: ServiceAway) -> str:
    """What it means for a form that a service is away."""
    return _("Nothing was saved: %(away)s. Save again when it is back.") % {"away": away}


def why_text(why: str | None) -> str:
    """Why a sale is over."""
    return {"finished": _("finished"), "sold_out": _("sold out")}.get(why or "", why or "")


def count(units: int) -> str:
    """Units for people."""
    return _("%(units)s units") % {"units": f"{units:,}"}


def _value(value: Any) -> str:
    return "–" if value is None else f"{value:,}" if isinstance(value, int) else str(value)

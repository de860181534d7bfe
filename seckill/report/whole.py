"""The report of a sale over several lanes: what its parts have, added up. Chooses which to make.

Each part is read from its own lane, one after the other, and is of one moment for itself.
"""

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace

import redis
from django.utils.translation import gettext as _

from seckill.audit.audit import Report
from seckill.config.sections import Server
from seckill.control.balance import on_the_way
from seckill.control.part_rows import parts_of
from seckill.errors import NoSuchActivity, RedisAway
from seckill.formats.outcomes import Outcome
from seckill.lane.keys import Lane
from seckill.lane.status import ActivityStatus, Histogram, Holds, ItemStatus
from seckill.postgres.through_django import postgres_errors
from seckill.report.data import (
    MESSAGES,
    Gathered,
    ItemStory,
    PartStory,
    Place,
    SaleReport,
    collect,
    gather,
    judge_order,
)
from seckill.report.moments import together, without_quiet


def report_of(
    activity_id: int,
    lane: str,
    open_lane: Callable[[str], tuple["redis.Redis", Server]],
    *,
    messages: int = MESSAGES,
    with_audit: bool = True,
) -> SaleReport:
    """The report of an activity in this lane; of the head of a split sale that of the whole sale.

    `open_lane` gives the Redis and the section of a lane. Raises NoSuchActivity, RedisAway or
    PostgresAway.
    """
    with postgres_errors():
        rows = parts_of(activity_id)
    if not rows:
        client, server = open_lane(lane)
        return collect(
            client,
            server,
            activity_id,
            Lane.named(lane),
            messages=messages,
            with_audit=with_audit,
        )
    places = [Place(row.pk, *open_lane(row.lane), Lane.named(row.lane)) for row in rows]
    parts = [_gathered(place, with_audit) for place in places]
    report = added_up(parts, on_the_way(activity_id))
    judge_order(report, parts, messages)
    return report


def _gathered(place: Place, with_audit: bool) -> Gathered:
    """A part; who cannot be read is named, since sums without it would be wrong."""
    name = place.lane.name
    try:
        return gather(place, with_audit=with_audit)
    except NoSuchActivity as why:
        raise NoSuchActivity(f"lane {name}: {why}") from None
    except RedisAway as away:
        raise RedisAway(away, f"of lane {name}, which has a part of the sale, is missing") from None


def added_up(parts: Sequence[Gathered], on_the_way: int) -> SaleReport:
    """The report of the sale without the order of arrival; the head is the first part."""
    reports = [part.report for part in parts]
    head = reports[0]
    activities = [report.activity for report in reports]
    number = head.activity.activity_id
    series = [
        (report.activity.activity_id, part.samples, report.moments)
        for part, report in zip(parts, reports, strict=True)
    ]
    audit, reason = _audits(parts)
    return replace(
        head,
        activity=_activity(activities, on_the_way),
        moments=without_quiet(together(series, number)),
        items=_items(reports),
        made_at_ms=max(report.made_at_ms for report in reports),
        audit=audit,
        audit_reason=reason,
        users=sum(report.users for report in reports),
        parts=[_part(part) for part in parts],
        on_the_way=on_the_way,
    )


def _part(part: Gathered) -> PartStory:
    activity = part.report.activity
    return PartStory(
        activity_id=activity.activity_id,
        lane=part.place.lane.name,
        loaded=activity.loaded,
        left=activity.left,
        requests=activity.total,
        accepted=activity.success,
        users=part.report.users,
    )


def _activity(parts: Sequence[ActivityStatus], on_the_way: int) -> ActivityStatus:
    """All parts as one, with the number and the rules of the head."""

    def total(name: str) -> int:
        return sum(getattr(part, name) for part in parts)

    return replace(
        parts[0],
        over=_over(parts, on_the_way),
        items={item.item_id: item for item in _units(parts)},
        outcomes=_outcomes(part.outcomes for part in parts),
        total_outcomes=_outcomes(part.total_outcomes for part in parts),
        latency=_histogram(part.latency for part in parts),
        total_latency=_histogram(part.total_latency for part in parts),
        holds=Holds(
            **{
                name: sum(getattr(part.holds, name) for part in parts)
                for name in Holds.__dataclass_fields__
            }
        ),
        units_sold=total("units_sold"),
        total_units=total("total_units"),
        records=total("records"),
        total_records=total("total_records"),
        expired_with_stock=total("expired_with_stock"),
        total_expired_with_stock=total("total_expired_with_stock"),
    )


def _over(parts: Sequence[ActivityStatus], on_the_way: int) -> str | None:
    """Why nothing can be sold any more; None as long as one part sells, or will again."""
    words = {part.over for part in parts}
    if None in words or (on_the_way and "finished" not in words):
        return None
    return words.pop() if len(words) == 1 else "finished"


def _units(parts: Sequence[ActivityStatus]) -> list[ItemStatus]:
    found: dict[int, list[ItemStatus]] = defaultdict(list)
    for part in parts:
        for item in part.items.values():
            found[item.item_id].append(item)
    return [
        ItemStatus(number, sum(i.left for i in items), sum(i.loaded for i in items))
        for number, items in sorted(found.items())
    ]


def _outcomes(parts: Iterable[dict[Outcome, int]]) -> dict[Outcome, int]:
    counts = Counter[Outcome]()
    for part in parts:
        counts.update(part)
    return dict(counts)


def _histogram(parts: Iterable[Histogram]) -> Histogram:
    counts = Counter[int]()
    for part in parts:
        counts.update(part.buckets)
    return Histogram(dict(counts))


def _items(reports: Sequence[SaleReport]) -> list[ItemStory]:
    found: dict[int, list[ItemStory]] = defaultdict(list)
    for report in reports:
        for item in report.items:
            found[item.item_id].append(item)
    return [
        ItemStory(
            item_id=number,
            loaded=sum(item.loaded for item in items),
            left=sum(item.left for item in items),
            first_ms=min((i.first_ms for i in items if i.first_ms is not None), default=None),
            last_ms=max((i.last_ms for i in items if i.last_ms is not None), default=None),
        )
        for number, items in sorted(found.items())
    ]


def _audits(parts: Sequence[Gathered]) -> tuple[Report | None, str]:
    """The audits of all lanes as one; None and why, if one could not check."""
    missing = [
        _("Lane %(lane)s: %(text)s")
        % {"lane": part.place.lane.name, "text": part.report.audit_reason}
        for part in parts
        if part.report.audit_reason
    ]
    found = [(part.place.lane.name, part.report.audit) for part in parts if part.report.audit]
    if missing or len(found) < len(parts):
        return None, "; ".join(missing)
    audits = [audit for _name, audit in found]
    return Report(
        clean=all(audit.clean for audit in audits),
        findings=[
            replace(finding, culprit=f"{name}: {finding.culprit}")
            for name, audit in found
            for finding in audit.findings
        ],
        checks=sum(audit.checks for audit in audits),
        messages=sum(audit.messages for audit in audits),
        records_stored=sum(audit.records_stored for audit in audits),
        records_waiting=sum(audit.records_waiting for audit in audits),
        units_loaded=sum(audit.units_loaded for audit in audits),
        units_left=sum(audit.units_left for audit in audits),
        units_sold=sum(audit.units_sold for audit in audits),
    ), ""

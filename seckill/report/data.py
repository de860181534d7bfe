"""The data of a sale's report, collected from Redis, PostgreSQL and Kafka.

A sale is what happened in an activity since its statistics were last reset to zero.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

import redis
from django.utils.translation import gettext as _

from seckill.audit.audit import CannotCheck, Report, audit
from seckill.config.sections import Server
from seckill.errors import BrokerAway, NoSuchActivity
from seckill.formats.outcomes import Outcome
from seckill.lane.keys import Lane
from seckill.lane.status import ActivityStatus, ItemStatus, LaneStatus, read_lane
from seckill.models import Activity
from seckill.postgres.through_django import postgres_errors
from seckill.report.accepted import Accepted, read_accepted
from seckill.report.fairness import Fairness, judge
from seckill.report.moments import MARGIN_MS, sale_moments, since_start, without_quiet
from seckill.report.queues import Queues, read_queues
from seckill.telemetry.history import Sample, read_series, sample_of

# The most messages that are read from the topic to judge the order of the winners.
MESSAGES = 1_000_000


@dataclass(frozen=True)
class ItemStory:
    """One item: its units, and when its first and last record were decided (ms)."""

    item_id: int
    loaded: int
    left: int
    first_ms: int | None
    last_ms: int | None

    @property
    def sold_out_ms(self) -> int | None:
        """When its last unit was sold; None while units are left."""
        return self.last_ms if self.left == 0 else None


@dataclass(frozen=True)
class PartStory:
    """One part of a sale over several lanes. Its units are of all items."""

    activity_id: int
    lane: str
    loaded: int
    left: int
    requests: int
    accepted: int
    users: int

    @property
    def sold(self) -> int:
        """Units in accepted requests that did not come back."""
        return self.loaded - self.left


@dataclass
class SaleReport:
    """All data. `moments` are samples of this sale only: their counters start with it."""

    activity: ActivityStatus
    lane: LaneStatus
    moments: list[Sample]
    items: list[ItemStory]
    made_at_ms: int
    audit: Report | None = None
    audit_reason: str = ""
    fairness: list[Fairness] = field(default_factory=list)
    fairness_reason: str = ""
    messages_read: int = 0
    messages: int = 0
    # Users with an accepted request.
    users: int = 0
    # Of a sale over several lanes: its parts, and units that are on sale in none of them now.
    parts: list[PartStory] = field(default_factory=list)
    on_the_way: int = 0

    @property
    def begin_ms(self) -> int | None:
        """When the sale began, if known."""
        first = [story.first_ms for story in self.items if story.first_ms is not None]
        # One moment alone is the present: nobody has written a history.
        if len(self.moments) > 1:
            return self.moments[0].at_ms
        return min(first, default=None)

    @property
    def running(self) -> bool:
        """Whether units can still be sold."""
        return self.activity.over is None


@dataclass(frozen=True)
class Place:
    """Where an activity is: its Redis, its lane, and the section that names its topic."""

    activity_id: int
    client: "redis.Redis"
    server: Server
    lane: Lane


@dataclass(frozen=True)
class Gathered:
    """What Redis and PostgreSQL have of an activity. `report` is without the order of arrival."""

    place: Place
    report: SaleReport
    accepted: Accepted
    # All samples of it up to now, with counters from the start of the sale.
    samples: list[Sample]


def collect(
    client: "redis.Redis",
    server: Server,
    activity_id: int,
    lane: Lane,
    *,
    messages: int = MESSAGES,
    with_audit: bool = True,
) -> SaleReport:
    """The sale of one activity at one moment, the audit's if it ran.

    Raises NoSuchActivity, RedisAway or PostgresAway.
    """
    found = gather(Place(activity_id, client, server, lane), with_audit=with_audit)
    found.report.moments = without_quiet(found.report.moments)
    judge_order(found.report, [found], messages)
    return found.report


def gather(place: Place, *, with_audit: bool) -> Gathered:
    """All but the order of arrival. Raises NoSuchActivity, RedisAway or PostgresAway."""
    client, lane, activity_id = place.client, place.lane, place.activity_id
    status = read_lane(client, lane)
    _loaded(status, activity_id)
    proof, reason = None, ""
    if with_audit:
        try:
            proof = audit(client, lane)
        except CannotCheck as cannot:
            reason = str(cannot)
        else:
            # All figures are of the audit's moment: what sells meanwhile is in none of them.
            status = proof.lane or status
    activity = _loaded(status, activity_id)
    now_ms = status.now_ms
    before = [sample for sample in read_series(client, lane) if sample.at_ms < now_ms]
    samples = since_start([*before, sample_of(status, None, now_ms)], activity_id, activity)
    moments = sale_moments(samples, activity_id, activity)
    since_ms = moments[0].at_ms - MARGIN_MS if moments else 0
    if len(moments) == 1 and activity.total_records == activity.records:
        # Nobody has written a history, and there was no sale before this one.
        since_ms = 0
    accepted = read_accepted(client, lane, activity_id, since_ms // 1000)
    items = [_story(item, accepted.spans.get(item.item_id)) for item in activity.items.values()]
    report = SaleReport(
        activity, status, moments, items, now_ms, proof, audit_reason=reason, users=accepted.users
    )
    return Gathered(place, report, accepted, samples)


def judge_order(report: SaleReport, parts: Sequence[Gathered], messages: int) -> None:
    """Judge the winners' order, from `messages` at most, over all parts of the sale together."""
    sold_out = {story.item_id for story in report.items if story.left == 0}
    if not sold_out:
        report.fairness_reason = _("no item is sold out, so nobody had to queue")
        return
    queues = Queues()
    try:
        for part in parts:
            read_queues(
                queues,
                part.place.server,
                part.report.activity,
                part.report.lane.positions,
                part.accepted,
                sold_out,
                messages // len(parts),
            )
    except BrokerAway as away:
        report.fairness_reason = _("%(away)s. The order of arrival cannot be read") % {"away": away}
        return
    report.messages, report.messages_read = queues.messages, queues.messages_read
    if not queues.known:
        report.fairness_reason = _("the topic no longer holds an accepted request of this sale")
        return
    report.fairness = judge(queues.by_item)


def _loaded(status: LaneStatus, activity_id: int) -> ActivityStatus:
    activity = status.activities.get(activity_id)
    if activity is None:
        with postgres_errors():
            row = Activity.objects.filter(pk=activity_id).exclude(archived_at=None).first()
        if row is not None:
            raise NoSuchActivity(
                f"activity {activity_id} is archived: its orders are in {row.archived_in}, and "
                "there is no report of it any more"
            )
        known = ", ".join(map(str, status.activities)) or "none"
        raise NoSuchActivity(f"activity {activity_id} is not loaded in Redis; loaded: {known}")
    return activity


def _story(item: ItemStatus, span: tuple[int, int] | None) -> ItemStory:
    return ItemStory(
        item_id=item.item_id,
        loaded=item.loaded,
        left=item.left,
        first_ms=span[0] * 1000 if span else None,
        last_ms=span[1] * 1000 if span else None,
    )


def outcomes(report: SaleReport) -> dict[str, int]:
    """Requests of the sale by outcome, the most frequent first. Outcomes with 0 are left out."""
    counts = {outcome.name: n for outcome, n in report.activity.outcomes.items() if n}
    if report.moments:
        last = report.moments[-1]
        for outcome, count in (
            (Outcome.INVALID, last.invalid),
            (Outcome.NO_SUCH_ACTIVITY, last.no_such_activity),
        ):
            if count:
                counts[outcome.name] = count
    return dict(sorted(counts.items(), key=lambda pair: -pair[1]))

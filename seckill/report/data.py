"""The data of a sale's report, collected from Redis, PostgreSQL and Kafka.

A sale is what happened in an activity since its statistics were last reset to zero.
"""

from collections import defaultdict
from dataclasses import dataclass, field, replace

import redis
from django.db import connection
from django.utils.translation import gettext as _

from seckill.audit.audit import CannotCheck, Report, audit
from seckill.broker.topics import Topics
from seckill.config.sections import Server
from seckill.errors import BrokerAway, NoSuchActivity, Poison
from seckill.formats.outcomes import Outcome
from seckill.formats.request import decode
from seckill.lane.keys import Lane, position_field
from seckill.lane.record_list import readable
from seckill.lane.status import ActivityStatus, ItemStatus, LaneStatus, read_lane
from seckill.postgres.through_django import postgres_errors
from seckill.report.arrivals import read_arrivals, shares
from seckill.report.fairness import Fairness, Queue, judge
from seckill.telemetry.history import ActivitySample, Sample, read_series, sample_of

# The most messages that are read from the topic to judge the order of the winners.
MESSAGES = 1_000_000
# Quiet time that the charts show before the first request, ms.
MARGIN_MS = 2_000


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


def collect(
    client: "redis.Redis",
    server: Server,
    activity_id: int,
    lane: Lane,
    *,
    messages: int = MESSAGES,
    with_audit: bool = True,
) -> SaleReport:
    """The sale at one moment, the audit's if it ran.

    Raises NoSuchActivity, RedisAway or PostgresAway.
    """
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
    moments = sale_moments([*before, sample_of(status, None, now_ms)], activity_id, activity)
    since_ms = moments[0].at_ms - MARGIN_MS if moments else 0
    accepted = _accepted(client, lane, activity_id, since_ms // 1000)
    items = [_story(item, accepted.spans.get(item.item_id)) for item in activity.items.values()]
    report = SaleReport(
        activity, status, without_quiet(moments), items, now_ms, proof, audit_reason=reason
    )
    try:
        _judge(report, server, accepted, messages)
    except BrokerAway as away:
        report.fairness_reason = _("%(away)s. The order of arrival cannot be read") % {"away": away}
    return report


def _loaded(status: LaneStatus, activity_id: int) -> ActivityStatus:
    activity = status.activities.get(activity_id)
    if activity is None:
        known = ", ".join(map(str, status.activities)) or "none"
        raise NoSuchActivity(f"activity {activity_id} is not loaded in Redis; loaded: {known}")
    return activity


def sale_moments(samples: list[Sample], activity_id: int, activity: ActivityStatus) -> list[Sample]:
    """The samples from the sale's first request to its last, with counters from its start."""
    base = {
        outcome.name: activity.total_outcomes[outcome] - count
        for outcome, count in activity.outcomes.items()
    }
    start, final = sum(base.values()), sum(activity.total_outcomes.values())
    if final == start:
        return []
    begun = ended = None
    mine = [sample for sample in samples if activity_id in sample.activities]
    for index, sample in enumerate(mine):
        count = sum(sample.activities[activity_id].outcomes.values())
        if count <= start:
            begun = index
        if ended is None and count >= final and sample.waiting == 0:
            ended = index
    chosen = mine[begun or 0 : len(mine) if ended is None else ended + 1]
    first = chosen[0]
    units = activity.total_units_sold - activity.units_sold
    lost = activity.total_expired_with_stock - activity.expired_with_stock
    costs = {
        bucket: count - activity.latency.buckets.get(bucket, 0)
        for bucket, count in activity.total_latency.buckets.items()
    }
    return [
        replace(
            sample,
            invalid=sample.invalid - first.invalid,
            no_such_activity=sample.no_such_activity - first.no_such_activity,
            activities={
                activity_id: _since(sample.activities[activity_id], base, units, lost, costs)
            },
        )
        for sample in chosen
    ]


def without_quiet(moments: list[Sample]) -> list[Sample]:
    """The same, starting shortly before the first request, so that no chart shows idle hours."""
    if len(moments) < 2:
        return moments
    first, second, *_ = moments
    begin = max(first.at_ms, second.at_ms - MARGIN_MS)
    return [replace(first, at_ms=begin), *moments[1:]]


def _since(
    sample: ActivitySample, base: dict[str, int], units: int, lost: int, costs: dict[int, int]
) -> ActivitySample:
    return replace(
        sample,
        outcomes={name: max(0, n - base.get(name, 0)) for name, n in sample.outcomes.items()},
        units_sold=max(0, sample.units_sold - units),
        expired_with_stock=max(0, sample.expired_with_stock - lost),
        cost_ms={b: max(0, n - costs.get(b, 0)) for b, n in sample.cost_ms.items()},
    )


@dataclass
class _Accepted:
    """Accepted requests of the sale, stored or waiting."""

    # {item: first and last moment, s}
    spans: dict[int, tuple[int, int]] = field(default_factory=dict)
    # {(source, partition): the first offset}
    firsts: dict[tuple[str, int], int] = field(default_factory=dict)
    # {(source, partition): the offsets that wait in the list}
    waiting: dict[tuple[str, int], set[int]] = field(default_factory=lambda: defaultdict(set))

    def add(self, source: str, partition: int, offset: int, item: int, low: int, high: int) -> None:
        place = (source, partition)
        self.firsts[place] = min(offset, self.firsts.get(place, offset))
        before = self.spans.get(item, (low, high))
        self.spans[item] = (min(low, before[0]), max(high, before[1]))


def _accepted(client: "redis.Redis", lane: Lane, activity_id: int, since_s: int) -> _Accepted:
    """Read list and table. A record may be in both: that is fine, since nothing is summed up."""
    accepted = _Accepted()
    for record in readable(client, lane):
        if record.activity_id == activity_id and record.timestamp >= since_s:
            source, at = record.source, record.timestamp
            accepted.add(source, record.partition, record.offset, record.item_id, at, at)
            accepted.waiting[source, record.partition].add(record.offset)
    with postgres_errors(), connection.cursor() as cursor:
        cursor.execute(
            'SELECT source::text, partition, min("offset"), item_id,'
            " extract(epoch FROM min(ts))::bigint, extract(epoch FROM max(ts))::bigint"
            " FROM seckill_record WHERE activity_id = %s AND ts >= to_timestamp(%s)"
            " GROUP BY source, partition, item_id",
            [activity_id, since_s],
        )
        for row in cursor.fetchall():
            accepted.add(*row)
    return accepted


def _story(item: ItemStatus, span: tuple[int, int] | None) -> ItemStory:
    return ItemStory(
        item_id=item.item_id,
        loaded=item.loaded,
        left=item.left,
        first_ms=span[0] * 1000 if span else None,
        last_ms=span[1] * 1000 if span else None,
    )


def _judge(report: SaleReport, server: Server, accepted: _Accepted, messages: int) -> None:
    """Read the topic from the first winner on, and judge the winners' order. Raises BrokerAway."""
    sold_out = {story.item_id for story in report.items if story.left == 0}
    if not sold_out:
        report.fairness_reason = _("no item is sold out, so nobody had to queue")
        return
    with Topics(server) as topics:
        source = str(topics.source(server.topic))
        starts = topics.start_offsets(server.topic)
    positions = {
        partition: report.lane.positions.get(position_field(source, partition), 0)
        for partition in starts
    }
    firsts = {p: first for (origin, p), first in accepted.firsts.items() if origin == source}
    firsts = {p: first for p, first in firsts.items() if p in positions}
    if not firsts:
        report.fairness_reason = _("the topic no longer holds an accepted request of this sale")
        return
    # Before a partition's first winner nobody lost for lack of stock. The requests of a partition
    # without winners were in the queue too: as many are read as from the longest other one.
    longest = max(positions[partition] - first for partition, first in firsts.items())
    ranges = {
        partition: (max(start, firsts.get(partition, positions[partition] - longest)), position)
        for partition, position in positions.items()
        for start in (starts[partition],)
    }
    report.messages = sum(max(0, end - first) for first, end in ranges.values())
    ranges = shares(ranges, messages)
    won = {
        partition: accepted.waiting[source, partition]
        | _stored_offsets(report.activity.activity_id, source, partition, *ranges[partition])
        for partition in firsts
    }
    queues: dict[int, Queue] = defaultdict(Queue)
    timeout = report.activity.timeout_ms or server.timeout
    for arrival in read_arrivals(server, ranges):
        report.messages_read += 1
        try:
            request = decode(arrival.value)
        except Poison:
            # An INVALID message was in no queue.
            continue
        winner = arrival.offset in won.get(arrival.partition, ())
        too_late = timeout and arrival.at_ms - request.request_initiation_time > timeout
        if request.activity != report.activity.activity_id or (too_late and not winner):
            continue
        for item in request.items:
            if item in sold_out:
                queue = queues[int(item)]
                (queue.winners if winner else queue.others).append(arrival.at_ms)
    report.fairness = judge(queues)


def _stored_offsets(
    activity_id: int, source: str, partition: int, first: int, end: int
) -> set[int]:
    with postgres_errors(), connection.cursor() as cursor:
        cursor.execute(
            'SELECT DISTINCT "offset" FROM seckill_record WHERE source = %s AND partition = %s'
            ' AND "offset" >= %s AND "offset" < %s AND activity_id = %s',
            [source, partition, first, end, activity_id],
        )
        return {offset for (offset,) in cursor.fetchall()}


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

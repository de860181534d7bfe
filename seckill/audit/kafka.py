"""The audit against Kafka: compares every record with its message, and counts every message.

Owns the reading of a topic from its oldest message to the positions. It reads the topic once, one
partition after the other and in batches, so memory stays flat. Messages that Kafka has removed
cannot be compared; the report says how many. Like the audit it looks at one moment T and may run
during a sale.
"""

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from typing import Any

import redis
from django.db import connection

from seckill.audit.checks import NEVER_DROPPED, NEVER_LOST, NEVER_TWICE, Finding
from seckill.broker.reader import Messages, TopicReader
from seckill.errors import Poison
from seckill.formats.outcomes import Outcome
from seckill.formats.record import same_identity
from seckill.formats.request import Request, decode
from seckill.lane.keys import Lane, position_field
from seckill.lane.status import LaneStatus, read_lane
from seckill.postgres import sold
from seckill.postgres.lanes import of_lane
from seckill.postgres.through_django import postgres_errors, snapshot

# How many findings are kept; the rest are only counted.
MOST_FINDINGS = 20
# Records fetched from PostgreSQL at once.
RECORDS = 5_000

# What a record and its message have in common.
RECORDED = "\"offset\", item_id, user_id, activity_id, quantity, coalesce(request_id, '')"
# One partition's records in the order of its messages. A record that is stored and still waiting
# comes once.
RECORDS_OF_A_PARTITION = f"""
SELECT {RECORDED} FROM seckill_record
WHERE source = %(source)s AND partition = %(partition)s AND "offset" < %(position)s
UNION ALL SELECT {RECORDED} FROM waiting w
WHERE source = %(source)s AND partition = %(partition)s AND "offset" < %(position)s
AND NOT EXISTS (SELECT 1 FROM seckill_record r WHERE {same_identity("r", "w")})
ORDER BY 1, 2
"""

Row = tuple[int, int, int, int, int, str]
Progress = Callable[[int, int], None]


@dataclass
class PartitionLook:
    """One partition up to its position. Counts are offsets; `gone`: Kafka has removed them."""

    partition: int
    position: int
    gone: int = 0
    holes: int = 0
    requests: int = 0
    invalid: int = 0
    records: int = 0
    records_gone: int = 0


@dataclass
class KafkaReport:
    """What was read from the topic. Its JSON form is stable: keys are only ever added."""

    topic: str
    source: str
    # Whether outcomes were compared exactly: no message was gone and none was skipped.
    exact: bool = True
    partitions: list[PartitionLook] = field(default_factory=list)
    # Offsets and records of earlier topics, under this name or another.
    other_sources_offsets: int = 0
    other_sources_records: int = 0
    findings: list[Finding] = field(default_factory=list)
    more_findings: int = 0
    checks: int = 0
    notes: list[str] = field(default_factory=list)

    def as_json(self) -> dict[str, Any]:
        """All of it in plain types."""
        return asdict(self)

    def sum(self, name: str) -> int:
        """A count over all partitions."""
        return sum(getattr(look, name) for look in self.partitions)


class KafkaAudit:
    """One comparison. Raises RedisAway, PostgresAway, BrokerAway, or CannotRead."""

    def __init__(
        self,
        client: "redis.Redis",
        topic: TopicReader,
        lane: Lane,
        progress: Progress = lambda done, total: None,
    ) -> None:
        self._redis = client
        self._topic = topic
        self._lane = lane
        self._progress = progress
        self._named: Counter[int] = Counter()
        self._done = 0
        self._total = 0

    def run(self) -> KafkaReport:
        """Read the topic and compare."""
        before = read_lane(self._redis, self._lane)
        report = KafkaReport(self._topic.name, self._topic.source)
        positions = self._topic_positions(before, report)
        found = sold.waiting(self._redis, self._lane, before.limits)
        with postgres_errors(), snapshot():
            sold.stage(found)
            report.other_sources_records = self._records_of_other_sources()
            self._total = sum(positions.values())
            for partition, position in sorted(positions.items()):
                self._look(report, before, partition, position)
        self._topic.check_source()
        self._compare_outcomes(report, before)
        report.findings = [finding.of(self._lane) for finding in report.findings]
        return report

    def _topic_positions(self, lane: LaneStatus, report: KafkaReport) -> dict[int, int]:
        positions = {}
        for name, position in lane.positions.items():
            source, _, partition = name.rpartition(":")
            if source == report.source:
                positions[int(partition)] = position
            else:
                report.other_sources_offsets += position
        return positions

    def _records_of_other_sources(self) -> int:
        with connection.cursor() as cursor:
            cursor.execute(
                "SELECT (SELECT count(*) FROM seckill_record WHERE source <> %s AND "
                + of_lane(self._lane, "activity_id")
                + ")"
                " + (SELECT count(*) FROM waiting w WHERE source <> %s AND NOT EXISTS"
                f" (SELECT 1 FROM seckill_record r WHERE {same_identity('r', 'w')}))",
                [self._topic.source, self._topic.source],
            )
            return int(cursor.fetchone()[0])

    def _look(self, report: KafkaReport, lane: LaneStatus, partition: int, position: int) -> None:
        """Messages and records of one partition, side by side."""
        look = PartitionLook(partition, position)
        report.partitions.append(look)
        messages = self._topic.messages(partition, position)
        lonely: list[tuple[int, list[Row]]] = []
        records = _groups(self._records(partition, position))
        where, rows = next(records, (position, []))
        loaded = lane.activities
        for batch in messages:
            for message in batch:
                offset = message.offset() or 0
                while where < offset:
                    lonely.append((where, rows))
                    where, rows = next(records, (position, []))
                request: Request | Poison
                try:
                    request = decode(message.value())
                    look.requests += 1
                    if request.activity in loaded:
                        self._named[request.activity] += 1
                except Poison as poison:
                    request = poison
                    look.invalid += 1
                if where == offset:
                    look.records += len(rows)
                    self._match(report, partition, offset, rows, request)
                    where, rows = next(records, (position, []))
            self._done += len(batch)
            self._progress(self._done, self._total)
            self._judge_lonely(report, look, messages, lonely)
        while where < position:
            lonely.append((where, rows))
            where, rows = next(records, (position, []))
            if len(lonely) == RECORDS:
                self._judge_lonely(report, look, messages, lonely)
        self._judge_lonely(report, look, messages, lonely)
        look.gone = min(messages.oldest, position)
        look.holes = position - look.gone - look.requests - look.invalid
        if messages.oldest_now() > messages.oldest:
            # Retention removed messages during the read, so holes cannot be told from gone ones.
            look.gone, look.holes = look.gone + look.holes, 0
        report.checks += look.requests + look.invalid
        if messages.end < position:
            self._find(
                report,
                NEVER_DROPPED,
                self._origin(partition, messages.end),
                f"Kafka's partition ends there, but {position} is the next offset to decide: new "
                "messages below it will be skipped as already decided",
                "Kafka has lost its newest messages: stop the buyers; see docs/operations.md",
            )

    def _records(self, partition: int, position: int) -> Iterator[Row]:
        with connection.chunked_cursor() as cursor:
            cursor.execute(
                RECORDS_OF_A_PARTITION,
                {"source": self._topic.source, "partition": partition, "position": position},
            )
            while rows := cursor.fetchmany(RECORDS):
                yield from rows

    def _match(
        self,
        report: KafkaReport,
        partition: int,
        offset: int,
        rows: list[Row],
        request: Request | Poison,
    ) -> None:
        """Compare the records of one message with what it asks for."""
        origin = self._origin(partition, offset)
        if isinstance(request, Poison):
            self._find(
                report,
                NEVER_TWICE,
                origin,
                f"there are records of a message that is not a request ({request})",
                KEEP,
            )
            return
        asked = {
            (item, request.user_id, request.activity, quantity, request.request_id or "")
            for item, quantity in request.items.items()
        }
        recorded = {row[1:] for row in rows}
        if recorded == asked:
            return
        wrong = sorted(recorded - asked)
        if wrong:
            self._find(
                report,
                NEVER_TWICE,
                f"{origin}, item {wrong[0][0]}",
                "the record differs from its message: recorded (item, user, activity, "
                f"quantity, request id) {wrong}, asked {sorted(asked - recorded)}",
                KEEP,
            )
            return
        self._find(
            report,
            NEVER_LOST,
            f"{origin}, item {min(asked - recorded)[0]}",
            f"an accepted request lacks some of its records: missing {sorted(asked - recorded)}",
            KEEP,
        )

    def _judge_lonely(
        self,
        report: KafkaReport,
        look: PartitionLook,
        messages: Messages,
        lonely: list[tuple[int, list[Row]]],
    ) -> None:
        """Records whose message was not read: Kafka has removed it, or it never existed."""
        if not lonely:
            return
        oldest = messages.oldest if lonely[-1][0] < messages.oldest else messages.oldest_now()
        for offset, rows in lonely:
            if offset < oldest:
                look.records_gone += len(rows)
                continue
            self._find(
                report,
                NEVER_TWICE,
                self._origin(look.partition, offset),
                f"{len(rows)} records of a message that the topic lacks (user {rows[0][2]})",
                "check whether the topic is compacted (cleanup.policy must be delete); " + KEEP,
            )
        lonely.clear()

    def _compare_outcomes(self, report: KafkaReport, lane: LaneStatus) -> None:
        """Invariant 4: each message below the positions has one outcome, per kind of message."""
        requests, invalid = report.sum("requests"), report.sum("invalid")
        gone = report.sum("gone") + report.other_sources_offsets
        # Messages in the topic without an outcome: skipped on purpose, recovered, or archived.
        passed = max(0, lane.skipped - report.sum("holes")) + lane.recovered + lane.archived
        report.exact = not gone and not passed
        report.notes += _notes(report, gone, passed)
        kinds = [
            ("requests", requests, lane.decided - lane.invalid, passed),
            ("INVALID messages", invalid, lane.invalid, passed),
        ]
        for activity_id, activity in lane.activities.items():
            counted = sum(activity.total_outcomes.values())
            elsewhere = passed + lane.no_such_activity
            kinds.append(
                (
                    f"requests of activity {activity_id}",
                    self._named[activity_id],
                    counted,
                    elsewhere,
                )
            )
        for kind, there, counted, less in kinds:
            report.checks += 1
            if not there - less <= counted <= there + gone:
                self._find(
                    report,
                    NEVER_DROPPED if counted < there else NEVER_TWICE,
                    f"topic {report.topic}, {kind}",
                    f"the topic holds {there:,} below the positions, but {counted:,} outcomes are "
                    f"counted (skipped {less:,}, gone from Kafka {gone:,})",
                    KEEP,
                )
        accepted = sum(a.total_outcomes[Outcome.ACCEPTED] for a in lane.activities.values())
        report.notes.append(
            f"compared: {report.sum('records'):,} records of {accepted:,} accepted requests, "
            f"{requests + invalid:,} messages"
        )

    def _origin(self, partition: int, offset: int) -> str:
        return f"{position_field(self._topic.source, partition)}:{offset}"

    def _find(
        self, report: KafkaReport, invariant: str, culprit: str, explanation: str, act: str
    ) -> None:
        if len(report.findings) < MOST_FINDINGS:
            report.findings.append(Finding(invariant, culprit, explanation, act))
        else:
            report.more_findings += 1


KEEP = "keep the topic and Redis's files, finish the activity; see docs/operations.md, audit"


def _groups(rows: Iterator[Row]) -> Iterator[tuple[int, list[Row]]]:
    """Rows grouped by message: (offset, its rows)."""
    group: list[Row] = []
    for row in rows:
        if group and row[0] != group[0][0]:
            yield group[0][0], group
            group = []
        group.append(row)
    if group:
        yield group[0][0], group


def _notes(report: KafkaReport, gone: int, passed: int) -> list[str]:
    notes = []
    if report.other_sources_offsets or report.other_sources_records:
        notes.append(
            f"{report.other_sources_records:,} records and {report.other_sources_offsets:,} "
            "offsets belong to earlier topics and cannot be compared"
        )
    for look in report.partitions:
        if look.gone:
            notes.append(
                f"partition {look.partition}: Kafka has removed {look.gone:,} messages by "
                f"retention, with {look.records_gone:,} records that cannot be compared"
            )
        if look.holes:
            notes.append(
                f"partition {look.partition}: {look.holes:,} offsets hold no message "
                "(transaction markers or compaction)"
            )
    if passed:
        notes.append(
            f"{passed:,} messages have no outcome of their own: skipped (--reset-offset) or "
            "recovered after a loss of Redis"
        )
    if not report.exact:
        notes.append(
            f"so outcomes match only within bounds: up to {passed:,} fewer or {gone:,} more"
        )
    return notes

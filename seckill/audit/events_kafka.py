"""The audit of events against their topic: each row has its event, and each event is a row's.

What the topic says is copied into a temporary table of PostgreSQL, so memory does not depend on its
size. The cursor is read first, then the topic, then the rows: whatever is behind the cursor must be
in the topic, and a row is there before its event. Events may be there more than once.
"""

from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from typing import Any
from uuid import UUID

import msgspec
from django.db import connection, transaction

from seckill.audit.checks import NEVER_DROPPED, NEVER_TWICE, Finding
from seckill.broker.reader import TopicReader
from seckill.config.sections import KafkaSection
from seckill.events.cloud_event import PAYMENT_LATE, TYPE_PREFIX, events_topic
from seckill.events.feed import Cursor
from seckill.formats.record import ACCEPTED
from seckill.lane.keys import Lane
from seckill.postgres.access import NO_LIMITS
from seckill.postgres.lanes import of_lane
from seckill.postgres.through_django import postgres_errors

# Findings of one kind that are named; the rest are only counted.
MOST_NAMED = 10
CURSOR = """
SELECT record_id, settlement_id, late_payment_id FROM seckill_eventcursor WHERE topic = %s
"""
CREATE = """
CREATE TEMPORARY TABLE told (source uuid, partition int, "offset" bigint, kind text, item_id bigint,
    user_id bigint, quantity bigint, payment text) ON COMMIT DROP
"""
INDEX = 'CREATE INDEX ON told (source, partition, "offset")'
PLACE = 't.source = r.source AND t.partition = r.partition AND t."offset" = r."offset"'
SAME = f"""{PLACE} AND t.user_id = r.user_id AND t.item_id = r.item_id
    AND t.quantity = r.quantity"""
# By the table that an event is made from: what its event has, and which kinds are its.
TABLES = (
    ("seckill_record", f"{SAME} AND t.kind = '{ACCEPTED}'", f"t.kind = '{ACCEPTED}'"),
    (
        "seckill_settlement",
        f"{SAME} AND t.kind = r.kind",
        f"t.kind NOT IN ('{ACCEPTED}', '{PAYMENT_LATE}')",
    ),
    (
        "seckill_latepayment",
        f"{PLACE} AND t.user_id = r.user_id AND t.payment = r.settle_source || ':'"
        " || r.settle_partition || ':' || r.settle_offset",
        f"t.kind = '{PAYMENT_LATE}'",
    ),
)
# Rows of before the first event are none that a publisher with `--from-now` has left out.
MISSING = """
SELECT r.source || ':' || r.partition || ':' || r."offset", count(*) OVER () FROM {table} AS r
WHERE {of_lane} AND r.id <= %s
AND r.id >= (SELECT min(r.id) FROM {table} AS r JOIN told AS t ON {same})
AND NOT EXISTS (SELECT 1 FROM told AS t WHERE {same}) ORDER BY r.id LIMIT %s
"""
ALONE = """
SELECT t.source || ':' || t.partition || ':' || t."offset" || ':' || t.kind, count(*) OVER ()
FROM told AS t WHERE {mine} AND NOT EXISTS (SELECT 1 FROM {table} AS r WHERE {same}) LIMIT %s
"""
TRUST_NONE = "see who else may write to the topic; a shop must take no such event for an order"


class _Data(msgspec.Struct):
    order: str
    user_id: int
    items: dict[int, int] = {}
    payment: str = ""


class _Event(msgspec.Struct):
    type: str
    data: _Data


_decode = msgspec.json.Decoder(_Event).decode


@dataclass
class EventsReport:
    """What was read from the topic of events. Its JSON form is stable: keys are only ever added."""

    topic: str
    events: int = 0
    # Kafka has removed so many: then nobody can tell whether one is missing.
    gone: int = 0
    findings: list[Finding] = field(default_factory=list)
    checks: int = 0

    def as_json(self) -> dict[str, Any]:
        """All of it in plain types."""
        return asdict(self)


def audit_events(section: KafkaSection, lane: Lane) -> EventsReport | None:
    """Compare the events about the requests of section's topic, which is the lane's. None: nobody
    has published any.

    Raises PostgresAway, BrokerAway, CannotRead.
    """
    report = EventsReport(events_topic(section.topic))
    with postgres_errors(), transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(NO_LIMITS)
        cursor.execute(CURSOR, [report.topic])
        row = cursor.fetchone()
        if row is None:
            return None
        cursor.execute(CREATE)
        of_events = section.model_copy(update={"topic": report.topic})
        with TopicReader(of_events) as topic, cursor.copy("COPY told FROM STDIN") as copy:
            for line in _lines(topic, report):
                copy.write_row(line)
        cursor.execute(INDEX)
        cursor.execute("ANALYZE told")
        _compare(cursor, report, Cursor(*row), of_lane(lane, "r.activity_id"))
    report.findings = [finding.of(lane) for finding in report.findings]
    return report


def _lines(topic: TopicReader, report: EventsReport) -> Iterator[tuple[Any, ...]]:
    """A line for each item of each event, and for each late payment."""
    for partition in sorted(topic.topics.end_offsets(topic.name)):
        messages = topic.messages(partition)
        report.gone += messages.oldest
        for batch in messages:
            for message in batch:
                report.events += 1
                try:
                    event = _decode(message.value() or b"")
                    source, part, offset = event.data.order.split(":")
                    place = (str(UUID(source)), int(part), int(offset))
                except (msgspec.MsgspecError, ValueError) as wrong:
                    at = f"{topic.name}, partition {partition}, offset {message.offset()}"
                    _find(report, NEVER_TWICE, at, f"it is no event of ours: {wrong}", TRUST_NONE)
                    continue
                kind = event.type.removeprefix(TYPE_PREFIX)
                for item, units in (event.data.items or {0: 0}).items():
                    yield (*place, kind, item, event.data.user_id, units, event.data.payment)


def _compare(cursor: Any, report: EventsReport, published: Cursor, own: str) -> None:
    for (table, same, mine), last in zip(TABLES, published, strict=True):
        report.checks += 2
        if not report.gone:
            missing = MISSING.format(table=table, same=same, of_lane=own)
            cursor.execute(missing, [last, MOST_NAMED])
            for place, number in cursor.fetchall():
                _find(
                    report,
                    NEVER_DROPPED,
                    f"{table}, order {place}",
                    f"one of {number:,} rows whose event is not in {report.topic}, although its "
                    "cursor is beyond them",
                    "a shop has not heard of it: keep the topic, and tell the shop by hand",
                )
        cursor.execute(ALONE.format(table=table, same=same, mine=mine), [MOST_NAMED])
        for name, number in cursor.fetchall():
            _find(
                report,
                NEVER_TWICE,
                f"event {name}",
                f"one of {number:,} that no row of {table} has made: PostgreSQL has lost it, or "
                "somebody else has written the event",
                f"manage.py recover --apply --from-kafka if rows are lost; else {TRUST_NONE}",
            )


def _find(report: EventsReport, invariant: str, culprit: str, explanation: str, act: str) -> None:
    # What is no event may be many; the others are limited where they are read.
    if len(report.findings) < 10 * MOST_NAMED:
        report.findings.append(Finding(invariant, culprit, explanation, act))

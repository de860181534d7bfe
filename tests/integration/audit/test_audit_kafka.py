"""The audit against the topic: clean over a real one, and red, with the message's origin."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from io import StringIO
from typing import Any

import pytest
import redis
from confluent_kafka import TopicPartition
from confluent_kafka.admin import AdminClient
from django.core.management import CommandError, call_command
from django.db import connection

from seckill.audit.checks import NEVER_DROPPED, NEVER_LOST, NEVER_TWICE
from seckill.audit.kafka import KafkaAudit, KafkaReport
from seckill.audit.verdict import read_last_audit
from seckill.broker import reader
from seckill.broker.reader import CannotRead, TopicReader
from seckill.broker.topics import Topics
from seckill.config.sections import Server
from seckill.consumer.batch import encode, skip
from seckill.consumer.engine import Engine
from seckill.control.control import Control
from seckill.formats.outcomes import Outcome
from seckill.lane.keys import Lane, position_field
from seckill.lane.status import read_lane
from seckill.log_worker.storage import Storage
from seckill.log_worker.worker import LogWorker
from seckill.process.shutdown import Shutdown
from tests.helpers.messages import send
from tests.helpers.sale import body

LANE = Lane()
KEYS = LANE.activity(1)
# Of ten messages of each partition: two INVALID, one of an activity that is not loaded, seven sold.
VALUES = [
    body(1), body(2, {1001: 1, 1002: 2}), b"{", body(3, {1001: 2}), None, body(4),
    body(5, activity_id=77), body(6), body(7, request_id="r-7"), body(8),
]  # fmt: skip
STORED = 8


@dataclass
class Decided:
    """A topic of two partitions, all of it decided, a part of the records stored."""

    server: Server
    client: "redis.Redis"
    source: str

    def look(self) -> KafkaReport:
        with TopicReader(self.server) as topic:
            return KafkaAudit(self.client, topic, LANE).run()

    def origin(self, partition: int, offset: int) -> str:
        return f"{position_field(self.source, partition)}:{offset}"


@pytest.fixture
def decided(
    redis_client: "redis.Redis", pg_dsn: str, server: Server, topics: Topics, kafka_topic: str
) -> Decided:
    Control(redis_client, "test", LANE).set_stock(1, {1001: 1_000, 1002: 1_000})
    source = topics.source(kafka_topic)
    assert source is not None
    engine = Engine(server.redis_url, LANE)
    for partition in (0, 1):
        send(server.brokers, kafka_topic, VALUES, partition)
        engine.decide([encode(source, partition, 0, range(len(VALUES)), VALUES)])
    engine.close()
    storage = Storage(pg_dsn)
    LogWorker(redis_client, storage, Shutdown(), batch_size=STORED).run_once()
    storage.close()
    decided = Decided(server, redis_client, source)
    assert decided.look().findings == []
    return decided


def change(columns: str, where: str = 'partition = 0 AND "offset" = 3') -> None:
    """Change stored records by hand."""
    sql(f"UPDATE seckill_record SET {columns} WHERE {where}")


def sql(statement: str) -> None:
    """The same, and worse."""
    with connection.cursor() as cursor:
        cursor.execute(statement)


def test_all_of_it_is_compared(decided: Decided, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reader, "BATCH", 3)
    report = decided.look()
    assert report.findings == []
    assert report.exact
    assert [
        (look.partition, look.position, look.requests, look.invalid, look.holes, look.gone)
        for look in report.partitions
    ] == [(0, 10, 8, 2, 0, 0), (1, 10, 8, 2, 0, 0)]
    # Eight records, stored and waiting: the request of two items has two. One click came before.
    assert [look.records for look in report.partitions] == [8, 7]
    assert 0 < read_lane(decided.client, LANE).waiting < 16


# What is changed, the invariant that is violated, and the message that is named.
TAMPERINGS: dict[str, tuple[Callable[[Decided], object], str, int]] = {
    "another user": (
        lambda d: sql(
            'UPDATE seckill_record SET user_id = 99 WHERE partition = 0 AND "offset" = 3'
        ),
        NEVER_TWICE,
        3,
    ),
    "another quantity": (
        lambda d: sql(
            'UPDATE seckill_record SET quantity = 3 WHERE partition = 0 AND "offset" = 3'
        ),
        NEVER_TWICE,
        3,
    ),
    "another activity": (
        lambda d: change("activity_id = 2", '"offset" = 0'),
        NEVER_TWICE,
        0,
    ),
    "half of a request": (
        lambda d: sql('DELETE FROM seckill_record WHERE "offset" = 1 AND item_id = 1002'),
        NEVER_LOST,
        1,
    ),
    "a record of what was no request": (
        lambda d: change('"offset" = 2', '"offset" = 3'),
        NEVER_TWICE,
        2,
    ),
    "records that were made up": (
        lambda d: change('"offset" = 6', '"offset" = 5'),
        NEVER_TWICE,
        6,
    ),
}


@pytest.mark.parametrize("name", TAMPERINGS)
def test_the_message_of_a_wrong_record_is_named(decided: Decided, name: str) -> None:
    tamper, invariant, offset = TAMPERINGS[name]
    tamper(decided)
    finding = decided.look().findings[0]
    assert finding.invariant == invariant
    assert finding.culprit.startswith(decided.origin(0, offset))


def test_a_record_without_a_message_is_found(decided: Decided) -> None:
    """Below the position, at an offset that the topic does not have."""
    engine = Engine(decided.server.redis_url, LANE)
    engine.decide([skip(decided.source, 0, 10, 20)])
    engine.close()
    change('"offset" = 15', 'partition = 0 AND "offset" = 5')
    culprits = {finding.culprit for finding in decided.look().findings}
    # And the topic ends before the position: what is sent now would be taken for decided.
    assert culprits == {decided.origin(0, 15), decided.origin(0, 10)}


def test_positions_beyond_kafkas_end_are_found(decided: Decided) -> None:
    decided.client.hincrby(LANE.positions, position_field(decided.source, 1), 5)
    decided.client.hincrby(LANE.stats, "skipped", 5)
    [finding] = decided.look().findings
    assert (finding.invariant, finding.culprit) == (NEVER_DROPPED, decided.origin(1, 10))


@pytest.mark.parametrize("step", [1, -1])
@pytest.mark.parametrize("outcome", [Outcome.INVALID, Outcome.ACCEPTED])
def test_a_count_that_the_topic_does_not_bear_out(
    decided: Decided, outcome: Outcome, step: int
) -> None:
    key = LANE.stats if outcome is Outcome.INVALID else KEYS.stats
    decided.client.hincrby(key, str(int(outcome)), step)
    wanted = NEVER_TWICE if step > 0 else NEVER_DROPPED
    assert wanted in {finding.invariant for finding in decided.look().findings}


def test_what_retention_took_is_told_and_no_finding(decided: Decided) -> None:
    admin = AdminClient({"bootstrap.servers": decided.server.brokers})
    cut = TopicPartition(decided.server.topic, 0, 4)
    admin.delete_records([cut])[cut].result(120)
    report = decided.look()
    assert report.findings == []
    assert not report.exact
    assert (report.partitions[0].gone, report.partitions[0].records_gone) == (4, 4)
    assert any("removed 4 messages by retention, with 4 records" in n for n in report.notes)


def test_what_was_passed_over_is_told_and_no_finding(decided: Decided) -> None:
    send(decided.server.brokers, decided.server.topic, [body(9), b"}"], 0)
    engine = Engine(decided.server.redis_url, LANE)
    engine.decide([skip(decided.source, 0, 10, 12)])
    engine.close()
    report = decided.look()
    assert report.findings == []
    assert not report.exact
    assert any("2 messages have no outcome of their own" in note for note in report.notes)


def test_a_topic_that_was_made_again_is_another_one(decided: Decided, topics: Topics) -> None:
    topics.delete(decided.server.topic)
    topics.ensure(decided.server.topic, 2)
    report = decided.look()
    assert report.findings == []
    assert (report.other_sources_offsets, report.other_sources_records) == (20, 15)


def test_a_topic_that_is_replaced_while_it_is_read(decided: Decided, topics: Topics) -> None:
    with TopicReader(decided.server) as topic:
        topics.delete(decided.server.topic)
        with pytest.raises(CannotRead, match="does not exist"):
            topic.check_source()
        topics.ensure(decided.server.topic, 2)
        with pytest.raises(CannotRead, match="was replaced"):
            topic.check_source()


# The command

REPORT_KEYS = {
    "schema", "clean", "checks", "findings", "activities", "messages", "skipped", "recovered",
    "outcomes", "units_loaded", "units_left", "units_sold", "records_stored", "records_waiting",
    "records_dead", "notes", "took_ms", "kafka", "events",
}  # fmt: skip
KAFKA_KEYS = {
    "topic", "source", "exact", "partitions", "other_sources_offsets", "other_sources_records",
    "findings", "more_findings", "checks", "notes",
}  # fmt: skip
PARTITION_KEYS = {
    "partition", "position", "gone", "holes", "requests", "invalid", "records", "records_gone",
}  # fmt: skip


def command(decided: Decided, *flags: str) -> tuple[int, str]:
    """Exit code and output of `manage.py audit` over the services of the test."""
    out = StringIO()
    server = decided.server
    addresses = {
        "--redis-url": server.redis_url,
        "--pg-dsn": server.pg_dsn.rpartition("/")[0] + "/" + connection.settings_dict["NAME"],
        "--brokers": server.brokers,
        "--topic": server.topic,
    }
    arguments = [*flags, *(part for pair in addresses.items() for part in pair)]
    try:
        call_command("audit", *arguments, stdout=out)
    except SystemExit as ended:
        return int(str(ended.code)), out.getvalue()
    except CommandError as ended:
        return ended.returncode, str(ended)
    return 0, out.getvalue()


def test_the_keys_of_the_json_are_those_that_are_documented(decided: Decided) -> None:
    """docs/operations.md lists them: programs rely on them. Add, never rename or remove."""
    code, text = command(decided, "--json", "--kafka")
    document: dict[str, Any] = json.loads(text)
    assert (code, document["clean"], document["schema"]) == (0, True, 1)
    assert set(document) == REPORT_KEYS
    assert set(document["kafka"]) == KAFKA_KEYS
    assert set(document["kafka"]["partitions"][0]) == PARTITION_KEYS
    assert document["checks"] > 20
    change("user_id = 99", '"offset" = 3')
    code, text = command(decided, "--json", "--kafka")
    assert code == 1
    [finding] = json.loads(text)["findings"]
    assert set(finding) == {"invariant", "culprit", "explanation", "act"}
    kept = read_last_audit(decided.client, LANE)
    assert kept is not None
    assert (kept.clean, kept.finding.split(":")[0]) == (False, NEVER_TWICE)
    assert kept.by.endswith("(audit --kafka)")


def test_a_topic_that_does_not_exist_cannot_be_checked(decided: Decided) -> None:
    nowhere = Decided(decided.server.model_copy(update={"topic": "nowhere"}), decided.client, "")
    code, text = command(nowhere, "--kafka")
    assert (code, "topic nowhere does not exist" in text) == (2, True)
    kept = read_last_audit(decided.client, LANE)
    assert kept is not None
    assert (kept.clean, "nowhere" in kept.finding) == (None, True)

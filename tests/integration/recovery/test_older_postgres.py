"""PostgreSQL that comes back older than Redis: a backup, an asynchronous fail-over, rows removed.

What it lost was sold. Nothing may put it on sale again; storing stops, and says so; and the topic
brings back exactly what was lost, on real Kafka.
"""

from collections.abc import Iterator
from contextlib import nullcontext
from typing import Any

import pytest
import redis
from confluent_kafka import TopicPartition
from confluent_kafka.admin import AdminClient
from django.db import connection

from devstack.endpoints import Endpoints
from seckill.audit.audit import audit
from seckill.audit.checks import NEVER_LOST, NEVER_OVERSOLD
from seckill.audit.kafka import KafkaAudit
from seckill.broker.reader import TopicReader
from seckill.broker.topics import Topics
from seckill.config.sections import Server
from seckill.consumer.batch import encode
from seckill.consumer.engine import Engine, Reply
from seckill.control.control import Control
from seckill.errors import PostgresAway, Refused
from seckill.lane.fence import REWOUND, fence
from seckill.lane.keys import Lane
from seckill.lane.status import read_lane
from seckill.log_worker.storage import Storage
from seckill.log_worker.worker import LogWorker
from seckill.models import Activity, Item, Record, StockChange
from seckill.models import Lane as LaneRow
from seckill.postgres.lease import PostgresOlder
from seckill.process.shutdown import Shutdown
from seckill.recovery.plan import make_plan, postgres_state
from seckill.recovery.rebuild import Done, recover
from tests.helpers.messages import send
from tests.helpers.sale import body, everything

LANE = Lane()
# Who asks for an item that is not there, and who is no request: rejected, in between the accepted.
REJECTED, BROKEN = 3, 7


class OlderShop:
    """A sale whose requests stand in a real topic."""

    def __init__(self, server: Server, topics: Topics, client: "redis.Redis", dsn: str) -> None:
        self.server, self.client = server, client
        self.source = topics.source(server.topic) or ""
        self.control = Control(client, "olga", LANE)
        self.engine = Engine(server.redis_url, LANE)
        self.storage = Storage(dsn)
        self.worker = LogWorker(client, self.storage, Shutdown())
        self.sent: dict[int, int] = {0: 0, 1: 0}

    def buy(self, count: int, partition: int = 0, generation: int = 0) -> Reply:
        """So many requests, some of them to be rejected, sent and decided."""
        first = self.sent[partition]
        values = [self.request(partition, n) for n in range(first, first + count)]
        send(self.server.brokers, self.server.topic, values, partition)
        made = encode(self.source, partition, first, range(first, first + count), values)
        made.generation = generation
        self.sent[partition] += count
        return self.engine.decide([made])[0]

    def request(self, partition: int, offset: int) -> bytes:
        if offset % 10 == BROKEN:
            return b"broken"
        item = 9999 if offset % 10 == REJECTED else 1001
        return body(1 + offset + 1000 * partition, {item: 1}, request_id=f"r{offset}")

    def store(self) -> None:
        while self.worker.run_once():
            pass

    def recover(self, *, from_kafka: bool) -> Done:
        reader = TopicReader(self.server) if from_kafka else nullcontext()
        with reader as topic:
            return recover(
                self.client, LANE, self.source, [0, 1], "test", lambda line: None, topic=topic
            )

    def left(self) -> int:
        return read_lane(self.client, LANE).activities[1].items[1001].left


@pytest.fixture
def shop(
    server: Server, topics: Topics, redis_client: "redis.Redis", pg_dsn: str, stack: Endpoints
) -> Iterator[OlderShop]:
    """A hundred units; sixty requests in one partition and ten in the other, all stored."""
    shop = OlderShop(server, topics, redis_client, pg_dsn)
    shop.control.set_stock(1, {1001: 100})
    shop.buy(60)
    shop.buy(10, 1)
    shop.store()
    assert shop.left() == 100 - 48 - 8
    assert audit(redis_client, LANE).clean
    yield shop
    shop.engine.close()
    shop.storage.close()


def older(offset: int = 40) -> list[Any]:
    """PostgreSQL without the rows from an offset of partition 0 on. What is lost, to compare."""
    lost = Record.objects.filter(partition=0, offset__gte=offset)
    known = sorted(lost.values_list("user_id", "offset", "item_id", "quantity", "request_id"))
    number = lost.count()
    lost.delete()
    with connection.cursor() as cursor:
        cursor.execute("UPDATE seckill_item SET sold = sold - %s WHERE item_id = 1001", [number])
    return known


def restored(offset: int = 40) -> list[Any]:
    rows = Record.objects.filter(partition=0, offset__gte=offset)
    return sorted(rows.values_list("user_id", "offset", "item_id", "quantity", "request_id"))


def test_storing_stops_and_says_so(shop: OlderShop) -> None:
    older()
    shop.buy(5)
    for _ in range(2):
        with pytest.raises(PostgresOlder, match=r"was stored, and is not there any more"):
            shop.worker.run_once()
    assert shop.client.llen(LANE.list) == 4
    assert Record.objects.filter(offset__gte=40, partition=0).count() == 0


def test_the_audit_names_it_and_no_advice_sells_a_sold_unit(shop: OlderShop) -> None:
    older()
    before = shop.left()
    report = audit(shop.client, LANE)
    lost = [f for f in report.findings if f.culprit == "PostgreSQL"]
    assert [f.invariant for f in lost] == [NEVER_LOST]
    assert all("--from-kafka" in f.act for f in lost)
    for finding in report.findings:
        assert "sync_from_db" not in finding.act
    # Whoever does it all the same is refused, and so is whatever else counts records.
    for act in (
        lambda: shop.control.sync_from_db(1),
        lambda: shop.control.configure_fields(1, user_limit=3),
    ):
        with pytest.raises(Refused, match="older than what was stored"):
            act()
    assert shop.left() == before
    # An operator can always end a sale.
    shop.control.finish(1)


def test_recover_refuses_without_the_topic_before_it_changes_anything(shop: OlderShop) -> None:
    older()
    before = everything(shop.client)
    with pytest.raises(Refused, match=r"16 accepted requests have no record.*--from-kafka"):
        shop.recover(from_kafka=False)
    assert everything(shop.client) == before
    assert make_plan(shop.client, LANE, shop.source, [0, 1]).lane.fence is None


def test_the_topic_brings_back_exactly_what_was_lost(shop: OlderShop) -> None:
    lost = older()
    assert len(lost) == 16
    shop.buy(5)
    done = shop.recover(from_kafka=True)
    assert (done.restored, done.lifted, done.report.findings) == (16, True, [])
    assert restored() == lost
    assert shop.left() == 100 - 48 - 8 - 4
    # Whoever was rejected stays rejected, and the list's own orders go on.
    shop.store()
    assert Item.objects.get().sold == Record.objects.count() == 60
    shop.buy(10, generation=1)
    shop.store()
    report = audit(shop.client, LANE)
    assert report.clean, report.findings
    with TopicReader(shop.server) as topic:
        assert KafkaAudit(shop.client, topic, LANE).run().findings == []


def test_rows_from_the_middle_come_back_too(shop: OlderShop) -> None:
    lost = Record.objects.filter(partition=0, offset__in=[10, 11, 30])
    assert lost.count() == 3
    lost.delete()
    Item.objects.update(sold=53)
    report = audit(shop.client, LANE)
    assert not report.clean
    with pytest.raises(Refused, match="3 accepted records of activity 1 are neither"):
        shop.control.sync_from_db(1)
    done = shop.recover(from_kafka=True)
    assert (done.restored, done.lifted) == (3, True)


def test_a_list_that_was_evicted_comes_back_from_the_topic(shop: OlderShop) -> None:
    """Accepted, not stored yet, and gone from Redis: nobody but the board knows which they were."""
    shop.buy(20)
    shop.client.delete(LANE.list)
    left = shop.left()
    report = audit(shop.client, LANE)
    assert {f.invariant for f in report.findings} == {NEVER_LOST}
    with pytest.raises(Refused, match="neither in the list nor"):
        shop.control.sync_from_db(1)
    done = shop.recover(from_kafka=True)
    assert (done.restored, done.lifted) == (16, True)
    assert shop.left() == left
    assert Record.objects.count() == 72


def test_a_list_and_the_positions_that_were_evicted(shop: OlderShop) -> None:
    """The board alone knows of the lost ones: no recovery puts their units on sale again."""
    shop.buy(20)
    left = shop.left()
    shop.client.delete(LANE.list, LANE.positions)
    with pytest.raises(Refused, match="16 accepted requests have no record"):
        shop.recover(from_kafka=False)
    done = shop.recover(from_kafka=True)
    assert (done.restored, done.lifted) == (16, True)
    assert shop.left() == left


def test_acts_that_it_has_lost_are_what_redis_says(shop: OlderShop) -> None:
    """A copy of before an operator's acts: the stock that was added must not be taken away."""
    rows = list(StockChange.objects.values_list("id", flat=True))
    shop.control.add_stock(1, {1001: 50})
    shop.control.configure_fields(1, user_limit=5)
    shop.control.pause(1)
    StockChange.objects.exclude(id__in=rows).delete()
    Item.objects.update(allocation=100)
    Activity.objects.update(user_limit=None, paused=False)
    older()
    done = shop.recover(from_kafka=True)
    assert done.lifted, done.report.findings
    status = read_lane(shop.client, LANE).activities[1]
    assert (status.items[1001].loaded, status.paused, status.user_limit) == (150, True, 5)
    row = Activity.objects.get()
    assert (Item.objects.get().allocation, row.paused, row.user_limit) == (150, True, 5)


def test_an_act_whose_number_was_given_before(shop: OlderShop) -> None:
    """Its journal row gets the number of a lost one, which Redis has as the last act that it did.

    It is another act, and has to be done.
    """
    lost = shop.control.pause(1)
    StockChange.objects.filter(pk=lost.journal_id).delete()
    Activity.objects.update(paused=False)
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT setval(pg_get_serial_sequence('seckill_stockchange', 'id'), %s, false)",
            [lost.journal_id],
        )
    act = shop.control.finish(1)
    assert (act.journal_id, act.repeated) == (lost.journal_id, False)
    assert read_lane(shop.client, LANE).activities[1].over == "finished"


class TestAnActThatIsLostWithoutAnyRow:
    """PostgreSQL comes back from before an operator's finish; every order is still there."""

    @pytest.fixture(autouse=True)
    def lost(self, shop: OlderShop) -> None:
        rows = list(StockChange.objects.values_list("id", flat=True))
        shop.control.finish(1)
        StockChange.objects.exclude(id__in=rows).delete()
        Activity.objects.update(finished=False)

    def test_the_audit_says_that_postgresql_is_older(self, shop: OlderShop) -> None:
        [finding] = audit(shop.client, LANE).findings
        assert (finding.invariant, finding.culprit) == (NEVER_LOST, "PostgreSQL")
        assert "the journal had a row" in finding.explanation

    def test_recover_follows_redis(self, shop: OlderShop) -> None:
        with pytest.raises(Refused, match="the journal had a row"):
            shop.recover(from_kafka=False)
        assert shop.recover(from_kafka=True).lifted
        assert read_lane(shop.client, LANE).activities[1].over == "finished"
        assert Activity.objects.get().finished

    def test_the_next_act_does_not_hide_it(self, shop: OlderShop) -> None:
        """It gets a row of its own: what Redis has done before has to be in the tables by then."""
        shop.control.add_stock(1, {1001: 5})
        assert Activity.objects.get().finished
        report = audit(shop.client, LANE)
        assert report.clean, report.findings
        assert shop.recover(from_kafka=False).lifted
        assert read_lane(shop.client, LANE).activities[1].over == "finished"


def test_a_database_of_before_the_lane(shop: OlderShop) -> None:
    """Made anew, or another one: all of it comes back."""
    everything_lost = Record.objects.count()
    for model in (Record, Item, StockChange, Activity, LaneRow):
        model.objects.all().delete()
    shop.buy(1)
    with pytest.raises(PostgresAway, match="does not know lane"):
        shop.worker.run_once()
    done = shop.recover(from_kafka=True)
    assert done.lifted, done.report.findings
    assert done.restored == everything_lost
    shop.store()
    assert audit(shop.client, LANE).clean


def test_what_kafka_has_deleted_cannot_come_back(shop: OlderShop) -> None:
    older()
    admin = AdminClient({"bootstrap.servers": shop.server.brokers})
    cut = TopicPartition(shop.server.topic, 0, 50)
    admin.delete_records([cut])[cut].result(20)
    with pytest.raises(Refused, match="no longer holds 8 of 16 lost orders"):
        shop.recover(from_kafka=True)
    # All or nothing; and the lane stays fenced, since something was begun.
    assert restored() == []
    assert read_lane(shop.client, LANE).fence is not None


def test_after_a_loss_of_redis_the_board_is_known_again(shop: OlderShop) -> None:
    """Rebuilt from the rows: so a later loss in PostgreSQL is found, and mended, all the same."""
    shop.client.flushall()
    assert shop.recover(from_kafka=False).lifted
    first: bytes = shop.client.get(LANE.board(shop.source, 0, 0))  # type: ignore[assignment]
    accepted = [n for n in range(60) if n % 10 not in (REJECTED, BROKEN)]
    assert [n for n, byte in enumerate(first) if byte == ord("0")] == accepted
    assert {byte for n, byte in enumerate(first) if n not in accepted} == {ord("R")}
    lost = older()
    assert postgres_state(shop.client, LANE).missing.count == 16
    assert shop.recover(from_kafka=True).lifted
    assert restored() == lost


def test_nothing_is_lost_where_redis_alone_is_older(shop: OlderShop) -> None:
    """The usual recovery needs no topic: rows that Redis has not decided are no loss."""
    fence(shop.client, LANE, REWOUND, "test")
    assert postgres_state(shop.client, LANE).older == ""
    assert shop.recover(from_kafka=False).lifted


def test_more_units_than_there_are_is_never_clean(shop: OlderShop) -> None:
    Item.objects.update(allocation=10)
    assert NEVER_OVERSOLD in {f.invariant for f in audit(shop.client, LANE).findings}

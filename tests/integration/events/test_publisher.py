"""The publisher of events, turn by turn, on real services: none is lost, repeats are equal."""

import json
from typing import Any

import psycopg
import pytest
import redis

from seckill.broker.opening import open_producer
from seckill.broker.producer import Producer
from seckill.broker.topics import Topics
from seckill.config.sections import Server
from seckill.events.feed import Chunk, Cursor, Feed, highest_rows
from seckill.events.keeper import Keeper
from seckill.events.publisher import NotOurs, Publisher
from seckill.log_worker.storage import Storage
from seckill.log_worker.worker import LogWorker
from seckill.models import Record
from seckill.postgres.access import connect
from seckill.process.shutdown import Shutdown
from tests.conftest import wait_until
from tests.helpers.node import SOON_S
from tests.helpers.publishing import Published
from tests.helpers.recovering import LostShop
from tests.helpers.sale import SOURCE, body, waiting
from tests.helpers.settling import cancelled, paid


def test_each_of_the_four_kinds_once(
    server: Server, topics: Topics, redis_client: "redis.Redis", pg_dsn: str, kafka_client: str
) -> None:
    server = server.model_copy(update={"kafka_client": kafka_client})
    sale = Published(server, topics, redis_client, pg_dsn)
    sale.buy(1, items={1001: 2, 1002: 1}, request_id="click-1")
    sale.buy(2, 3)
    sale.buy(4, activity=2)
    sale.settle(paid(0, 1, reference="pi_1"), cancelled(1, 2))
    # Money too late, and the same again: no events.
    sale.settle(paid(1, 2, reference="late"), paid(0, 1))
    sale.expire(2)
    sale.store()
    assert sale.publish() == 7
    assert sale.kinds() == {
        1: [("accepted", 0), ("paid", 0)],
        2: [("accepted", 1), ("cancelled", 1)],
        3: [("accepted", 2), ("expired", 2)],
        4: [("accepted", 3)],
    }
    message = next(m for m in sale.messages() if b"order.paid" in (m.value() or b""))
    assert message.key() == b"1"
    assert dict(message.headers() or [])["content-type"].startswith(b"application/cloudevents+json")
    event = json.loads(message.value() or b"")
    assert event.pop("time").endswith("Z")
    assert event == {
        "specversion": "1.0",
        "id": f"{SOURCE}:0:0:paid",
        "source": f"/seckill/{server.topic}",
        "type": "seckill.order.paid",
        "subject": f"{SOURCE}:0:0",
        "datacontenttype": "application/json",
        "partitionkey": "1",
        "data": {
            "order": f"{SOURCE}:0:0",
            "user_id": 1,
            "activity_id": 1,
            "items": {"1001": 2, "1002": 1},
            "request_id": "click-1",
            "reference": "pi_1",
        },
    }
    accepted = {e["data"]["user_id"]: e["data"] for e in sale.events() if "accepted" in e["id"]}
    due = Record.objects.filter(user_id=1)[0].due
    assert due is not None
    assert accepted[1]["pay_until"] == round(due.timestamp() * 1000)
    assert "pay_until" not in accepted[4]
    # A second publisher, and all that is stored once more, publish nothing.
    assert sale.publish() == 0
    assert len(sale.events()) == 7
    sale.close()


class Killed(BaseException):
    """As by kill -9."""


class DyingKeeper(Keeper):
    """Dies after Kafka has acknowledged everything, before the cursor moves."""

    def move(self, connection: psycopg.Connection, cursor: Any) -> bool:
        raise Killed


class DyingProducer:
    """Dies after a few events of a chunk."""

    def __init__(self, producer: Producer, after: int) -> None:
        self._producer, self._left = producer, after

    def __getattr__(self, name: str) -> Any:
        return getattr(self._producer, name)

    def send(self, *args: Any, **more: Any) -> None:
        if not self._left:
            self._producer.flush(SOON_S)
            raise Killed
        self._left -= 1
        self._producer.send(*args, **more)


@pytest.mark.parametrize("moment", ["in the middle of a chunk", "before the cursor moves"])
def test_killed_loses_none_and_repeats_are_equal(sale: Published, moment: str) -> None:
    users = range(1, 41)
    sale.buy(*users)
    sale.settle(*(paid(user - 1, user) for user in users if user % 2))
    sale.store()
    dying = sale.publisher(rows=25)
    assert dying.run_once() > 0
    if moment == "before the cursor moves":
        dying.keeper.__class__ = DyingKeeper
    else:
        dying._close_producer()
        dying.open_producer = lambda: DyingProducer(  # type: ignore[assignment, return-value]
            open_producer(sale.server, sale.topic), 5
        )
    with pytest.raises(Killed):
        dying.run_once()
    sent_before = sum(sale.topics.end_offsets(sale.topic).values())
    # Nobody gives the cursor back: the next one waits for the end of its lease.
    after = sale.publisher(rows=25)
    with pytest.raises(NotOurs, match="publishes these events"):
        after.run_once()
    ended(sale)
    sale.publish(after)
    assert sum(sale.topics.end_offsets(sale.topic).values()) > sent_before
    bodies: dict[str, set[bytes]] = {}
    for message in sale.messages():
        value = message.value() or b""
        bodies.setdefault(json.loads(value)["id"], set()).add(value)
    assert len(bodies) == 60
    assert all(len(same) == 1 for same in bodies.values()), "a repeat differs"
    assert len(sale.messages()) > 60, "nothing was repeated: the test proves nothing"
    for user, told in sale.kinds().items():
        assert told[0][0] == "accepted"
        assert len(set(told)) == (2 if user % 2 else 1)


def ended(sale: Published) -> None:
    """As after the end of the lease of whoever was killed."""
    with connect(sale.dsn, 5, 30.0) as connection:
        connection.execute("UPDATE seckill_eventcursor SET until = clock_timestamp()")


@pytest.mark.parametrize("rows", [1, 2, 3, 7, 2000])
def test_the_events_of_a_user_keep_their_order(sale: Published, rows: int) -> None:
    """One user, many orders, of which some end before the next one begins."""
    want: list[tuple[str, int]] = []
    for _ in range(4):
        first, second = sale.buy(7, 7, items={1001: 1, 1002: 3})
        want += [("accepted", first), ("accepted", second)]
        sale.settle(paid(first, 7))
        want += [("paid", first)]
        sale.expire(second)
        want += [("expired", second)]
        next_second(sale)
    sale.store()
    sale.publish(sale.publisher(rows=rows))
    assert sale.kinds() == {7: want}


def next_second(sale: Published) -> None:
    """Between two tables the order is known to the second."""
    now = sale.client.time()[0]  # type: ignore[index]
    wait_until(lambda: sale.client.time()[0] > now, SOON_S, "a second is over")  # type: ignore[index]


class Hasty(Feed):
    """Negative control: a cursor over the ids alone."""

    def next(self, connection: psycopg.Connection, cursor: Cursor) -> Chunk | None:
        self._barrier = highest_rows(connection), frozenset()
        return super().next(connection, cursor)


@pytest.mark.parametrize("hasty", [False, True])
def test_rows_that_are_committed_out_of_order(sale: Published, hasty: bool) -> None:
    """A transaction that drew lower ids and commits later is waited for, not passed over."""
    sale.buy(1, 2)
    (old,) = sale.buy(3)
    sale.store()
    insert = (
        "INSERT INTO seckill_record (user_id, activity_id, item_id, quantity, cost_ms, status, ts,"
        ' source, partition, "offset", version) VALUES'
        " (%s, 1, 1001, 1, 1, 'success', now(), %s, 0, %s, 1)"
    )
    publisher = sale.publisher()
    if hasty:
        publisher.feed = Hasty()
    fast = connect(sale.dsn, 5, 30.0)
    with connect(sale.dsn, 5, 30.0) as slow, slow.transaction():
        slow.execute(insert, (11, SOURCE, 101))
        fast.execute(insert, (12, SOURCE, 102))
        told = publisher.run_once()
        assert told == (4 if hasty else 0), "beyond a transaction that runs"
    fast.close()
    sale.publish(publisher)
    want = {1: 0, 2: 1, 3: old, 11: 101, 12: 102}
    if hasty:
        del want[11]
    assert sale.kinds() == {user: [("accepted", offset)] for user, offset in want.items()}


def test_two_log_workers_and_one_that_stores_twice(sale: Published) -> None:
    """Rows that are stored a second time are the same rows: no second event."""
    sale.buy(99)
    sale.store()
    sale.buy(*range(1, 31))
    stale = LogWorker(sale.client, Storage(sale.dsn), Shutdown(), batch_size=10)
    read = stale._read(0)
    sale.store(batch_size=7)
    assert sale.publish() == 31
    # The stale worker stores what it had read before.
    result = stale.storage.store(read.claim, read.records, read.texts, stored=read.stored)
    assert (result.new, result.known) == (0, len(read.records))
    stale.storage.close()
    assert waiting(sale.client) == []
    assert sale.publish() == 0
    assert len(sale.events()) == 31


def test_an_order_in_parts(sale: Published) -> None:
    """An item that PostgreSQL refused at first and took later has an event of its own."""
    sale.buy(1, items={1001: 1, 1002: 2}, activity=2)
    with connect(sale.dsn, 5, 30.0) as connection:
        connection.execute(
            "ALTER TABLE seckill_record ADD CONSTRAINT not_now CHECK (item_id <> 1001) NOT VALID"
        )
        try:
            sale.store()
        finally:
            connection.execute("ALTER TABLE seckill_record DROP CONSTRAINT not_now")
        assert sale.publish() == 1
        connection.execute(
            "INSERT INTO seckill_record (user_id, activity_id, item_id, quantity, cost_ms, status,"
            ' ts, source, partition, "offset", version)'
            " SELECT user_id, activity_id, 1001, 1, 1, 'success', ts, source, partition,"
            ' "offset", version FROM seckill_record'
        )
    assert sale.publish() == 1
    order = f"{SOURCE}:0:0"
    assert {e["id"]: e["data"]["items"] for e in sale.events()} == {
        f"{order}:accepted": {"1002": 2},
        f"{order}:accepted:1001": {"1001": 1},
    }


class Once(Shutdown):
    """A stop that is requested during the first wait."""

    def wait(self, seconds: float) -> bool:
        self.request()
        return True


def test_one_publisher_at_a_time(sale: Published) -> None:
    sale.buy(1, 2, 3)
    sale.store()
    first, second = sale.publisher(), sale.publisher()
    assert first.run_once() == 3
    sale.buy(4)
    sale.store()
    with pytest.raises(NotOurs):
        second.run_once()
    said: list[str] = []
    second.say = said.append
    second.beat = lambda worker, hold: said.append(hold)
    second.shutdown = Once()
    second.run()
    assert said[0] == "", "a stand-by raises no alarm"
    assert "stand-by: " in said[1]
    # It has stood still for longer than its lease: the other one goes on, and this one stops.
    ended(sale)
    assert wait_until(second.run_once, SOON_S, "takes over") == 1
    with pytest.raises(NotOurs):
        first.run_once()
    second.close()
    assert first.run_once() == 0
    assert len(sale.events()) == 4


def test_from_now_leaves_out_what_is_stored(sale: Published) -> None:
    old, other = sale.buy(1, 2)
    sale.store()
    with connect(sale.dsn, 5, 30.0) as connection:
        assert Keeper(sale.topic).make(connection, from_now=True)
        assert not Keeper(sale.topic).make(connection, from_now=False)
    sale.settle(paid(old, 1))
    sale.buy(3)
    sale.store()
    assert sale.publish() == 2
    assert sale.kinds() == {1: [("paid", old)], 3: [("accepted", other + 1)]}


def test_a_recovery_and_a_sync_publish_nothing_again(
    server: Server, topics: Topics, redis_client: "redis.Redis", pg_dsn: str
) -> None:
    """Redis is lost, rebuilt, and decides requests again whose rows are there."""
    sale = Published(server, topics, redis_client, pg_dsn, sells=False)
    shop = LostShop(redis_client, server.redis_url, pg_dsn)
    shop.control.set_stock(1, {1001: 100})
    values = [body(user) for user in range(1, 11)]
    shop.buy(0, *values)
    shop.store()
    assert sale.publish() == 10
    redis_client.flushall()
    shop.recover()
    shop.buy(0, *values, generation=1)
    shop.buy(10, body(11), generation=1)
    shop.control.sync_from_db(1)
    shop.store()
    assert Record.objects.count() == 11
    assert sale.publish() == 1
    assert sorted(sale.kinds()) == list(range(1, 12))
    assert len(sale.events()) == 11
    shop.engine.close()
    shop.storage.close()
    sale.close()


def test_a_stop_while_kafka_is_away_loses_nothing(sale: Published) -> None:
    """Nothing is acknowledged: the cursor stays, a stop is obeyed, the next one sends it."""
    sale.buy(1, 2)
    sale.store()

    class Silent(DyingProducer):
        def flush(self, timeout_s: float) -> int:
            publisher.shutdown.request()
            return 2

    publisher: Publisher = sale.publisher(
        open_producer=lambda: Silent(open_producer(sale.server, sale.topic), 10)
    )
    said: list[str] = []
    publisher.say = said.append
    publisher.run()
    (line,) = said
    assert "published 0 | waiting " in line
    assert publisher.behind >= 2
    publisher.close()
    assert sale.publish() == 2

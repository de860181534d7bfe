"""The publisher of events on real services: each kind once, one publisher at a time."""

import json

import pytest
import redis

from seckill.broker.topics import Topics
from seckill.config.sections import Server
from seckill.events.keeper import Keeper
from seckill.events.publisher import NotOurs
from seckill.models import Record
from seckill.postgres.access import connect
from seckill.process.shutdown import Shutdown
from tests.conftest import wait_until
from tests.helpers.node import SOON_S
from tests.helpers.publishing import Published
from tests.helpers.recovering import LostShop
from tests.helpers.sale import SOURCE, body
from tests.helpers.settling import SETTLE_SOURCE, cancelled, paid


def test_each_of_the_four_kinds_once(
    server: Server, topics: Topics, redis_client: "redis.Redis", pg_dsn: str, kafka_client: str
) -> None:
    server = server.model_copy(update={"kafka_client": kafka_client})
    sale = Published(server, topics, redis_client, pg_dsn)
    sale.buy(1, items={1001: 2, 1002: 1}, request_id="click-1")
    sale.buy(2, 3)
    sale.buy(4, activity=2)
    sale.settle(paid(0, 1, reference="pi_1"), cancelled(1, 2))
    # Money too late; and the same again, which is no event.
    sale.settle(paid(1, 2, reference="late"), paid(0, 1))
    sale.expire(2)
    sale.store()
    assert sale.publish() == 8
    assert sale.kinds() == {
        1: [("accepted", 0), ("paid", 0)],
        2: [("accepted", 1), ("cancelled", 1), ("payment_late", 1)],
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
    (late,) = (e for e in sale.events() if e["type"] == "seckill.order.payment_late")
    assert late["id"] == f"{SOURCE}:0:1:payment_late:{late['data']['payment']}"
    assert late["data"] == {
        "order": f"{SOURCE}:0:1",
        "user_id": 2,
        "activity_id": 1,
        "reference": "late",
        "payment": f"{SETTLE_SOURCE}:0:2",
    }
    # A second publisher, and all that is stored once more, publish nothing.
    assert sale.publish() == 0
    assert len(sale.events()) == 8
    sale.close()


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
    sale.end_lease()
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

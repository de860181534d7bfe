"""PostgreSQL that has lost what became of holds: refused without Kafka, brought back from it."""

from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import pytest
import redis
from django.db import connection

from devstack.endpoints import Endpoints
from seckill.audit.audit import audit
from seckill.broker.reader import TopicReader
from seckill.broker.topics import Topics
from seckill.config.sections import Server
from seckill.consumer.batch import encode
from seckill.errors import Refused
from seckill.formats import settle
from seckill.lane.clicks import Place
from seckill.lane.holds import SettleBatch, Settlement, expire_holds, settle_batch
from seckill.lane.status import read_lane
from seckill.models import Activity, Item, LatePayment, Record
from seckill.models import Settlement as Row
from seckill.recovery.rebuild import Done, recover
from tests.helpers.blocks import set_due
from tests.helpers.messages import send
from tests.helpers.recovering import LANE, LostShop
from tests.helpers.sale import body
from tests.helpers.settling import ReadMark, redis_ms

SETTLED = (
    "offset", "item_id", "user_id", "quantity", "kind", "settle_offset", "reference"
)  # fmt: skip


class HoldShop(LostShop):
    """A sale of six holds whose requests and settle messages stand in real topics."""

    def __init__(self, server: Server, topics: Topics, client: "redis.Redis", dsn: str) -> None:
        super().__init__(client, server.redis_url, dsn)
        self.server = server
        self.settle_topic = settle.settle_topic(server.topic)
        topics.ensure(self.settle_topic, 1)
        self.source = topics.source(server.topic) or ""
        self.settle_source = topics.source(self.settle_topic) or ""
        Activity.objects.create(id=1, hold_s=600)
        self.control.set_stock(1, {1001: 10, 1002: 10})

    def play(self) -> None:
        values = [body(user, {1001: 1, 1002: 1}) for user in range(1, 7)]
        send(self.server.brokers, self.server.topic, values, 0)
        self.engine.decide([encode(self.source, 0, 0, range(6), values)])
        # Of somebody else's, then: paid, given back, paid again.
        self.settle(0, (0, 9, "paid"), (0, 1, "paid"), (1, 2, "failed"), (0, 1, "paid"))
        places = [f"{self.source}:0:{offset}" for offset in (2, 3)]
        set_due(self.client, redis_ms(self.client) - 60_000, *places)
        expired = expire_holds(
            self.client, LANE, 1, [(self.settle_source, 0)],
            {(self.settle_source, 0): ReadMark(redis_ms(self.client), 4)}, generation=0,
        )  # fmt: skip
        assert expired.expired == 2
        # Money for one that has expired, and for one that was given back.
        self.settle(4, (3, 4, "paid"), (1, 2, "paid"), (4, 5, "paid"))
        self.store()
        assert audit(self.client, LANE).findings == []
        assert (Row.objects.count(), LatePayment.objects.count()) == (10, 2)

    def settle(self, start: int, *messages: tuple[int, int, str]) -> None:
        """(offset of the hold, user, result)"""
        told, bodies = [], []
        for number, (offset, user, result) in enumerate(messages, start):
            reference = f"pi_{number}"
            bodies.append(
                settle.encode(
                    settle.Settlement(
                        1, user, (self.source, 0, offset), settle.Result(result), 1, reference
                    )
                )
            )
            place = Place(self.source, 0, offset)
            told.append((number, Settlement(1, user, place, result == "paid", reference)))
        send(self.server.brokers, self.settle_topic, bodies, 0)
        end = start + len(messages)
        settle_batch(self.client, LANE, SettleBatch(self.settle_source, 0, start, end, 0, told))

    def recover_from(self, *, requests: bool, settlements: bool) -> Done:
        with ExitStack() as stack:
            readers: dict[str, Any] = {}
            if requests:
                readers["topic"] = stack.enter_context(TopicReader(self.server))
            if settlements:
                section = self.server.model_copy(update={"topic": self.settle_topic})
                readers["settle_topic"] = stack.enter_context(TopicReader(section))
            return recover(
                self.client, LANE, self.source, [0, 1], "test", self.said.append, **readers
            )


@pytest.fixture
def shop(
    server: Server, topics: Topics, redis_client: "redis.Redis", pg_dsn: str, stack: Endpoints
) -> Iterator[HoldShop]:
    shop = HoldShop(server, topics, redis_client, pg_dsn)
    shop.play()
    yield shop
    topics.delete(shop.settle_topic)
    shop.engine.close()
    shop.storage.close()


def known() -> tuple[list[Any], list[Any], list[Any]]:
    """Settlements, late payments and the inventory, to compare."""
    return (
        sorted(Row.objects.values_list(*SETTLED), key=str),
        sorted(LatePayment.objects.values_list("offset", "user_id", "settle_offset", "reference")),
        sorted(Item.objects.values_list("item_id", "sold", "returned")),
    )


def forget_settlements() -> None:
    """PostgreSQL of before the settlements."""
    with connection.cursor() as cursor:
        cursor.execute("DELETE FROM seckill_settlement")
        cursor.execute("DELETE FROM seckill_latepayment")
        cursor.execute("UPDATE seckill_item SET sold = sold + returned, returned = 0")


def test_it_is_refused_without_the_topics(shop: HoldShop) -> None:
    forget_settlements()
    assert not audit(shop.client, LANE).clean
    with pytest.raises(Refused, match=r"5 holds are settled without a settlement.*--from-kafka"):
        shop.recover_from(requests=False, settlements=False)
    assert read_lane(shop.client, LANE).fence is None
    with pytest.raises(Refused, match="the settle topic no longer holds the messages of 3 holds"):
        shop.recover_from(requests=True, settlements=False)
    assert Row.objects.count() == 0


@pytest.mark.parametrize("all_of_it", [False, True], ids=["settlements", "orders too"])
def test_the_topics_bring_it_back(shop: HoldShop, all_of_it: bool) -> None:
    before = known()
    forget_settlements()
    if all_of_it:
        Record.objects.all().delete()
        Item.objects.update(sold=0)
    held = shop.client.hgetall(LANE.activity(1).held)
    done = shop.recover_from(requests=True, settlements=True)
    assert done.report.findings == []
    assert known() == before
    assert shop.client.hgetall(LANE.activity(1).held) == held
    now = read_lane(shop.client, LANE).activities[1]
    assert (
        now.holds.paid,
        now.holds.expired,
        now.holds.cancelled,
        now.holds.too_late,
        now.holds.held,
    ) == (2, 2, 1, 2, 1)

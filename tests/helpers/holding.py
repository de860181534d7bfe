"""A sale with holds, turn by turn: what decides, settles and lets expire, on real services."""

from collections.abc import Mapping
from typing import Any

import redis
from confluent_kafka import Producer

from seckill.broker.opening import open_consumer, open_producer
from seckill.broker.topics import Topics
from seckill.config.layers import load
from seckill.config.sections import Server, Settler
from seckill.consumer.child import Parts
from seckill.consumer.consumer import Consumer
from seckill.consumer.engine import Open
from seckill.dead_letters.writer import DeadLetters, dead_topic
from seckill.formats import settle
from seckill.formats.settle import Result
from seckill.lane.keys import Lane
from seckill.lane.settle_status import SettleStatus, read_settle_status
from seckill.lane.status import read_lane
from seckill.process.shutdown import Shutdown
from seckill.settler.child import build
from seckill.settler.expiry import Expiry
from tests.conftest import wait_until
from tests.helpers.blocks import holds_of
from tests.helpers.node import SOON_S, Node
from tests.helpers.sale import body, now_ms, put_on_sale, waiting

LANE = Lane()
PARTITIONS = 4
Hold = tuple[str, int, int]


class HeldSale:
    """Activity 1 with holds on a topic of its own, and what settles it. Nothing runs by itself."""

    def __init__(self, server: Server, topics: Topics, client: "redis.Redis") -> None:
        self.server, self.topics, self.client = server, topics, client
        self.node = Node(server, topics, client)
        names = ("brokers", "redis_url", "pg_dsn", "topic", "group_id", "kafka_client")
        flags = {name: getattr(server, name) for name in names} | {"grace_ms": 0}
        self.section = load(Settler, flags, {}).of_settlements()
        topics.ensure(self.section.topic, PARTITIONS)
        self._producer = Producer({"bootstrap.servers": server.brokers, "linger.ms": 1})
        self._settlers: list[Consumer] = []
        self._expiries: list[Expiry] = []

    def open(self, stock: Mapping[int, int], hold_s: int) -> None:
        """Put it on sale."""
        put_on_sale(self.client, stock, hold_s=hold_s)

    def buy(self, *users: int, undecided: int = 0) -> dict[int, Hold]:
        """One request of each user, decided, with those that wait already. Returns `holds`."""
        before = read_lane(self.client, LANE).decided
        consumer = self.node.consumer()
        self.node.send([body(user) for user in users])
        self.node.decided(consumer, before + undecided + len(users))
        self.node.ended(consumer)
        return self.holds()

    def holds(self) -> dict[int, Hold]:
        """{user: place} of all accepted requests whose records wait in the list."""
        return {
            r["user_id"]: (r["source"], r["partition"], r["offset"])
            for r in waiting(self.client)
            if r["status"] == "success"
        }

    def tell(self, user: int, hold: Hold, result: Result = Result.PAID, **more: Any) -> None:
        """Send a settlement, and wait until Kafka has acknowledged it."""
        told = settle.Settlement(1, user, hold, result, now_ms(), more.get("reference", "pi"))
        self.send(settle.encode(told), user)

    def send(self, value: bytes | None, user: int = 1) -> None:
        """Send any message, and wait until Kafka has acknowledged it."""
        failed: list[object] = []
        self._producer.produce(
            self.section.topic,
            value,
            settle.key_of(user),
            on_delivery=lambda error, _: failed.append(error) if error else None,
        )
        assert self._producer.flush(120) == 0
        assert not failed, failed

    def settler(self, **options: Any) -> Consumer:
        """One more settler."""
        section = self.section.model_copy(update=options)
        letters = DeadLetters(section, lambda: open_producer(section, dead_topic(section.topic)))
        parts = Parts(
            open_consumer(section),
            Open(),
            letters,
            Shutdown(),
            lambda: self.topics.source(section.topic),
        )
        settler = build(section, LANE, parts)
        self._settlers.append(settler)
        return settler

    def turns(self, settler: Consumer, messages: int) -> None:
        """Turns of a settler until so many settlements have an outcome."""
        wait_until(
            lambda: settler.run_once() is not None and self.status().settled >= messages,
            SOON_S,
            f"{messages} are settled",
        )
        assert self.status().settled == messages

    def ended(self, settler: Consumer) -> None:
        """The settler as it ends after a stop was asked for."""
        settler.shutdown.request()
        settler.run()
        self._settlers.remove(settler)

    def expiry(self, kind: type[Expiry] = Expiry) -> Expiry:
        """What lets holds expire, turn by turn."""
        expiry = kind(self.section, LANE, Open(), lambda: Topics(self.section))
        self._expiries.append(expiry)
        return expiry

    def status(self) -> SettleStatus:
        """What is held and settled now."""
        return read_settle_status(self.client, LANE)

    def wait_due(self) -> None:
        """Wait until all holds are due by Redis's clock."""

        def due() -> bool:
            last = max((hold.due_ms for hold in holds_of(self.client).values()), default=0)
            return self.status().now_ms > last

        wait_until(due, SOON_S, "all holds are due")

    def outcomes(self) -> dict[str, int]:
        """Settle messages by outcome."""
        return {name: count for name, count in self.status().messages.items() if count}

    def books_agree(self) -> None:
        """What was put on sale is left, held, or paid; each hold has one end; the list says so."""
        lane, status = read_lane(self.client, LANE), self.status()
        activity, holds = lane.activities[1], status.activities[1]
        left = sum(item.left for item in activity.items.values())
        loaded = sum(item.loaded for item in activity.items.values())
        returned = holds.units_returned
        assert loaded == left + activity.total_units - returned
        ends = holds.paid + holds.expired + holds.cancelled
        assert holds.held == activity.success - ends == len(holds_of(self.client))
        records = waiting(self.client)
        told = [r for r in records if r["status"] in ("paid", "expired", "cancelled")]
        places = [(r["source"], r["partition"], r["offset"], r["item_id"]) for r in told]
        assert len(places) == len(set(places)), "settled twice"
        back = sum(r["quantity"] for r in told if r["status"] != "paid")
        assert back == returned
        assert status.settled + status.messages.get("skipped", 0) == sum(status.positions.values())

    def close(self) -> None:
        """Close all."""
        for settler in self._settlers:
            settler.client.close()
            settler.dead_letters.close()
            settler.engine.close()
        for expiry in self._expiries:
            expiry.close()
        self._producer.close()
        self.node.close()
        self.topics.delete(self.section.topic)
        self.topics.delete(dead_topic(self.section.topic))

"""A sale whose orders are stored, turn by turn, and a publisher of its events on a real topic."""

import json
from collections.abc import Mapping
from typing import Any

import redis
from confluent_kafka import Consumer, Message, TopicPartition

from seckill.broker.opening import open_producer
from seckill.broker.topics import Topics
from seckill.config.sections import Server
from seckill.consumer.engine import Engine
from seckill.events.cloud_event import events_topic
from seckill.events.feed import Feed
from seckill.events.keeper import Keeper
from seckill.events.publisher import Publisher
from seckill.log_worker.storage import Storage
from seckill.log_worker.worker import LogWorker
from seckill.postgres.access import connect
from seckill.process.shutdown import Shutdown
from tests.conftest import PARTITIONS, wait_until
from tests.helpers.node import SOON_S
from tests.helpers.sale import SOURCE, batch, body, put_on_sale
from tests.helpers.settling import Settlement, expire, make_due, send
from tests.helpers.storing import LANE

HOLD_S = 3600
STOCK = {1001: 10**6, 1002: 10**6}


class Published:
    """Activity 1 with holds, activity 2 without; nothing runs by itself."""

    def __init__(
        self,
        server: Server,
        topics: Topics,
        client: "redis.Redis",
        dsn: str,
        *,
        sells: bool = True,
    ) -> None:
        self.server, self.topics, self.client, self.dsn = server, topics, client, dsn
        self.topic = events_topic(server.topic)
        topics.ensure(self.topic, PARTITIONS)
        self._engine = Engine(server.redis_url, LANE)
        self._next: dict[int, int] = {}
        self._settled = 0
        self._storage = Storage(dsn)
        self._publishers: list[Publisher] = []
        if sells:
            put_on_sale(client, STOCK, hold_s=HOLD_S)
            put_on_sale(client, STOCK, activity=2)

    def buy(
        self, *users: int, items: Mapping[int, int] | None = None, activity: int = 1, **more: Any
    ) -> list[int]:
        """Accepted requests of these users; their offsets in partition 0."""
        first = self._next.get(0, 0)
        values = [body(user, items, activity_id=activity, **more) for user in users]
        self._engine.decide([batch(values, first)])
        self._next[0] = first + len(users)
        return list(range(first, first + len(users)))

    def settle(self, *messages: Settlement) -> None:
        """Settle holds: see `tests.helpers.settling`."""
        send(self.client, *messages, start=self._settled)
        self._settled += len(messages)

    def expire(self, *offsets: int) -> None:
        """Let these holds expire."""
        make_due(self.client, *offsets)
        expire(self.client)

    def store(self, **options: Any) -> int:
        """Store all that waits, by one log worker; how many entries."""
        worker = LogWorker(self.client, self._storage, Shutdown(), **options)
        done = 0
        while more := worker.run_once():
            done += more
        return done

    def publisher(self, *, rows: int = 2_000, **options: Any) -> Publisher:
        """One more publisher; it begins with the oldest order."""
        keeper = Keeper(self.topic)
        with connect(self.dsn, 5, 30.0) as connection:
            keeper.make(connection, from_now=False)
        publisher = Publisher(
            self.server.topic,
            PARTITIONS,
            lambda: connect(self.dsn, 5, 30.0),
            options.pop("open_producer", lambda: open_producer(self.server, self.topic)),
            keeper,
            Shutdown(),
            Feed(rows),
            **options,
        )
        self._publishers.append(publisher)
        return publisher

    def publish(self, publisher: Publisher | None = None) -> int:
        """Turns of a publisher until all rows are published; how many events."""
        publisher = publisher or self.publisher()
        before = publisher.published
        wait_until(
            lambda: not publisher.run_once() and publisher.behind == 0, SOON_S, "all is published"
        )
        publisher.close()
        return publisher.published - before

    def end_lease(self) -> None:
        """As after the end of the lease of whoever was killed."""
        with connect(self.dsn, 5, 30.0) as connection:
            connection.execute("UPDATE seckill_eventcursor SET until = clock_timestamp()")

    def messages(self) -> list[Message]:
        """All messages of the topic, each partition in its order."""
        ends = self.topics.end_offsets(self.topic)
        consumer = Consumer(
            {"bootstrap.servers": self.server.brokers, "group.id": "reads-only",
             "enable.auto.commit": False, "log_level": 2}
        )  # fmt: skip
        consumer.assign([TopicPartition(self.topic, partition, 0) for partition in ends])
        found: list[Message] = []

        def all_read() -> bool:
            found.extend(m for m in consumer.consume(1000, 0.1) if m.error() is None)
            return len(found) >= sum(ends.values())

        wait_until(all_read, SOON_S, "all events are read")
        consumer.close()
        return found

    def events(self) -> list[dict[str, Any]]:
        """All events of the topic, each partition in its order."""
        return [json.loads(message.value() or b"") for message in self.messages()]

    def kinds(self) -> dict[int, list[tuple[str, int]]]:
        """{user: [(kind, offset of the order)]} in the order of the topic."""
        found: dict[int, list[tuple[str, int]]] = {}
        for event in self.events():
            kind = event["type"].removeprefix("seckill.order.")
            place = (kind, int(event["subject"].removeprefix(f"{SOURCE}:0:")))
            found.setdefault(event["data"]["user_id"], []).append(place)
        return found

    def close(self) -> None:
        """Close all."""
        self._engine.close()
        self._storage.close()
        for publisher in self._publishers:
            publisher.close()
        self.topics.delete(self.topic)

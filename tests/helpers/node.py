"""Consumers of one topic, turn by turn, with all that they decide with."""

import threading
from collections.abc import Callable, Sequence
from typing import Any

import redis

from seckill.broker.opening import open_consumer, open_producer
from seckill.broker.topics import Topics
from seckill.config.sections import Server
from seckill.consumer.consumer import Consumer
from seckill.consumer.engine import Engine
from seckill.consumer.guard import Guard
from seckill.dead_letters.writer import DeadLetters, dead_topic
from seckill.lane.keys import Lane
from seckill.lane.status import LaneStatus, read_lane
from seckill.process.shutdown import Shutdown
from tests.conftest import wait_until
from tests.helpers.messages import send

LANE = Lane()


# Long enough for a group that has to notice a member's end first.
SOON_S = 30.0


class Node:
    """Consumers of one topic, all that they decide with, and what they leave behind."""

    def __init__(self, server: Server, topics: Topics, client: "redis.Redis") -> None:
        self.server, self.topics, self.client = server, topics, client
        self.consumers: list[Consumer] = []
        self.guards: list[Guard] = []

    def consumer(self, engine: Engine | None = None, **options: Any) -> Consumer:
        """One more member of the group."""
        consumer = Consumer(
            client=open_consumer(self.server),
            engine=engine or Engine(self.server.redis_url, LANE, self.server.timeout),
            dead_letters=DeadLetters(
                self.server, lambda: open_producer(self.server, dead_topic(self.server.topic))
            ),
            shutdown=Shutdown(),
            find_source=lambda: self.topics.source(self.server.topic),
            **options,
        )
        self.consumers.append(consumer)
        return consumer

    def send(self, values: Sequence[bytes | None], partition: int | None = 0) -> None:
        send(self.server.brokers, self.server.topic, values, partition)

    def lane(self) -> LaneStatus:
        return read_lane(self.client, LANE)

    def turns(self, consumer: Consumer, until: Callable[[], Any], what: str) -> None:
        """Turns of one consumer until it is so."""
        wait_until(lambda: consumer.run_once() is not None and until(), SOON_S, what)

    def decided(self, consumer: Consumer, messages: int) -> None:
        """Turns until so many messages have an outcome, and have been committed."""
        self.turns(consumer, lambda: self.lane().decided >= messages, f"{messages} decided")
        assert self.lane().decided == messages

    def ended(self, consumer: Consumer) -> None:
        """The consumer as it ends after a stop was asked for: committed, and out of the group."""
        consumer.shutdown.request()
        consumer.run()
        self.consumers.remove(consumer)

    def committed(self) -> dict[int, int]:
        """What the group has committed, as a new member would find it; not where it begins at 0."""
        member = open_consumer(self.server)
        found = {p: member.committed(p) for p in self.topics.partitions(self.server.topic)}
        member.close()
        return {p: place.offset for p, place in found.items() if place is not None and place.offset}

    def committed_by_all(self, offsets: int) -> bool:
        """Whether the group's commits add up to so many offsets."""
        found = self.topics.committed(self.server.group_id, self.server.topic)
        return sum(position.offset for position in found.values()) == offsets

    def close(self) -> None:
        for consumer in self.consumers:
            consumer.client.close()
            consumer.dead_letters.close()
            consumer.engine.close()
        for guard in self.guards:
            guard.close()
        self.topics.delete(dead_topic(self.server.topic))


class running:
    """The consumer's `run` in a thread, ended as by a signal."""

    def __init__(self, *consumers: Consumer) -> None:
        self.consumers = consumers
        self.threads = [threading.Thread(target=consumer.run) for consumer in consumers]

    def __enter__(self) -> None:
        for thread in self.threads:
            thread.start()

    def __exit__(self, *error: object) -> None:
        for consumer in self.consumers:
            consumer.shutdown.request()
        for thread in self.threads:
            thread.join(4 * SOON_S)
            assert not thread.is_alive()

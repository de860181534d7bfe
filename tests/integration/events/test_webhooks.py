"""Webhooks on a real topic and real receivers: signed, in order, tried again, given up."""

import asyncio
import contextlib
import socket
import threading
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from typing import Any

import pytest
from confluent_kafka import Producer

from seckill.broker.opening import open_consumer, open_producer
from seckill.broker.topics import Topics
from seckill.config.layers import load
from seckill.config.sections import Server
from seckill.config.sections import Webhooks as Section
from seckill.events.cloud_event import Event, encode, events_topic
from seckill.events.hook import Hook
from seckill.events.letters import DeadEvents, read_dead, read_event
from seckill.events.targets import targets_of
from seckill.events.webhooks import Webhooks
from seckill.process.shutdown import Shutdown
from tests.conftest import PARTITIONS, wait_until
from tests.helpers.node import SOON_S
from tests.helpers.receiver import OTHER_SECRET, SECRET, Receiver

SOURCE = str(uuid.uuid4())


class Shop:
    """A topic of events, receivers, and what posts to them."""

    def __init__(self, server: Server, topics: Topics, kafka_client: str) -> None:
        self.server, self.topics = server, topics
        self.kafka_client = kafka_client
        self.topic = events_topic(server.topic)
        topics.ensure(self.topic, PARTITIONS)
        self.receivers: dict[str, Receiver] = {}
        self.hooks: dict[str, Hook] = {}
        self.said: list[str] = []
        self._sent = 0
        self._producer = Producer({"bootstrap.servers": server.brokers, "linger.ms": 1})

    def receiver(self, name: str = "shop", **how: Any) -> Receiver:
        """One more receiver."""
        self.receivers[name] = Receiver(**how)
        return self.receivers[name]

    def tell(self, *users: int) -> list[str]:
        """Events of these users, in this order; their ids."""
        ids = []
        for user in users:
            event = Event("paid", (SOURCE, 0, self._sent), user, 1, {1001: 1}, datetime.now(UTC))
            self._sent += 1
            self.send(encode(event, self.server.topic), user)
            ids.append(event.id)
        return ids

    def send(self, value: bytes, user: int) -> None:
        """Any message, to the partition of a user."""
        self._producer.produce(self.topic, value, str(user).encode(), partition=user % PARTITIONS)
        assert self._producer.flush(60) == 0

    @contextlib.contextmanager
    def posting(self, *, dead_letters: bool = False, **flags: Any) -> Iterator[Webhooks]:
        """Webhooks that run meanwhile, and end as by a signal."""
        urls = {name: receiver.url for name, receiver in self.receivers.items()}
        section = load(
            Section,
            {
                "brokers": self.server.brokers,
                "topic": self.server.topic,
                "group_id": self.server.group_id,
                "kafka_client": self.kafka_client,
                "session_timeout": 6000,
                "post_limit_s": 5,
                "urls": ",".join(f"{name}={url}" for name, url in urls.items()),
                "secrets": ",".join(f"{name}:{SECRET}" for name in urls),
                **flags,
            },
            {},
        )
        shutdown = Shutdown()
        dead = DeadEvents(section, open_producer)
        topic = dead.topic if dead_letters else self.topic
        ready = threading.Event()
        running: list[Webhooks] = []

        async def run() -> None:
            hooks = [
                Hook(
                    target,
                    lambda target=target: open_consumer(  # type: ignore[misc]
                        section.consumer(topic, target.name + (".dead" if dead_letters else ""))
                    ),
                    (lambda value, name=target.name: read_dead(value, name))  # type: ignore[misc]
                    if dead_letters
                    else read_event,
                    dead,
                    post_limit_s=section.post_limit_s,
                    give_up_s=section.give_up_s,
                    concurrency=section.concurrency,
                )
                for target in targets_of(section)
            ]
            self.hooks = {hook.target.name: hook for hook in hooks}
            running.append(Webhooks(hooks, lambda hook: 0, shutdown, say=self.said.append))
            ready.set()
            await running[0].run()

        with ThreadPoolExecutor(1) as thread:
            ended = thread.submit(lambda: asyncio.run(run()))
            wait_until(lambda: ready.is_set() or ended.done(), SOON_S, "it runs")
            try:
                yield running[0]
            finally:
                shutdown.request()
                ended.result()
                dead.close()

    def committed(self, name: str = "shop") -> int:
        """Events that the webhook's group has done."""
        group = f"{self.server.group_id}-webhook-{name}"
        return sum(p.offset for p in self.topics.committed(group, self.topic).values())

    def close(self) -> None:
        """Close all."""
        for receiver in self.receivers.values():
            receiver.close()
        self._producer.close()
        self.topics.delete(self.topic)
        self.topics.delete(self.topic + ".dead")


@pytest.fixture
def shop(server: Server, topics: Topics) -> Iterator[Shop]:
    shop = Shop(server, topics, "confluent-kafka")
    yield shop
    shop.close()


def test_signed_and_in_order_and_once(server: Server, topics: Topics, kafka_client: str) -> None:
    shop = Shop(server, topics, kafka_client)
    receiver = shop.receiver()
    ids = shop.tell(*(n % 5 + 1 for n in range(40)))
    with shop.posting():
        wait_until(lambda: len(receiver.ids()) == 40, SOON_S, "all are posted")
    assert receiver.wrong == 0
    for user in range(1, 6):
        told = [e["id"] for e in receiver.taken if e["data"]["user_id"] == user]
        assert told == [name for n, name in enumerate(ids) if n % 5 + 1 == user]
    assert shop.committed() == 40
    assert "delivered 40 |" in shop.said[-1]
    # A second worker of the same group begins after them.
    (last,) = shop.tell(1)
    with shop.posting():
        wait_until(lambda: receiver.ids()[-1] == last, SOON_S, "the next one is posted")
    assert len(receiver.ids()) == 41
    shop.close()


def test_a_failure_holds_up_its_user_alone(shop: Shop) -> None:
    """500 is tried again, with the same id and body; his later events wait, others go on."""
    gate = threading.Event()

    def answer(event: dict[str, Any], times: int) -> tuple[int, dict[str, str]]:
        bad = event["id"] == first and (times < 3 or not gate.is_set())
        return (500, {}) if bad else (200, {})

    receiver = shop.receiver(answer=answer)
    first, second, other = shop.tell(1, 1, 2)
    with shop.posting():
        wait_until(lambda: receiver.ids() == [other], SOON_S, "the other user's is posted")
        wait_until(lambda: receiver.times.get(first, 0) >= 2, SOON_S, "it is tried again")
        assert second not in receiver.attempts
        assert shop.hooks["shop"].hold == "webhook shop: status 500"
        assert shop.committed() <= 1
        gate.set()
        wait_until(lambda: receiver.ids() == [other, first, second], SOON_S, "all are posted")
    assert len(receiver.bodies[first]) == 1
    assert shop.committed() == 3


def test_a_receiver_that_is_down_loses_nothing(shop: Shop) -> None:
    """One that is down holds up no other; when it is back it gets everything, in order."""
    good = shop.receiver("good")
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
    bad = shop.receiver("bad", port=port)
    bad.close()
    ids = shop.tell(1, 1, 1)
    with shop.posting() as webhooks:
        wait_until(lambda: good.ids() == ids, SOON_S, "the good one has them")
        wait_until(lambda: "no connection" in webhooks.hold, SOON_S, "it says so")
    assert shop.committed("bad") == 0
    back = shop.receiver("bad", port=port)
    with shop.posting():
        wait_until(lambda: back.ids() == ids, SOON_S, "it has them now")
    assert good.ids() == ids
    assert shop.committed("bad") == 3


def test_a_slow_receiver_is_asked_again(shop: Shop) -> None:
    over = threading.Event()

    def answer(event: dict[str, Any], times: int) -> tuple[int, dict[str, str]]:
        if times == 1:
            over.wait(60)
        return 200, {}

    receiver = shop.receiver(answer=answer)
    (only,) = shop.tell(1)
    with shop.posting(post_limit_s=0.3):
        wait_until(lambda: receiver.times.get(only, 0) >= 2, SOON_S, "it is tried again")
        over.set()
        wait_until(lambda: shop.committed() == 1, SOON_S, "it is done")
    assert len(receiver.bodies[only]) == 1


def test_410_ends_a_webhook_and_its_events_stay(shop: Shop) -> None:
    other = shop.receiver("other")
    receiver = shop.receiver(answer=lambda event, times: (410, {}))
    ids = shop.tell(1, 2, 3)
    with shop.posting() as webhooks:
        wait_until(lambda: shop.hooks["shop"].gone, SOON_S, "it is gone")
        wait_until(lambda: sorted(other.ids()) == sorted(ids), SOON_S, "the other one goes on")
        assert "answered 410 (gone)" in webhooks.hold
        before = len(receiver.attempts)
        more = shop.tell(1)
        wait_until(lambda: other.ids()[-1] == more[0], SOON_S, "the other one goes on")
        assert len(receiver.attempts) == before
    assert shop.committed() == 0
    receiver.answer = lambda event, times: (200, {})
    with shop.posting():
        wait_until(lambda: sorted(receiver.ids()) == sorted([*ids, *more]), SOON_S, "all are back")


def test_what_is_given_up_is_a_dead_letter_and_can_be_posted_again(shop: Shop) -> None:
    """A wrong signature, told by the receiver; a redirect, which is not followed; and no event."""
    receiver = shop.receiver(secret=OTHER_SECRET)
    moved = shop.receiver("moved")
    moved.answer = lambda event, times: (307, {"location": moved.url + "/elsewhere"})
    first, second = shop.tell(1, 1)
    shop.send(b"nothing of ours", 1)
    with shop.posting(give_up_s=0) as webhooks:
        wait_until(lambda: webhooks.total("dead") == 6, SOON_S, "all are given up")
    assert receiver.wrong == 2
    assert receiver.attempts == receiver.ids() == moved.ids() == []
    assert moved.paths == {"/hook"}
    assert shop.committed() == shop.committed("moved") == 3
    # Mended: the same events, the same bytes.
    receiver.close()
    receiver = shop.receiver(port=receiver.port)
    moved.answer = lambda event, times: (200, {})
    with shop.posting(dead_letters=True):
        wait_until(lambda: receiver.ids() == [first, second], SOON_S, "posted again")
        wait_until(lambda: moved.ids() == [first, second], SOON_S, "posted again")
    assert all(len(same) == 1 for same in moved.bodies.values())


def test_two_secrets_while_one_replaces_the_other(shop: Shop) -> None:
    old, new = shop.receiver("old"), shop.receiver("new", secret=OTHER_SECRET)
    shop.tell(1)
    secrets = ",".join(f"{name}:{s}" for name in ("old", "new") for s in (OTHER_SECRET, SECRET))
    with shop.posting(secrets=secrets):
        wait_until(lambda: len(old.ids()) == len(new.ids()) == 1, SOON_S, "both take it")
    assert old.wrong == new.wrong == 0

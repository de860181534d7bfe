"""Events while things break: killed publishers and log workers, Kafka away. None is lost."""

import json
import random
import signal
from collections.abc import Iterator

import pytest
from confluent_kafka import Consumer, TopicPartition

from seckill.broker.topics import Topics
from seckill.events.cloud_event import events_topic
from seckill.models import Record
from tests.conftest import wait_until
from tests.faults.command import Command, stop
from tests.faults.harness import Sale
from tests.helpers.receiver import SECRET, Receiver

SOON_S = 45.0


class Shop:
    """Who reads the events of a sale."""

    def __init__(self, sale: Sale) -> None:
        self.sale = sale
        self.topic = events_topic(sale.server.topic)

    def publisher(self, *flags: str) -> Command:
        """`run_events` of this sale."""
        return self.sale.start(
            "run_events", "--topic", self.sale.server.topic, "--status-interval", "0.5", *flags
        )

    def sent(self) -> int:
        """Messages in the topic."""
        with Topics(self.sale.server) as topics:
            return sum(topics.end_offsets(self.topic).values())

    def read(self) -> dict[str, bytes]:
        """{id: body} of all events; a repeat must be equal."""
        with Topics(self.sale.server) as topics:
            ends = topics.end_offsets(self.topic)
        consumer = Consumer(
            {"bootstrap.servers": self.sale.server.brokers, "group.id": "reads-only",
             "enable.auto.commit": False, "log_level": 2}
        )  # fmt: skip
        consumer.assign([TopicPartition(self.topic, partition, 0) for partition in ends])
        bodies: dict[str, bytes] = {}
        count = 0

        def all_read() -> bool:
            nonlocal count
            for message in consumer.consume(5_000, 0.1):
                if message.error() is None:
                    value = message.value() or b""
                    assert bodies.setdefault(json.loads(value)["id"], value) == value
                    count += 1
            return count >= sum(ends.values())

        wait_until(all_read, SOON_S, "all events are read")
        consumer.close()
        return bodies

    def prove(self) -> None:
        """Every order that is stored has its event, with all of its items, and nothing else has."""
        want: dict[str, dict[str, int]] = {}
        for source, partition, offset, item, units in Record.objects.values_list(
            "source", "partition", "offset", "item_id", "quantity"
        ):
            want.setdefault(f"{source}:{partition}:{offset}:accepted", {})[str(item)] = units
        told = {name: json.loads(body)["data"]["items"] for name, body in self.read().items()}
        assert told == want

    def end(self, *commands: Command) -> None:
        """Decide, store and publish what is left, stop the commands, and prove both."""
        self.sale.wait_all_decided()
        self.sale.wait_all_stored()
        stop(*commands)
        assert self.publisher("--drain").ended(SOON_S) == 0
        self.prove()
        self.sale.prove()

    def close(self) -> None:
        """Delete the topic of events."""
        with Topics(self.sale.server) as topics:
            topics.delete(self.topic)


@pytest.fixture
def shop(sale: Sale) -> Iterator[Shop]:
    shop = Shop(sale)
    yield shop
    shop.close()


def test_publishers_and_log_workers_are_killed(
    shop: Shop, rng: random.Random, kafka_client: str
) -> None:
    sale = shop.sale
    consumer = sale.consumer()
    publisher = shop.publisher("--kafka-client", kafka_client)
    log_worker = sale.log_worker("--batch-size", "300")
    with sale.load(1_500):
        for _ in range(3):
            before = shop.sent() if publisher.count("publishing") else 0
            publisher.wait_for("publishing", SOON_S)
            wait_until(lambda n=before: shop.sent() > n + 300, SOON_S, "events are published")
            for command in rng.sample([publisher, log_worker], 2):
                command.tell(signal.SIGKILL)
                command.ended()
            publisher = shop.publisher("--kafka-client", kafka_client)
            log_worker = sale.log_worker("--batch-size", "300")
    shop.end(consumer, log_worker, publisher)


def test_kafka_is_killed_while_events_are_published(shop: Shop) -> None:
    sale = shop.sale
    consumer, log_worker, publisher = sale.consumer(), sale.log_worker(), shop.publisher()
    with sale.load(1_000):
        publisher.wait_for("publishing", SOON_S)
        wait_until(lambda: shop.sent() > 500, SOON_S, "events are published")
        sale.kill("kafka")
        publisher.wait_for("Kafka is away|waiting", SOON_S)
        sale.revive("kafka")
        before = shop.sent()
        wait_until(lambda: shop.sent() > before + 500, SOON_S, "it goes on")
    shop.end(consumer, log_worker, publisher)


def test_webhooks_are_killed(shop: Shop, kafka_client: str) -> None:
    """What a killed one had not committed is posted again, with the same ids; none is lost."""
    sale, receiver = shop.sale, Receiver()

    def webhooks(*flags: str) -> Command:
        return sale.start(
            "run_webhooks",
            *("--topic", sale.server.topic, "--group-id", sale.server.group_id),
            *("--kafka-client", kafka_client, "--session-timeout", "6000"),
            *("--urls", f"shop={receiver.url}", *flags),
            SECKILL_WEBHOOKS_SECRETS=f"shop:{SECRET}",
        )

    consumer, log_worker, publisher = sale.consumer(), sale.log_worker(), shop.publisher()
    posting = webhooks()
    with sale.load(300):
        for _ in range(2):
            before = len(receiver.ids())
            wait_until(lambda n=before: len(receiver.ids()) > n + 50, SOON_S, "events are posted")
            posting.tell(signal.SIGKILL)
            posting.ended()
            posting = webhooks()
    shop.end(consumer, log_worker, publisher)
    stop(posting)
    assert webhooks("--drain").ended(2 * SOON_S) == 0
    receiver.close()
    assert receiver.wrong == 0
    assert set(receiver.ids()) == set(shop.read())
    assert all(len(same) == 1 for same in receiver.bodies.values())

"""Messages to and from Kafka for tests: to a partition of choice, and read back with headers."""

import time
from collections.abc import Sequence
from typing import Any

import pytest
from confluent_kafka import Consumer, Message, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, AlterConfigOpType, ConfigEntry, ConfigResource


def send(
    brokers: str, topic: str, values: Sequence[bytes | None], partition: int | None = None
) -> None:
    """Send values in their order and wait until Kafka has them; without a partition: in turn."""
    failed: list[object] = []

    def on_delivery(error: object, message: object) -> None:
        if error is not None:
            failed.append(error)

    producer = Producer(
        {"bootstrap.servers": brokers, "max.in.flight": 1, "linger.ms": 1, "log_level": 2}
    )
    for value in values:
        where: dict[str, Any] = {} if partition is None else {"partition": partition}
        producer.produce(topic, value, on_delivery=on_delivery, **where)
    assert producer.flush(120) == 0
    assert not failed, failed
    producer.close()


def read(
    brokers: str, topic: str, count: int, timeout_s: float = 120, partition: int = 0
) -> list[Message]:
    """The first messages of a partition, with keys, headers and offsets."""
    consumer = Consumer(
        {"bootstrap.servers": brokers, "group.id": "reads-only", "enable.auto.commit": False,
         "log_level": 2}
    )  # fmt: skip
    consumer.assign([TopicPartition(topic, partition, 0)])
    found: list[Message] = []
    deadline = time.monotonic() + timeout_s
    while len(found) < count:
        if time.monotonic() > deadline:
            pytest.fail(f"{len(found)} of {count} messages in {topic} within {timeout_s:.0f} s")
        found += [m for m in consumer.consume(count - len(found), 0.2) if m.error() is None]
    consumer.close()
    return found


def headers(message: Message) -> dict[str, str]:
    """A message's headers as text."""
    return {name: (value or b"").decode() for name, value in message.headers() or []}


def configure(brokers: str, topic: str, configs: dict[str, str]) -> None:
    """Change a topic's configuration; `topic` empty: the broker's."""
    kind, name = ConfigResource.Type.TOPIC, topic
    if not topic:
        kind, name = ConfigResource.Type.BROKER, "1"
    entries = [
        ConfigEntry(key, value, incremental_operation=AlterConfigOpType.SET)
        for key, value in configs.items()
    ]
    resource = ConfigResource(kind, name, incremental_configs=entries)
    admin = AdminClient({"bootstrap.servers": brokers})
    admin.incremental_alter_configs([resource])[resource].result(60)

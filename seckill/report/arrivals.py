"""The order of arrival in Kafka: a bounded read of the topic, as a member of no group."""

import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from confluent_kafka import Consumer, KafkaError, KafkaException, TopicPartition

from seckill.broker.security import confluent_options
from seckill.errors import BrokerAway
from seckill_project.config import KafkaSection

# Messages taken from the library at once, and seconds to wait for the first of them.
CHUNK, WAIT_S = 10_000, 1.0
# Seconds without any message after which Kafka counts as away.
SILENCE_S = 15.0


@dataclass(frozen=True)
class Arrival:
    """A message and when it arrived, in ms: by the topic's clock, or else by its sender's."""

    partition: int
    offset: int
    at_ms: int
    value: bytes | None


Ranges = Mapping[int, tuple[int, int]]


def shares(ranges: Ranges, limit: int) -> dict[int, tuple[int, int]]:
    """{partition: (first, end)}, cut to `limit` messages at most, each partition alike."""
    share = limit // max(1, len(ranges))
    return {p: (first, max(first, min(end, first + share))) for p, (first, end) in ranges.items()}


def read_arrivals(section: KafkaSection, topic: str, ranges: Ranges) -> Iterator[Arrival]:
    """The messages of {partition: (first, end)}, of each partition in order. Raises BrokerAway."""
    ends = {partition: end for partition, (first, end) in ranges.items() if end > first}
    consumer = Consumer(
        {
            **confluent_options(section),
            "group.id": "seckill-report",
            "enable.auto.commit": False,
            "enable.partition.eof": True,
            "auto.offset.reset": "earliest",
            "log_level": 2,
        }
    )
    try:
        consumer.assign([TopicPartition(topic, p, ranges[p][0]) for p in ends])
        heard = time.monotonic()
        while ends:
            for message in consumer.consume(CHUNK, WAIT_S):
                heard = time.monotonic()
                partition, offset = message.partition(), message.offset()
                assert partition is not None
                assert offset is not None
                error = message.error()
                if error is not None and error.code() != KafkaError._PARTITION_EOF:
                    if not error.retriable() and error.code() != KafkaError._ALL_BROKERS_DOWN:
                        raise BrokerAway(error.str())
                    continue
                end = ends.get(partition)
                if end is None:
                    continue
                if error is not None or offset + 1 >= end:
                    del ends[partition]
                if error is None and offset < end:
                    yield Arrival(partition, offset, message.timestamp()[1], message.value())
            if time.monotonic() - heard > SILENCE_S:
                raise BrokerAway(f"no message of {topic} within {SILENCE_S:.0f} s")
    except KafkaException as away:
        raise BrokerAway(away) from None
    finally:
        consumer.close()

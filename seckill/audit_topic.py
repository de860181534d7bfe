"""A topic read for the audit: each partition from its oldest message to a given offset, in batches.

On confluent-kafka, whichever client the consumers use: it is the fast one, and reading in a group's
name is not needed. Joins no group, commits nothing.
"""

import time
from collections.abc import Iterator
from typing import Any

from confluent_kafka import Consumer, KafkaError, KafkaException, TopicPartition

from seckill.broker.security import confluent_options
from seckill.broker.topics import Topics
from seckill.errors import BrokerAway
from seckill_project.config import KafkaSection

# Messages in one batch.
BATCH = 5_000
# Seconds of one wait for messages, and without any before Kafka counts as away.
WAIT_S, PATIENCE_S = 0.5, 30.0
# Seconds for an answer about offsets.
ANSWER_S = 10.0


class CannotRead(Exception):
    """The topic is not there, or was replaced meanwhile. The message says what to do."""


class TopicReader:
    """One topic. A context manager; raises BrokerAway and CannotRead."""

    def __init__(self, section: KafkaSection) -> None:
        self.name = section.topic
        self._section = section
        self.source = self._source()
        self.consumer = Consumer(
            {
                # Needed by the library; nothing is committed in its name.
                "group.id": "seckill-audit",
                "client.id": "seckill-audit",
                "enable.auto.commit": False,
                "enable.auto.offset.store": False,
                "enable.partition.eof": True,
                "auto.offset.reset": "earliest",
                "isolation.level": "read_committed",
                "allow.auto.create.topics": False,
                "queued.max.messages.kbytes": 16 * 1024,
                "fetch.message.max.bytes": 2 * 1024 * 1024,
                "fetch.queue.backoff.ms": 10,
                "log_level": 2,
                **confluent_options(section),
            }
        )

    def __enter__(self) -> "TopicReader":
        return self

    def __exit__(self, *error: object) -> None:
        self.consumer.close()

    def _source(self) -> str:
        with Topics(self._section) as topics:
            source = topics.source(self.name)
        if source is None:
            raise CannotRead(
                f"topic {self.name} does not exist; name the sale's topic with --topic"
            )
        return source

    def check_source(self) -> None:
        """Raises CannotRead where the topic was deleted and made again since it was opened."""
        if self._source() != self.source:
            raise CannotRead(f"topic {self.name} was replaced while it was read; try again")

    def messages(self, partition: int, end: int) -> "Messages":
        """The messages of a partition below `end`, in batches."""
        return Messages(self.consumer, self.name, partition, end)


class Messages:
    """Messages of one partition. `oldest` and `end` are what Kafka keeps when it is opened."""

    def __init__(self, consumer: Consumer, topic: str, partition: int, below: int) -> None:
        self._consumer = consumer
        self._topic = topic
        self._partition = partition
        self._below = below
        self.oldest, self.end = self._offsets()

    def oldest_now(self) -> int:
        """The oldest offset that is kept by now: retention goes on while it is read."""
        return self._offsets()[0]

    def __iter__(self) -> Iterator[list[tuple[int, bytes | None]]]:
        if min(self._below, self.end) <= self.oldest:
            return
        self._consumer.assign([TopicPartition(self._topic, self._partition, self.oldest)])
        heard_at, following = time.monotonic(), self.oldest
        while following < min(self._below, self.end):
            batch: list[tuple[int, bytes | None]] = []
            # It waits for as many as it is asked for, or for the time.
            wanted = min(BATCH, self._below - following)
            for message in self._consumer.consume(wanted, WAIT_S):
                following = self._take(message, batch, following)
                heard_at = time.monotonic()
            yield batch
            if time.monotonic() - heard_at > PATIENCE_S:
                raise BrokerAway(
                    f"partition {self._partition} sends nothing after offset {following}"
                )
        self._consumer.unassign()

    def _take(self, message: Any, batch: list[tuple[int, bytes | None]], following: int) -> int:
        """Add a message that counts. The offset after it."""
        error = message.error()
        if error is not None:
            if error.code() == KafkaError._PARTITION_EOF:
                return max(following, int(message.offset()))
            if error.fatal() or not error.retriable():
                raise BrokerAway(error)
            return following
        offset = int(message.offset())
        if offset < self._below:
            batch.append((offset, message.value()))
        return offset + 1

    def _offsets(self) -> tuple[int, int]:
        try:
            found = self._consumer.get_watermark_offsets(
                TopicPartition(self._topic, self._partition), ANSWER_S
            )
        except KafkaException as away:
            code = away.args[0].code()
            if code in (KafkaError.UNKNOWN_TOPIC_OR_PART, KafkaError._UNKNOWN_PARTITION):
                raise CannotRead(
                    f"topic {self._topic} has no partition {self._partition}, but the sale has "
                    "decided one: is it another topic?"
                ) from None
            raise BrokerAway(away) from None
        if found is None:
            raise BrokerAway(f"no answer about partition {self._partition}")
        return int(found[0]), int(found[1])

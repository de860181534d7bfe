"""A topic read by itself: each partition from its oldest message to a given offset, in batches.

For the audit and for dead letters. On confluent-kafka, whichever client the consumers use: it is
the fast one, and reading in a group's name is not needed. Joins no group, commits nothing.
"""

import time
from collections.abc import Iterator

from confluent_kafka import Consumer, KafkaError, KafkaException, Message, TopicPartition

from seckill.broker.security import confluent_options
from seckill.broker.topics import Topics
from seckill.errors import BrokerAway
from seckill.wire import MAX_ID
from seckill_project.config import KafkaSection

# Messages in one batch.
BATCH = 5_000
# Seconds of one wait for messages, and without any before Kafka counts as away.
WAIT_S, PATIENCE_S = 0.5, 30.0
# Seconds for an answer about offsets.
ANSWER_S = 10.0


class CannotRead(Exception):
    """The topic is not there, or was replaced meanwhile. The message says what to do."""


def open_reader(section: KafkaSection, fetch_kb: int = 2048) -> Consumer:
    """A consumer that is to be assigned by hand, and tells where a partition ends."""
    return Consumer(
        {
            # Needed by the library; nothing is committed in its name.
            "group.id": "seckill-reader",
            "client.id": "seckill-reader",
            "enable.auto.commit": False,
            "enable.auto.offset.store": False,
            "enable.partition.eof": True,
            "auto.offset.reset": "earliest",
            "isolation.level": "read_committed",
            "allow.auto.create.topics": False,
            "queued.max.messages.kbytes": 8 * fetch_kb,
            "fetch.message.max.bytes": fetch_kb * 1024,
            "fetch.queue.backoff.ms": 10,
            "log_level": 2,
            **confluent_options(section),
        }
    )


class TopicReader:
    """One topic. A context manager; raises BrokerAway and CannotRead."""

    def __init__(self, section: KafkaSection) -> None:
        self.name = section.topic
        self._section = section
        self.source = self._source()
        self.consumer = open_reader(section)

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

    def messages(self, partition: int, end: int = MAX_ID, first: int = 0) -> "Messages":
        """The messages of a partition from `first` on and below `end`, in batches."""
        return Messages(self.consumer, self.name, partition, end, first)


class Messages:
    """Messages of one partition. `oldest` and `end` are what Kafka keeps when it is opened."""

    def __init__(
        self, consumer: Consumer, topic: str, partition: int, below: int, first: int = 0
    ) -> None:
        self._consumer = consumer
        self._topic = topic
        self._partition = partition
        self._below = below
        self._first = first
        self.oldest, self.end = self._offsets()

    def oldest_now(self) -> int:
        """The oldest offset that is kept by now: retention goes on while it is read."""
        return self._offsets()[0]

    def __iter__(self) -> Iterator[list[Message]]:
        following = max(self._first, self.oldest)
        if min(self._below, self.end) <= following:
            return
        self._consumer.assign([TopicPartition(self._topic, self._partition, following)])
        heard_at = time.monotonic()
        while following < min(self._below, self.end):
            batch: list[Message] = []
            # It waits for as many as it is asked for, or for the time.
            wanted = min(BATCH, min(self._below, self.end) - following)
            for message in self._consumer.consume(wanted, WAIT_S):
                following = self._take(message, batch, following)
                heard_at = time.monotonic()
            yield batch
            if time.monotonic() - heard_at > PATIENCE_S:
                raise BrokerAway(
                    f"partition {self._partition} sends nothing after offset {following}"
                )
        self._consumer.unassign()

    def _take(self, message: Message, batch: list[Message], following: int) -> int:
        """Add a message that counts. The offset after it."""
        error = message.error()
        if error is not None:
            if error.code() == KafkaError._PARTITION_EOF:
                return max(following, message.offset() or 0)
            if error.fatal() or not error.retriable():
                raise BrokerAway(error)
            return following
        offset = message.offset() or 0
        if offset < self._below:
            batch.append(message)
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

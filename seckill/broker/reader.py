"""Reads a topic outside a consumer group: each partition from an offset to a limit, in batches.

For the audit, the report, dead letters and the lag. It always uses kafka-python, the client whose
memory is bounded. Joins no group, commits nothing.
"""

import time
from collections.abc import Iterator

from kafka import KafkaConsumer, TopicPartition
from kafka.errors import KafkaError

from seckill.broker.refusals import Needs, judged
from seckill.broker.security import kafka_python_options
from seckill.broker.topics import Topics
from seckill.broker.unopened import unopened
from seckill.broker.unpack import Message, bound
from seckill.config.sections import KafkaSection
from seckill.errors import BrokerAway
from seckill.formats.outcomes import MAX_ID

# Messages in one batch.
BATCH = 5_000
# Seconds of one wait for messages, and seconds without progress until Kafka counts as away.
WAIT_S, PATIENCE_S = 0.5, 30.0


class CannotRead(Exception):
    """The topic does not exist, or was replaced meanwhile. The message says what to do."""


class Reader:
    """Reads one partition at a time, as a consumer sees it. All methods raise BrokerAway."""

    def __init__(self, section: KafkaSection, fetch_kb: int = 2048) -> None:
        try:
            self._consumer = KafkaConsumer(
                client_id="seckill-reader",
                group_id=None,
                enable_auto_commit=False,
                auto_offset_reset="earliest",
                isolation_level="read_committed",
                allow_auto_create_topics=False,
                max_partition_fetch_bytes=fetch_kb * 1024,
                fetch_max_bytes=4 * fetch_kb * 1024,
                metrics_enabled=False,
                **kafka_python_options(section),
            )
        except (KafkaError, OSError) as away:
            raise unopened(section, away) from None
        self._budget = bound(self._consumer)
        self._place: TopicPartition | None = None

    def go_to(self, topic: str, partition: int, offset: int) -> None:
        """Read from this offset on."""
        self._place = TopicPartition(topic, partition)
        self._consumer.assign([self._place])
        self._consumer.seek(self._place, offset)

    def read(self, most: int, wait_s: float = WAIT_S) -> tuple[list[Message], int]:
        """The next messages, and the offset after them and after transaction markers."""
        assert self._place is not None
        self._budget.begin()
        try:
            polled = self._consumer.poll(timeout_ms=int(wait_s * 1000), max_records=most)
            following = self._consumer.position(self._place, timeout_ms=int(wait_s * 1000))
        except KafkaError as away:
            raise judged(away, needs=Needs("READ", self._place.topic)) from None
        return polled.get(self._place, []), int(following or 0)

    def close(self) -> None:
        """Close the connections."""
        self._consumer.close(autocommit=False)


class TopicReader:
    """One topic, as a context manager. Raises BrokerAway and CannotRead."""

    def __init__(self, section: KafkaSection) -> None:
        self.name = section.topic
        self.topics = Topics(section)
        try:
            self.source = self._source()
            self.reader = Reader(section)
        except BaseException:
            self.topics.close()
            raise

    def __enter__(self) -> "TopicReader":
        return self

    def __exit__(self, *error: object) -> None:
        self.reader.close()
        self.topics.close()

    def _source(self) -> str:
        source = self.topics.source(self.name)
        if source is None:
            raise CannotRead(
                f"topic {self.name} does not exist; name the sale's topic with --topic"
            )
        return source

    def check_source(self) -> None:
        """Raises CannotRead if the topic was deleted and created again since it was opened."""
        if self._source() != self.source:
            raise CannotRead(f"topic {self.name} was replaced while it was read; try again")

    def messages(self, partition: int, end: int = MAX_ID, first: int = 0) -> "Messages":
        """The messages of a partition from `first` up to, but not including, `end`, in batches."""
        return Messages(self, partition, end, first)


class Messages:
    """Messages of one partition. `oldest` and `end` are what Kafka holds when it is opened."""

    def __init__(self, topic: TopicReader, partition: int, below: int, first: int = 0) -> None:
        self._topic = topic
        self._partition = partition
        self._first = first
        self.oldest = self.oldest_now()
        self.end = self._of(topic.topics.end_offsets(topic.name))
        # Nothing can be read after the start of an open transaction.
        self._below = min(below, self._of(topic.topics.stable_offsets(topic.name)))

    def oldest_now(self) -> int:
        """The oldest offset that is kept now: retention goes on during the reading."""
        return self._of(self._topic.topics.start_offsets(self._topic.name))

    def __iter__(self) -> Iterator[list[Message]]:
        reader, following = self._topic.reader, max(self._first, self.oldest)
        if self._below <= following:
            return
        reader.go_to(self._topic.name, self._partition, following)
        heard_at = time.monotonic()
        while following < self._below:
            before = following
            batch, following = reader.read(min(BATCH, self._below - following))
            if batch and batch[-1][0] >= self._below:
                batch = [message for message in batch if message[0] < self._below]
            yield batch
            if following > before:
                heard_at = time.monotonic()
            elif time.monotonic() - heard_at > PATIENCE_S:
                raise BrokerAway(
                    f"partition {self._partition} sends nothing after offset {following}"
                )

    def _of(self, offsets: dict[int, int]) -> int:
        if self._partition not in offsets:
            raise CannotRead(
                f"topic {self._topic.name} has no partition {self._partition}, but the sale has "
                "decided one: is it another topic?"
            )
        return offsets[self._partition]

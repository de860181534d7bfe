"""The consumer on confluent-kafka (librdkafka). It needs a tenth of the CPU per message."""

import logging
from collections.abc import Callable, Mapping
from itertools import groupby
from operator import methodcaller

from confluent_kafka import Consumer as LibraryConsumer
from confluent_kafka import KafkaError, KafkaException, Message, TopicPartition

from seckill import broker
from seckill.broker import CannotUnpack, Position, Slice
from seckill.broker.refusals import Needs, judged
from seckill.broker.security import confluent_options
from seckill.broker.traces import traces_of
from seckill.config.sections import ConsumerSection
from seckill.errors import BrokerAway
from seckill.process.events import event

log = logging.getLogger(__name__)

# Limits of the library's prefetch. It unpacks what it fetches, to about five times the size.
FETCH_AHEAD_KB = 4 * 1024
FETCH_BYTES = 2 * 1024 * 1024
PARTITION_FETCH_BYTES = 512 * 1024
# Errors that the library recovers from by itself when the broker is back.
MENDED_BY_THE_LIBRARY = {
    KafkaError._PARTITION_EOF,
    KafkaError._ALL_BROKERS_DOWN,
    KafkaError._TRANSPORT,
    KafkaError._RESOLVE,
    KafkaError._TIMED_OUT,
    KafkaError.UNKNOWN_TOPIC_OR_PART,
    KafkaError.OFFSET_OUT_OF_RANGE,
    KafkaError._MAX_POLL_EXCEEDED,
}
# The library cannot unpack a batch, or its checksum is wrong. It reports this again and again, or
# skips the batch.
NOT_UNPACKED = {
    KafkaError._BAD_COMPRESSION,
    KafkaError._BAD_MSG,
    KafkaError._NOT_IMPLEMENTED,
    KafkaError._CRIT_SYS_RESOURCE,
}
# Seconds to wait for an answer about an offset.
ANSWER_S = 10.0
# Called as `message.headers()`, the interpreter takes a fast path on which it does not notice an
# error of the library and goes on with a null pointer.
_headers_of = methodcaller("headers")


class ConfluentConsumer:
    """`broker.Consumer` on confluent-kafka."""

    def __init__(self, server: ConsumerSection, assigned: Callable[[], None]) -> None:
        self._assigned = assigned
        self._topic = server.topic
        self._needs = Needs("READ", server.topic, server.group_id)
        self._traced = server.otlp_endpoint is not None
        self._changes = 0
        try:
            self._consumer = LibraryConsumer(
                {
                    "group.id": server.group_id,
                    "client.id": broker.CLIENT_ID,
                    "enable.auto.commit": False,
                    "enable.auto.offset.store": False,
                    "auto.offset.reset": "earliest",
                    "isolation.level": "read_committed",
                    "check.crcs": True,
                    "allow.auto.create.topics": False,
                    "partition.assignment.strategy": "range",
                    "session.timeout.ms": server.session_timeout,
                    "heartbeat.interval.ms": server.session_timeout // broker.HEARTBEATS_A_SESSION,
                    "max.poll.interval.ms": broker.max_poll_interval_ms(server),
                    "fetch.message.max.bytes": PARTITION_FETCH_BYTES,
                    "fetch.max.bytes": FETCH_BYTES,
                    "queued.max.messages.kbytes": FETCH_AHEAD_KB,
                    "queued.min.messages": 10_000,
                    "fetch.queue.backoff.ms": 10,
                    "reconnect.backoff.max.ms": broker.RECONNECT_BACKOFF_MAX_MS,
                    "topic.metadata.refresh.interval.ms": 30_000,
                    "log_level": 2,
                    **({"group.instance.id": name} if (name := server.group_instance_id) else {}),
                    **confluent_options(server),
                },
                logger=log,
            )
            self._consumer.subscribe([server.topic], on_assign=self._on_assign)
        except KafkaException as away:
            raise judged(away, needs=self._needs) from None

    def poll(self, timeout_s: float, max_messages: int) -> list[Slice]:
        """See `broker.Consumer`."""
        slices: dict[int, Slice] = {}
        messages: list[Message] = []
        try:
            # `consume` alone would wait for the whole time, unless it gets as many as it may.
            first = self._consumer.poll(timeout_s)
            if first is not None:
                messages.append(first)
                if max_messages > 1:
                    messages += self._consumer.consume(max_messages - 1, 0)
        except KafkaException as away:
            # The library has moved past the messages before the error: they must not be lost.
            if not messages:
                raise judged(away, needs=self._needs) from None
            log.warning("kafka: %s", away, extra=event("kafka-away"))
        if any(map(Message.error, messages)):
            messages = _without_errors(messages, self._needs)
        # Many messages in a row are of one partition; `map` reads them without a Python loop.
        for partition, run in groupby(messages, Message.partition):
            several = list(run)
            part = slices.setdefault(partition or 0, Slice(partition or 0, [], []))
            part.offsets.extend(map(Message.offset, several))  # type: ignore[arg-type]
            part.values.extend(map(Message.value, several))
            if self._traced:
                part.traces.update(traces_of((m.offset() or 0, _headers(m)) for m in several))
        return list(slices.values())

    def committed(self, partition: int) -> Position | None:
        """See `broker.Consumer`."""
        try:
            answer = self._consumer.committed([TopicPartition(self._topic, partition)], timeout=10)
        except KafkaException as away:
            raise judged(away, needs=self._needs) from None
        if answer[0].error is not None:
            raise judged(answer[0].error, needs=self._needs)
        found = answer[0]
        if found.offset < 0:
            return None
        try:
            return Position.read(found.offset, found.metadata)
        except UnicodeDecodeError:
            # Another program committed metadata without a NUL: the library reads past its end.
            return Position(found.offset)

    def commit(self, positions: Mapping[int, Position]) -> None:
        """See `broker.Consumer`."""
        if positions:
            self._consumer.commit(offsets=self._offsets(positions), asynchronous=True)

    def commit_and_wait(self, positions: Mapping[int, Position], timeout_s: float) -> bool:
        """See `broker.Consumer`. The library uses its own timeout."""
        if not positions:
            return True
        try:
            self._consumer.commit(offsets=self._offsets(positions), asynchronous=False)
        except KafkaException:
            return False
        return True

    def assignments(self) -> tuple[int, frozenset[int]]:
        """See `broker.Consumer`."""
        return self._changes, frozenset(tp.partition for tp in self._consumer.assignment())

    def pause(self) -> None:
        """See `broker.Consumer`."""
        try:
            self._consumer.pause(self._consumer.assignment())
        except KafkaException as away:
            raise judged(away, needs=self._needs) from None

    def resume(self) -> None:
        """See `broker.Consumer`."""
        try:
            self._consumer.resume(self._consumer.assignment())
        except KafkaException as away:
            raise judged(away, needs=self._needs) from None

    def oldest(self, partition: int) -> int:
        """See `broker.Consumer`."""
        place = TopicPartition(self._topic, partition)
        try:
            found = self._consumer.get_watermark_offsets(place, ANSWER_S)
        except KafkaException as away:
            raise judged(away, needs=self._needs) from None
        if found is None:
            raise BrokerAway(f"no answer about partition {partition}")
        return int(found[0])

    def seek(self, partition: int, offset: int) -> None:
        """See `broker.Consumer`."""
        try:
            self._consumer.seek(TopicPartition(self._topic, partition, offset))
        except KafkaException as away:
            raise judged(away, needs=self._needs) from None

    def close(self) -> None:
        """See `broker.Consumer`."""
        self._consumer.close()

    def _on_assign(self, consumer: object, partitions: list[TopicPartition]) -> None:
        self._assigned()
        self._changes += 1

    def _offsets(self, positions: Mapping[int, Position]) -> list[TopicPartition]:
        return [
            TopicPartition(self._topic, partition, position.offset, position.metadata)
            for partition, position in positions.items()
        ]


def _headers(message: Message) -> list[tuple[str, bytes | None]]:
    """The headers of a message. [] if a name is not UTF-8, because the library then fails."""
    try:
        return _headers_of(message) or []
    except SystemError:
        # Never ask again: the library would return a list with a null pointer, and reading crashes.
        return []


def _without_errors(messages: list[Message], needs: Needs) -> list[Message]:
    """The messages without the errors among them.

    Raises CannotUnpack, and BrokerAway if there are only errors that do not recover by themselves.
    The library has moved past messages that came with an error, so they must not be lost.
    """
    kept, staying = [], None
    for message in messages:
        error = message.error()
        if error is None:
            kept.append(message)
        elif error.code() in MENDED_BY_THE_LIBRARY:
            log.debug("kafka: %s", error, extra=event("library"))
        elif error.code() in NOT_UNPACKED:
            # The messages before it are read again.
            raise CannotUnpack(error.str())
        else:
            log.warning("kafka: %s", error, extra=event("kafka-away"))
            staying = error
    if staying is not None and not kept:
        raise judged(staying, needs=needs)
    return kept

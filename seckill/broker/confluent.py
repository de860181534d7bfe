"""The consumer on confluent-kafka (librdkafka): an order of magnitude less CPU a message."""

import logging
from collections.abc import Callable, Mapping
from itertools import groupby
from operator import methodcaller

from confluent_kafka import Consumer as LibraryConsumer
from confluent_kafka import KafkaError, KafkaException, Message, TopicPartition

from seckill import broker
from seckill.broker import CannotUnpack, Position, Slice
from seckill.broker.security import confluent_options
from seckill.broker.traces import traces_of
from seckill.errors import BrokerAway
from seckill.events import event
from seckill_project.config import Server

log = logging.getLogger(__name__)

# The library unpacks what it fetches ahead, to some five times the size: these bound its memory.
FETCH_AHEAD_KB = 4 * 1024
FETCH_BYTES = 2 * 1024 * 1024
PARTITION_FETCH_BYTES = 512 * 1024
# Errors that the library mends by itself: it goes on when the broker is back.
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
# A batch that the library cannot unpack, or whose checksum is wrong. It says so again and again, or
# goes on behind it.
NOT_UNPACKED = {
    KafkaError._BAD_COMPRESSION,
    KafkaError._BAD_MSG,
    KafkaError._NOT_IMPLEMENTED,
    KafkaError._CRIT_SYS_RESOURCE,
}
# Seconds for an answer about an offset.
ANSWER_S = 10.0
# Not called as `message.headers()`: the interpreter makes a short way of such a call, on which it
# does not see that the library has failed, and goes on with the hole.
_headers_of = methodcaller("headers")


class ConfluentConsumer:
    """`broker.Consumer` on confluent-kafka."""

    def __init__(self, server: Server, assigned: Callable[[], None]) -> None:
        self._assigned = assigned
        self._topic = server.topic
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
                    **confluent_options(server),
                },
                logger=log,
            )
            self._consumer.subscribe([server.topic], on_assign=self._on_assign)
        except KafkaException as away:
            raise BrokerAway(away) from None

    def poll(self, timeout_s: float, max_messages: int) -> list[Slice]:
        """See `broker.Consumer`."""
        slices: dict[int, Slice] = {}
        messages: list[Message] = []
        try:
            # `consume` alone would wait for all the time, unless all that may come has come.
            first = self._consumer.poll(timeout_s)
            if first is not None:
                messages.append(first)
                if max_messages > 1:
                    messages += self._consumer.consume(max_messages - 1, 0)
        except KafkaException as away:
            # The library has moved past what came before this: it must not be lost.
            if not messages:
                raise BrokerAway(away) from None
            log.warning("kafka: %s", away, extra=event("kafka-away"))
        if any(map(Message.error, messages)):
            messages = _without_errors(messages)
        # Many come in a row from one partition: `map` reads them without a step of the interpreter.
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
            raise BrokerAway(away) from None
        if answer[0].error is not None:
            raise BrokerAway(answer[0].error)
        found = answer[0]
        if found.offset < 0:
            return None
        try:
            return Position.read(found.offset, found.metadata)
        except UnicodeDecodeError:
            # Committed by another program, without a NUL: the library reads what lies behind it.
            return Position(found.offset)

    def commit(self, positions: Mapping[int, Position]) -> None:
        """See `broker.Consumer`."""
        if positions:
            self._consumer.commit(offsets=self._offsets(positions), asynchronous=True)

    def commit_and_wait(self, positions: Mapping[int, Position], timeout_s: float) -> bool:
        """See `broker.Consumer`. The library has a time-out of its own."""
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
            raise BrokerAway(away) from None

    def resume(self) -> None:
        """See `broker.Consumer`."""
        try:
            self._consumer.resume(self._consumer.assignment())
        except KafkaException as away:
            raise BrokerAway(away) from None

    def oldest(self, partition: int) -> int:
        """See `broker.Consumer`."""
        place = TopicPartition(self._topic, partition)
        try:
            found = self._consumer.get_watermark_offsets(place, ANSWER_S)
        except KafkaException as away:
            raise BrokerAway(away) from None
        if found is None:
            raise BrokerAway(f"no answer about partition {partition}")
        return int(found[0])

    def seek(self, partition: int, offset: int) -> None:
        """See `broker.Consumer`."""
        try:
            self._consumer.seek(TopicPartition(self._topic, partition, offset))
        except KafkaException as away:
            raise BrokerAway(away) from None

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
    """Those of a message; none where the name of one is no UTF-8, since the library has none
    then.
    """
    try:
        return _headers_of(message) or []
    except SystemError:
        # It must not be asked again: it would give a list with a hole, and who looks at it crashes.
        return []


def _without_errors(messages: list[Message]) -> list[Message]:
    """The messages among them. Raises BrokerAway where there are only errors that stay, and
    CannotUnpack.

    The library has moved past messages that came beside an error: they must not be lost.
    """
    kept, staying = [], None
    for message in messages:
        error = message.error()
        if error is None:
            kept.append(message)
        elif error.code() in MENDED_BY_THE_LIBRARY:
            log.debug("kafka: %s", error, extra=event("library"))
        elif error.code() in NOT_UNPACKED:
            # What came before it is read again.
            raise CannotUnpack(error.str())
        else:
            log.warning("kafka: %s", error, extra=event("kafka-away"))
            staying = error
    if staying is not None and not kept:
        raise BrokerAway(staying)
    return kept

"""Sending to Kafka, behind one narrow interface. Owns what the project may ask of a producer.

Two clients fulfil it, chosen by `kafka_client`; both pass the same tests. Each waits for all
replicas, numbers its records so that a retry writes nothing twice, and compresses with lz4. The
library is imported when it is chosen, never before.
"""

import logging
import threading
import time
from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, Protocol

from seckill.broker.security import confluent_options, kafka_python_options
from seckill.errors import BrokerAway

if TYPE_CHECKING:
    from seckill_project.config import KafkaSection

log = logging.getLogger(__name__)

# Seconds for the first contact: whoever wants to wait longer opens again.
CONNECT_S = 5.0
# Seconds until a record that Kafka does not acknowledge is given up.
DELIVERY_TIMEOUT_S = 120.0
# Bytes of a record for each place it takes among the records in flight: a long one takes several.
PLACE_BYTES = 4096
# The longest record, as in Kafka's own default.
MAX_RECORD_BYTES = 1024 * 1024
BATCH_BYTES = 64 * 1024
RECONNECT_BACKOFF_MAX_MS = 1_000
# Seconds between two looks at the acknowledgements while waiting for them.
LOOK_S = 0.02
NO_ROOM = "too many records wait for an acknowledgement"
CLOSED = "given up when the producer was closed: Kafka may or may not have them"


class Producer(Protocol):
    """Sends records to one topic. For one thread; every record ends as delivered or as failed."""

    delivered: int
    """Records that Kafka has acknowledged."""
    failed: int
    """Records that were given up."""
    last_error: str
    """Why the last one was given up, or what is wrong with the connection; empty: nothing is."""

    def send(self, value: bytes | None, headers: Sequence[tuple[str, bytes]] = ()) -> None:
        """Take a record over; None is a tombstone. Waits while too many are in flight.

        Raises nothing for a record that cannot be sent: it counts as failed. So does one that
        found no room within the delivery time-out: Kafka is away then. Who must not wait asks
        `room` first.
        """

    def room(self, timeout_s: float = 0.0) -> int:
        """How many short records can be sent without waiting; waits so long for the first place."""

    def flush(self, timeout_s: float) -> int:
        """Wait until all is acknowledged or given up. The records that are neither, in time."""

    def close(self) -> None:
        """Give up what is not acknowledged, end the connections. Flush before."""


def open_producer(
    settings: "KafkaSection",
    topic: str,
    *,
    linger_ms: int = 5,
    max_in_flight: int = 20_000,
    delivery_timeout_s: float = DELIVERY_TIMEOUT_S,
) -> Producer:
    """A producer that has seen the topic. Raises BrokerAway after CONNECT_S, never later.

    `max_in_flight` bounds the memory: records that are not acknowledged, of 4 KB at most each.
    """
    if settings.kafka_client == "confluent-kafka":
        return ConfluentProducer(settings, topic, linger_ms, max_in_flight, delivery_timeout_s)
    return KafkaPythonProducer(settings, topic, linger_ms, max_in_flight, delivery_timeout_s)


class KafkaPythonProducer:
    """`Producer` on kafka-python. Acknowledgements come on the library's own thread."""

    def __init__(
        self,
        settings: "KafkaSection",
        topic: str,
        linger_ms: int,
        max_in_flight: int,
        delivery_timeout_s: float,
    ) -> None:
        from kafka import KafkaProducer
        from kafka.errors import KafkaError
        from kafka.partitioner import StickyPartitioner

        self.delivered = 0
        self.failed = 0
        self.last_error = ""
        self._errors = (KafkaError, ValueError)
        self._timeout_error = KafkaError
        self._topic = topic
        self._limit = max_in_flight
        self._delivery_timeout_s = delivery_timeout_s
        self._sent = 0
        # Places of records that are in flight or were: only differences count.
        self._taken = 0
        self._freed = 0
        # A future that is done already calls back on our thread: two threads count.
        self._counting = threading.Lock()
        delivery_ms = int(delivery_timeout_s * 1000)
        try:
            self._producer = KafkaProducer(
                client_id="seckill-producer",
                acks="all",
                enable_idempotence=True,
                compression_type="lz4",
                linger_ms=linger_ms,
                batch_size=BATCH_BYTES,
                max_request_size=MAX_RECORD_BYTES,
                partitioner=StickyPartitioner(),
                allow_auto_create_topics=False,
                max_block_ms=int(CONNECT_S * 1000),
                bootstrap_timeout_ms=int(CONNECT_S * 1000),
                request_timeout_ms=min(15_000, max(1, delivery_ms - linger_ms - 1)),
                delivery_timeout_ms=delivery_ms,
                reconnect_backoff_max_ms=RECONNECT_BACKOFF_MAX_MS,
                metrics_enabled=False,
                **kafka_python_options(settings),
            )
        except (KafkaError, OSError) as away:
            raise BrokerAway(f"{settings.brokers}: {away}") from None
        try:
            self._producer.partitions_for(topic)
        except KafkaError as away:
            self._producer.close(timeout=1)
            raise BrokerAway(f"topic {topic}: {away}") from None

    def send(self, value: bytes | None, headers: Sequence[tuple[str, bytes]] = ()) -> None:
        """See `Producer`."""
        self._sent += 1
        if not self.room(self._delivery_timeout_s):
            self._on_failed(BrokerAway(NO_ROOM), 0)
            return
        # The library wants a key with a tombstone; a changing one spreads them over the partitions.
        key = self._sent.to_bytes(8) if value is None else None
        places = 1 if value is None else 1 + len(value) // PLACE_BYTES
        self._taken += places
        try:
            future = self._producer.send(self._topic, value, key, list(headers))
        except self._errors as wrong:
            self._on_failed(wrong, places)
            return
        if places == 1:
            future.add_callback(self._on_delivered)
            future.add_errback(self._on_failed)
        else:
            future.add_callback(partial(self._on_delivered, places=places))
            future.add_errback(partial(self._on_failed, places=places))

    def room(self, timeout_s: float = 0.0) -> int:
        """See `Producer`."""
        room = self._limit - (self._taken - self._freed)
        if room > 0:
            return room
        deadline = time.monotonic() + timeout_s
        while True:
            room = self._limit - (self._taken - self._freed)
            left = deadline - time.monotonic()
            if room > 0 or left <= 0:
                return max(room, 0)
            time.sleep(min(LOOK_S, left))

    def flush(self, timeout_s: float) -> int:
        """See `Producer`."""
        deadline = time.monotonic() + timeout_s
        while (waiting := self._waiting()) and (left := deadline - time.monotonic()) > 0:
            try:
                # The library's time-out is for each batch: short ones, so that the sum stays ours.
                self._producer.flush(timeout=min(0.1, left))
            except self._timeout_error:
                continue
        return waiting

    def close(self) -> None:
        """See `Producer`."""
        if self._waiting():
            # With records in flight the library's close() raises out of its own flush and leaves
            # its thread running (kafka-python 3.0): end that thread first.
            sender = self._producer._sender
            sender.force_close()
            sender.join(CONNECT_S)
            self.last_error = CLOSED
        self._producer.close(timeout=CONNECT_S)

    def _waiting(self) -> int:
        return self._sent - self.delivered - self.failed

    def _on_delivered(self, metadata: object, places: int = 1) -> None:
        with self._counting:
            self.delivered += 1
            self._freed += places

    def _on_failed(self, error: Exception, places: int = 1) -> None:
        with self._counting:
            self.failed += 1
            self._freed += places
            self.last_error = str(error) or type(error).__name__


class ConfluentProducer:
    """`Producer` on confluent-kafka. Acknowledgements are counted while we poll, on our thread."""

    def __init__(
        self,
        settings: "KafkaSection",
        topic: str,
        linger_ms: int,
        max_in_flight: int,
        delivery_timeout_s: float,
    ) -> None:
        from confluent_kafka import KafkaException
        from confluent_kafka import Producer as LibraryProducer

        self.delivered = 0
        self.failed = 0
        self.last_error = ""
        self._error = KafkaException
        self._topic = topic
        self._limit = max_in_flight
        self._delivery_timeout_s = delivery_timeout_s
        options: dict[str, Any] = {
            "client.id": "seckill-producer",
            "acks": "all",
            "enable.idempotence": True,
            "compression.type": "lz4",
            "linger.ms": linger_ms,
            "message.max.bytes": MAX_RECORD_BYTES,
            "delivery.timeout.ms": int(delivery_timeout_s * 1000),
            "queue.buffering.max.messages": max_in_flight,
            "queue.buffering.max.kbytes": max(1024, max_in_flight * PLACE_BYTES // 1024),
            "reconnect.backoff.max.ms": RECONNECT_BACKOFF_MAX_MS,
            "on_delivery": self._on_delivery,
            "error_cb": self._on_error,
            "log_level": 2,
            **confluent_options(settings),
        }
        try:
            self._producer = LibraryProducer(options, logger=log)
            found = self._producer.list_topics(topic, timeout=CONNECT_S).topics[topic]
        except KafkaException as away:
            raise BrokerAway(f"{settings.brokers}: {_reason(away)}") from None
        if found.error is not None:
            raise BrokerAway(f"topic {topic}: {_reason(found.error)}")

    def send(self, value: bytes | None, headers: Sequence[tuple[str, bytes]] = ()) -> None:
        """See `Producer`."""
        deadline = time.monotonic() + self._delivery_timeout_s
        while True:
            try:
                if headers:
                    self._producer.produce(self._topic, value, headers=list(headers))
                else:
                    self._producer.produce(self._topic, value)
                return
            except BufferError:
                if time.monotonic() > deadline:
                    self.failed += 1
                    self.last_error = NO_ROOM
                    return
                self._producer.poll(LOOK_S)
            except self._error as wrong:
                self.failed += 1
                self.last_error = _reason(wrong)
                return

    def room(self, timeout_s: float = 0.0) -> int:
        """See `Producer`."""
        deadline = time.monotonic() + timeout_s
        self._producer.poll(0)
        while (room := self._limit - len(self._producer)) <= 0:
            left = deadline - time.monotonic()
            if left <= 0:
                return 0
            self._producer.poll(min(LOOK_S, left))
        return room

    def flush(self, timeout_s: float) -> int:
        """See `Producer`."""
        return int(self._producer.flush(timeout_s))

    def close(self) -> None:
        """See `Producer`."""
        if len(self._producer):
            self._producer.purge()
            self._producer.flush(CONNECT_S)
            self.last_error = CLOSED
        self._producer.close()

    def _on_delivery(self, error: object, message: object) -> None:
        if error is None:
            self.delivered += 1
        else:
            self.failed += 1
            self.last_error = _reason(error)

    def _on_error(self, error: object) -> None:
        self.last_error = _reason(error)


def _reason(wrong: object) -> str:
    """librdkafka's own words, without its code, from its error or an exception around it."""
    error = wrong.args[0] if isinstance(wrong, Exception) and wrong.args else wrong
    return str(error.str()) if hasattr(error, "str") else str(error)

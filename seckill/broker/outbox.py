"""Sends single requests for people who wait: each is acknowledged with its partition's offset.

Unlike `producer.Producer` it never waits, its memory is bounded, and a record that Kafka has not
taken for EXPIRE_S is given up, so that no order appears long after its buyer has left.
"""

import logging
from collections import deque
from collections.abc import Callable
from functools import partial
from typing import Any, Protocol

from confluent_kafka import KafkaException
from confluent_kafka import Producer as LibraryProducer
from kafka import KafkaProducer
from kafka.errors import KafkaError, KafkaTimeoutError

from seckill.broker.security import confluent_options, kafka_python_options
from seckill.config.sections import KafkaSection
from seckill.errors import BrokerAway
from seckill.process.events import event

log = logging.getLogger(__name__)

# Seconds for the first contact.
CONNECT_S = 5.0
# Seconds after which a record that Kafka has not taken is given up.
EXPIRE_S = 10.0
# Records, and bytes, that may wait for an acknowledgement.
MAX_RECORDS = 20_000
MAX_BYTES = 32 * 1024 * 1024
# Milliseconds that a record waits for others to share its batch.
LINGER_MS = 2
# Seconds between two attempts to flush.
LOOK_S = 0.02

# Called with the offset and ""; or with -1 and the reason why it is not known to be taken.
Done = Callable[[int, str], None]


class Outbox(Protocol):
    """Sends records to the partitions of one topic. Not thread-safe."""

    @property
    def partitions(self) -> int:
        """The number of the topic's partitions."""

    @property
    def waiting(self) -> int:
        """Records that have no result yet."""

    def send(self, value: bytes, partition: int, done: Done) -> bool:
        """Queue a record; False if there is no room: then it is not sent and `done` not called."""

    def poll(self) -> None:
        """Call `done` of the records that have a result by now. Does not wait."""

    def flush(self, timeout_s: float) -> int:
        """Wait until all have a result; returns how many have none."""

    def close(self) -> None:
        """Give up what has no result, and close the connections."""


class ConfluentOutbox:
    """`Outbox` on confluent-kafka."""

    def __init__(self, settings: KafkaSection, topic: str) -> None:
        self._topic = topic
        options: dict[str, Any] = {
            "client.id": "seckill-door",
            "acks": "all",
            "enable.idempotence": True,
            "compression.type": "lz4",
            "linger.ms": LINGER_MS,
            "delivery.timeout.ms": int(EXPIRE_S * 1000),
            "queue.buffering.max.messages": MAX_RECORDS,
            "queue.buffering.max.kbytes": MAX_BYTES // 1024,
            "reconnect.backoff.max.ms": 1_000,
            "log_level": 2,
            **confluent_options(settings),
        }
        try:
            self._producer = LibraryProducer(options, logger=log)
            found = self._producer.list_topics(topic, timeout=CONNECT_S).topics[topic]
        except KafkaException as away:
            raise BrokerAway(f"{settings.brokers}: {away.args[0].str()}") from None
        if found.error is not None:
            raise BrokerAway(f"topic {topic}: {found.error.str()}")
        self.partitions = len(found.partitions)

    @property
    def waiting(self) -> int:
        """See `Outbox`."""
        return len(self._producer)

    def send(self, value: bytes, partition: int, done: Done) -> bool:
        """See `Outbox`."""

        def on_delivery(error: Any, message: Any) -> None:
            if error is None:
                done(message.offset(), "")
            else:
                done(-1, str(error.str()))

        try:
            self._producer.produce(self._topic, value, partition=partition, on_delivery=on_delivery)
        except BufferError:
            return False
        except KafkaException as wrong:
            done(-1, str(wrong.args[0].str()))
        return True

    def poll(self) -> None:
        """See `Outbox`."""
        self._producer.poll(0)

    def flush(self, timeout_s: float) -> int:
        """See `Outbox`."""
        return int(self._producer.flush(timeout_s))

    def close(self) -> None:
        """See `Outbox`."""
        if len(self._producer):
            self._producer.purge()
            self._producer.flush(CONNECT_S)
        self._producer.close()


class KafkaPythonOutbox:
    """`Outbox` on kafka-python. Its thread puts results aside; `poll` hands them over."""

    def __init__(self, settings: KafkaSection, topic: str) -> None:
        self._topic = topic
        self._results: deque[tuple[Done, int, str]] = deque()
        self._sent = self._handed = 0
        self._bytes = 0
        try:
            self._producer = KafkaProducer(
                client_id="seckill-door",
                acks="all",
                enable_idempotence=True,
                compression_type="lz4",
                linger_ms=LINGER_MS,
                allow_auto_create_topics=False,
                max_block_ms=0,
                bootstrap_timeout_ms=int(CONNECT_S * 1000),
                request_timeout_ms=int(EXPIRE_S * 1000) - LINGER_MS,
                delivery_timeout_ms=int(EXPIRE_S * 1000),
                reconnect_backoff_max_ms=1_000,
                metrics_enabled=False,
                **kafka_python_options(settings),
            )
        except (KafkaError, OSError) as away:
            raise BrokerAway(f"{settings.brokers}: {away}") from None
        try:
            found = self._producer.partitions_for(topic)
        except KafkaError as away:
            self._producer.close(timeout=1)
            raise BrokerAway(f"topic {topic}: {away}") from None
        self.partitions = len(found or ())

    @property
    def waiting(self) -> int:
        """See `Outbox`."""
        return self._sent - self._handed

    def send(self, value: bytes, partition: int, done: Done) -> bool:
        """See `Outbox`."""
        if self.waiting >= MAX_RECORDS:
            return False
        try:
            future = self._producer.send(self._topic, value, partition=partition)
        except (KafkaTimeoutError, BufferError):
            return False
        except (KafkaError, ValueError) as wrong:
            done(-1, str(wrong) or type(wrong).__name__)
            return True
        self._sent += 1
        future.add_callback(partial(self._taken, done))
        future.add_errback(partial(self._lost, done))
        return True

    def poll(self) -> None:
        """See `Outbox`."""
        while self._results:
            done, offset, error = self._results.popleft()
            self._handed += 1
            done(offset, error)

    def flush(self, timeout_s: float) -> int:
        """See `Outbox`."""
        try:
            self._producer.flush(timeout=timeout_s)
        except KafkaError as late:
            log.debug("flush: %s", late, extra=event("door-flush"))
        self.poll()
        return self.waiting

    def close(self) -> None:
        """See `Outbox`."""
        if self.waiting:
            # See `KafkaPythonProducer.close`.
            sender = self._producer._sender
            sender.force_close()
            sender.join(CONNECT_S)
        self._producer.close(timeout=CONNECT_S)
        self.poll()

    def _taken(self, done: Done, metadata: Any) -> None:
        self._results.append((done, int(metadata.offset), ""))

    def _lost(self, done: Done, error: object) -> None:
        self._results.append((done, -1, str(error) or type(error).__name__))


def open_outbox(settings: KafkaSection, topic: str) -> Outbox:
    """An outbox that has seen the topic. Raises BrokerAway after CONNECT_S."""
    if settings.kafka_client == "confluent-kafka":
        return ConfluentOutbox(settings, topic)
    return KafkaPythonOutbox(settings, topic)

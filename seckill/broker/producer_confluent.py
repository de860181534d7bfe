"""The producer on confluent-kafka (librdkafka). Acknowledgements are counted during polls."""

import logging
import time
from collections.abc import Sequence
from functools import partial
from typing import Any

from confluent_kafka import KafkaException
from confluent_kafka import Producer as LibraryProducer

from seckill.broker import producer
from seckill.broker.refusals import Needs, judged, reason_of
from seckill.broker.security import confluent_options
from seckill.broker.unopened import unopened
from seckill.config.sections import KafkaSection

log = logging.getLogger(__name__)


def open_library(
    settings: KafkaSection, topic: str, options: dict[str, Any]
) -> tuple[LibraryProducer, int]:
    """A producer of the library that has seen the topic, and the topic's number of partitions.

    `options` are added to what all of ours have. Raises BrokerAway, BrokerRefuses.
    """
    options = {
        "acks": "all",
        "enable.idempotence": True,
        "compression.type": "lz4",
        "reconnect.backoff.max.ms": producer.RECONNECT_BACKOFF_MAX_MS,
        "log_level": 2,
        **options,
        **confluent_options(settings),
    }
    try:
        opened = LibraryProducer(options, logger=log)
        found = opened.list_topics(topic, timeout=producer.CONNECT_S).topics[topic]
    except KafkaException as away:
        raise unopened(settings, away) from None
    if found.error is not None:
        raise judged(found.error, f"topic {topic}", Needs("WRITE", topic))
    return opened, len(found.partitions)


class ConfluentProducer:
    """`producer.Producer` on confluent-kafka."""

    def __init__(
        self,
        settings: KafkaSection,
        topic: str,
        linger_ms: int,
        max_in_flight: int,
    ) -> None:
        self.delivered = 0
        self.failed = 0
        self.last_error = ""
        self._topic = topic
        self._needs = Needs("WRITE", topic)
        self._limit = max_in_flight
        options: dict[str, Any] = {
            "client.id": "seckill-producer",
            "linger.ms": linger_ms,
            "message.max.bytes": producer.MAX_RECORD_BYTES,
            "request.timeout.ms": producer.REQUEST_TIMEOUT_MS,
            # How long a request in flight waits for its answer before it is sent again.
            "socket.timeout.ms": producer.REQUEST_TIMEOUT_MS,
            "delivery.timeout.ms": producer.NEVER_MS,
            "queue.buffering.max.messages": max_in_flight,
            "queue.buffering.max.kbytes": max(1024, max_in_flight * producer.PLACE_BYTES // 1024),
            "on_delivery": self._on_delivery,
            "error_cb": self._on_error,
        }
        self._producer, _partitions = open_library(settings, topic, options)

    def send(
        self,
        value: bytes | None,
        headers: Sequence[tuple[str, bytes]] = (),
        done: producer.Done | None = None,
        key: bytes | None = None,
        partition: int | None = None,
    ) -> None:
        """See `producer.Producer`."""
        deadline = time.monotonic() + producer.ROOM_S
        more: dict[str, Any] = {"headers": list(headers)} if headers else {}
        if partition is not None:
            more["partition"] = partition
        if done is not None:
            more["on_delivery"] = partial(self._on_delivery, done=done)
        while True:
            try:
                self._producer.produce(self._topic, value, key, **more)
                return
            except BufferError:
                if time.monotonic() > deadline:
                    self._on_failed(producer.NO_ROOM, done)
                    return
                self._producer.poll(producer.LOOK_S)
            except KafkaException as wrong:
                self._on_failed(reason_of(wrong), done)
                return

    def room(self, timeout_s: float = 0.0) -> int:
        """See `producer.Producer`."""
        deadline = time.monotonic() + timeout_s
        self._producer.poll(0)
        while (room := self._limit - len(self._producer)) <= 0:
            left = deadline - time.monotonic()
            if left <= 0:
                return 0
            self._producer.poll(min(producer.LOOK_S, left))
        return room

    def flush(self, timeout_s: float) -> int:
        """See `producer.Producer`."""
        return int(self._producer.flush(timeout_s))

    def close(self) -> None:
        """See `producer.Producer`."""
        if len(self._producer):
            self._producer.purge()
            self._producer.flush(producer.CONNECT_S)
            self.last_error = producer.CLOSED
        self._producer.close()

    def _on_delivery(
        self, error: object, message: object, done: producer.Done | None = None
    ) -> None:
        if error is not None:
            self._on_failed(reason_of(error, self._needs), done)
            return
        self.delivered += 1
        if done is not None:
            done("")

    def _on_failed(self, reason: str, done: producer.Done | None) -> None:
        self.failed += 1
        self.last_error = reason
        if done is not None:
            done(reason)

    def _on_error(self, error: object) -> None:
        self.last_error = reason_of(error)

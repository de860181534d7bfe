"""The producer on kafka-python, the default client. Its thread counts the acknowledgements."""

import threading
import time
from collections.abc import Sequence
from functools import partial
from typing import Any

from kafka import KafkaProducer
from kafka.errors import KafkaError
from kafka.partitioner import StickyPartitioner

from seckill.broker import producer
from seckill.broker.refusals import Needs, judged, reason_of
from seckill.broker.security import kafka_python_options
from seckill.broker.unopened import unopened
from seckill.config.sections import KafkaSection


def open_library(
    settings: KafkaSection, topic: str, options: dict[str, Any]
) -> tuple[KafkaProducer, int]:
    """A producer of the library that has seen the topic, and the topic's number of partitions.

    `options` are added to what all of ours have. Raises BrokerAway, BrokerRefuses.
    """
    options = {
        "acks": "all",
        "enable_idempotence": True,
        "compression_type": "lz4",
        "allow_auto_create_topics": False,
        "max_block_ms": int(producer.CONNECT_S * 1000),
        "bootstrap_timeout_ms": int(producer.CONNECT_S * 1000),
        "reconnect_backoff_max_ms": producer.RECONNECT_BACKOFF_MAX_MS,
        "metrics_enabled": False,
        **options,
        **kafka_python_options(settings),
    }
    try:
        opened = KafkaProducer(**options)
    except (KafkaError, OSError) as away:
        raise unopened(settings, away) from None
    try:
        return opened, len(opened.partitions_for(topic))
    except KafkaError as away:
        opened.close(timeout=1)
        raise judged(away, f"topic {topic}", Needs("WRITE", topic)) from None


def close_library(opened: KafkaProducer, *, waiting: bool) -> None:
    """Close it; `waiting`: records are in flight, and are given up."""
    if waiting:
        # With records in flight the library's close() fails in its own flush and leaves its
        # thread running (kafka-python 3.0), so end that thread first.
        opened._sender.force_close()
        opened._sender.join(producer.CONNECT_S)
    opened.close(timeout=producer.CONNECT_S)


class KafkaPythonProducer:
    """`producer.Producer` on kafka-python."""

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
        self._sent = 0
        # Places taken and freed since the start; only their difference matters.
        self._taken = 0
        self._freed = 0
        # A finished future calls back on our own thread, so two threads count.
        self._counting = threading.Lock()
        self._producer, _partitions = open_library(
            settings,
            topic,
            {
                "client_id": "seckill-producer",
                "linger_ms": linger_ms,
                "batch_size": producer.BATCH_BYTES,
                "max_request_size": producer.MAX_RECORD_BYTES,
                "partitioner": StickyPartitioner(),
                "request_timeout_ms": producer.REQUEST_TIMEOUT_MS,
                "delivery_timeout_ms": producer.NEVER_MS,
            },
        )

    def send(
        self,
        value: bytes | None,
        headers: Sequence[tuple[str, bytes]] = (),
        done: producer.Done | None = None,
        key: bytes | None = None,
        partition: int | None = None,
    ) -> None:
        """See `producer.Producer`."""
        self._sent += 1
        if not self.room(producer.ROOM_S):
            self._on_failed(producer.NO_ROOM, 0, done)
            return
        # The library requires a key for a tombstone. A changing key spreads them over partitions.
        if value is None and key is None:
            key = self._sent.to_bytes(8)
        places = 1 if value is None else 1 + len(value) // producer.PLACE_BYTES
        self._taken += places
        try:
            future = self._producer.send(self._topic, value, key, list(headers), partition)
        except (KafkaError, ValueError) as wrong:
            self._on_failed(wrong, places, done)
            return
        if places == 1 and done is None:
            future.add_callback(self._on_delivered)
            future.add_errback(self._on_failed)
        else:
            future.add_callback(partial(self._on_delivered, places=places, done=done))
            future.add_errback(partial(self._on_failed, places=places, done=done))

    def room(self, timeout_s: float = 0.0) -> int:
        """See `producer.Producer`."""
        room = self._limit - (self._taken - self._freed)
        if room > 0:
            return room
        deadline = time.monotonic() + timeout_s
        while True:
            room = self._limit - (self._taken - self._freed)
            left = deadline - time.monotonic()
            if room > 0 or left <= 0:
                return max(room, 0)
            time.sleep(min(producer.LOOK_S, left))

    def flush(self, timeout_s: float) -> int:
        """See `producer.Producer`."""
        deadline = time.monotonic() + timeout_s
        while (waiting := self._waiting()) and (left := deadline - time.monotonic()) > 0:
            try:
                # The library's timeout is per batch. Short flushes keep the total within ours.
                self._producer.flush(timeout=min(0.1, left))
            except KafkaError:
                continue
        return waiting

    def close(self) -> None:
        """See `producer.Producer`."""
        waiting = self._waiting()
        if waiting:
            self.last_error = producer.CLOSED
        close_library(self._producer, waiting=waiting > 0)

    def _waiting(self) -> int:
        return self._sent - self.delivered - self.failed

    def _on_delivered(
        self, metadata: object, places: int = 1, done: producer.Done | None = None
    ) -> None:
        with self._counting:
            self.delivered += 1
            self._freed += places
        if done is not None:
            done("")

    def _on_failed(self, error: object, places: int = 1, done: producer.Done | None = None) -> None:
        reason = reason_of(error, self._needs)
        with self._counting:
            self.failed += 1
            self._freed += places
            self.last_error = reason
        if done is not None:
            done(reason)

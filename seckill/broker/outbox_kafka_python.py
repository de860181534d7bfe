"""The outbox on kafka-python. Its thread puts results aside; `poll` hands them over."""

import logging
from collections import deque
from collections.abc import Sequence
from functools import partial
from typing import Any

from kafka.errors import KafkaError, KafkaTimeoutError

from seckill.broker import outbox
from seckill.broker.producer_kafka_python import close_library, open_library
from seckill.broker.refusals import Needs, reason_of
from seckill.config.sections import KafkaSection
from seckill.process.events import event

log = logging.getLogger(__name__)


class KafkaPythonOutbox:
    """`outbox.Outbox` on kafka-python."""

    def __init__(self, settings: KafkaSection, topic: str) -> None:
        self._topic = topic
        self._results: deque[tuple[outbox.Done, int, str]] = deque()
        self._sent = self._handed = 0
        expire_ms = int(outbox.EXPIRE_S * 1000)
        self._producer, self.partitions = open_library(
            settings,
            topic,
            {
                "client_id": outbox.CLIENT_ID,
                "linger_ms": outbox.LINGER_MS,
                "request_timeout_ms": expire_ms - outbox.LINGER_MS,
                "delivery_timeout_ms": expire_ms,
            },
        )
        # From now on nothing waits: neither for room nor for news of the topic.
        self._producer.config["max_block_ms"] = 0

    @property
    def waiting(self) -> int:
        """See `outbox.Outbox`."""
        return self._sent - self._handed

    def send(
        self,
        value: bytes,
        partition: int,
        done: outbox.Done,
        headers: Sequence[tuple[str, bytes]] = (),
        key: bytes | None = None,
    ) -> bool:
        """See `outbox.Outbox`."""
        if self.waiting >= outbox.MAX_RECORDS:
            return False
        try:
            future = self._producer.send(
                self._topic, value, key=key, partition=partition, headers=list(headers)
            )
        except (KafkaTimeoutError, BufferError):
            return False
        except (KafkaError, ValueError) as wrong:
            done(-1, reason_of(wrong))
            return True
        self._sent += 1
        future.add_callback(partial(self._taken, done))
        future.add_errback(partial(self._lost, done))
        return True

    def poll(self) -> None:
        """See `outbox.Outbox`."""
        while self._results:
            done, offset, error = self._results.popleft()
            self._handed += 1
            done(offset, error)

    def flush(self, timeout_s: float) -> int:
        """See `outbox.Outbox`."""
        try:
            self._producer.flush(timeout=timeout_s)
        except KafkaError as late:
            log.debug("flush: %s", late, extra=event("door-flush"))
        self.poll()
        return self.waiting

    def close(self) -> None:
        """See `outbox.Outbox`."""
        close_library(self._producer, waiting=self.waiting > 0)
        self.poll()

    def _taken(self, done: outbox.Done, metadata: Any) -> None:
        self._results.append((done, int(metadata.offset), ""))

    def _lost(self, done: outbox.Done, error: object) -> None:
        self._results.append((done, -1, reason_of(error, Needs("WRITE", self._topic))))

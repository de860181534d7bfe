"""Where INVALID messages go: topic `<topic>.dead`, each with its origin and its reason as headers.

At least once: what is parked is kept here until Kafka has acknowledged it, and the consumer commits
only after that. After a crash a letter can stand there twice, with the same origin.
"""

import logging
from collections.abc import Callable, Sequence

from seckill.batch import Batch
from seckill.broker.producer import Producer
from seckill.broker.topics import Topics
from seckill.errors import BrokerAway
from seckill.events import event
from seckill_project.config import KafkaSection

log = logging.getLogger(__name__)

# Bytes of a message that are kept; the whole of it stays in the topic that it came from.
MAX_VALUE_BYTES = 16 * 1024
# Bytes that wait for Kafka before the consumer does.
MAX_PENDING_BYTES = 8 * 1024 * 1024
# A flood of bad messages fills at most this much disk, and one segment more, since Kafka removes
# whole segments only; the oldest letters go first.
RETENTION_BYTES, SEGMENT_BYTES = 256 * 1024 * 1024, 32 * 1024 * 1024
TOPIC_CONFIGS = {
    "retention.bytes": str(RETENTION_BYTES),
    "segment.bytes": str(SEGMENT_BYTES),
    "retention.ms": str(30 * 86_400_000),
}
FLUSH_S = 10.0
# The reason of a letter that marks another one, of the same origin, as sent again.
REPLAYED = "(replayed)"


def dead_topic(topic: str) -> str:
    """The topic of the dead letters of a topic."""
    return f"{topic}.dead"


class DeadLetters:
    """Parks what the script counted as INVALID. Opens its producer with the first letter."""

    def __init__(self, section: KafkaSection, open_producer: Callable[[], Producer]) -> None:
        self._section = section
        self._open_producer = open_producer
        self._producer: Producer | None = None
        self._pending: list[tuple[bytes | None, Sequence[tuple[str, bytes]]]] = []
        self._bytes = 0
        # How many of the pending ones the producer has, and its failures when they were sent.
        self._sent = 0
        self._failed = 0
        self.parked = 0

    @property
    def full(self) -> bool:
        """More waits than should: flush before going on."""
        return self._bytes > MAX_PENDING_BYTES

    def park(self, batch: Batch) -> None:
        """Take over the invalid messages of a batch that was decided."""
        for invalid in batch.invalid:
            headers = [
                ("source", batch.source.encode()),
                ("partition", b"%d" % batch.partition),
                ("offset", b"%d" % invalid.offset),
                ("reason", invalid.reason.encode(errors="replace")),
            ]
            value = invalid.value
            if value is not None and len(value) > MAX_VALUE_BYTES:
                headers.append(("size", b"%d" % len(value)))
                value = value[:MAX_VALUE_BYTES]
            self._pending.append((value, headers))
            self._bytes += len(value or b"") + 200

    def flush(self) -> bool:
        """Send what waits and await its acknowledgement. False: keep it, commit nothing."""
        if not self._pending:
            return True
        try:
            producer = self._opened()
        except BrokerAway as away:
            log.warning("dead letters wait: %s", away, extra=event("dead-letters-wait"))
            return False
        if producer.failed > self._failed:
            log.warning(
                "dead letters are sent again: %s",
                producer.last_error,
                extra=event("dead-letters-wait"),
            )
            self._failed, self._sent = producer.failed, 0
        for value, headers in self._pending[self._sent :]:
            producer.send(value, headers)
        self._sent = len(self._pending)
        if producer.flush(FLUSH_S) or producer.failed > self._failed:
            log.warning(
                "dead letters wait: Kafka has not acknowledged all of them",
                extra=event("dead-letters-wait"),
            )
            return False
        self.parked += len(self._pending)
        self._pending.clear()
        self._bytes = self._sent = 0
        return True

    def _opened(self) -> Producer:
        if self._producer is None:
            with Topics(self._section) as topics:
                topics.ensure(dead_topic(self._section.topic), 1, TOPIC_CONFIGS)
            self._producer = self._open_producer()
        return self._producer

    def close(self) -> None:
        """Close the producer, if there is one."""
        if self._producer is not None:
            self._producer.close()

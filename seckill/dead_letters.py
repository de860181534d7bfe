"""Where INVALID messages go: topic `<topic>.dead`, each with its origin and its reason as headers.

At least once: what is parked is kept here until Kafka has acknowledged it, and the consumer commits
only after that. After a crash a letter can stand there twice, with the same origin.
"""

import logging
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait

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
# Seconds for the acknowledgements of one attempt, of one look at them, and for the last attempt of
# a consumer that ends.
FLUSH_S, LOOK_S, CLOSE_S = 10.0, 0.25, 5.0
# Seconds of a consumer's turn for them.
TURN_S = 0.5
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
        # The attempt that is under way, on a thread of its own, and how many letters it is about.
        self._thread = ThreadPoolExecutor(1, "dead-letters")
        self._attempt: Future[str] | None = None
        self._attempted = 0
        self._late = False
        self._closing = threading.Event()
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
            self._bytes += _size(value)

    def flush(self, wait_s: float = FLUSH_S) -> bool:
        """Whether all that was parked is acknowledged. False: commit nothing, and ask again.

        Waits so long at most. What is sent, is sent on a thread: opening a producer and sending
        can take a minute where only the dead letters' topic is away.
        """
        deadline = time.monotonic() + wait_s
        while self._pending:
            if self._attempt is None:
                self._attempted = len(self._pending)
                self._attempt = self._thread.submit(self._send, self._attempted)
            try:
                reason = self._attempt.result(max(0.0, deadline - time.monotonic()))
            except TimeoutError:
                return self._wait("Kafka has not acknowledged all of them yet")
            self._attempt = None
            if reason:
                return self._wait(reason)
            self._acknowledged()
            if time.monotonic() > deadline:
                break
        return not self._pending

    def flush_in_turn(self) -> bool:
        """`flush` for a consumer's turn: waits TURN_S, and not at all where Kafka is late."""
        return self.flush(0.0 if self._late else TURN_S)

    def _wait(self, reason: str) -> bool:
        if not self._late:
            log.warning(
                "dead letters wait: %s. The sale goes on; nothing is committed until they are "
                "parked",
                reason,
                extra=event("dead-letters-wait"),
            )
        self._late = True
        return False

    def _acknowledged(self) -> None:
        if self._late:
            log.warning("going on: dead letters are parked again", extra=event("going-on"))
        self._late = False
        self.parked += self._attempted
        del self._pending[: self._attempted]
        self._sent = 0
        self._bytes = sum(_size(value) for value, _ in self._pending)

    def _send(self, count: int) -> str:
        """Send the first letters that wait, and await the answers. Why not, or nothing."""
        try:
            producer = self._opened()
        except BrokerAway as away:
            return str(away)
        if producer.failed > self._failed:
            self._failed, self._sent = producer.failed, 0
        deadline = time.monotonic() + FLUSH_S
        while self._sent < count:
            # Never more than the producer takes: its `send` would wait for two minutes.
            if not self._closing.is_set() and producer.room(LOOK_S):
                producer.send(*self._pending[self._sent])
                self._sent += 1
            elif self._closing.is_set() or time.monotonic() > deadline:
                return "the producer has no room, Kafka acknowledges nothing"
        while producer.flush(LOOK_S):
            if self._closing.is_set() or time.monotonic() > deadline:
                return "Kafka has not acknowledged all of them"
        if producer.failed > self._failed:
            return f"they are sent again: {producer.last_error}"
        return ""

    def _opened(self) -> Producer:
        if self._producer is None:
            with Topics(self._section) as topics:
                topics.ensure(dead_topic(self._section.topic), 1, TOPIC_CONFIGS)
            self._producer = self._open_producer()
        return self._producer

    def close(self) -> None:
        """Close the producer, if there is one."""
        self._closing.set()
        if self._attempt is not None:
            wait([self._attempt], CLOSE_S)
            if not self._attempt.done():
                # It is being opened: that ends, and then the thread does.
                self._thread.shutdown(wait=False)
                return
        self._thread.shutdown()
        if self._producer is not None:
            self._producer.close()


def _size(value: bytes | None) -> int:
    return len(value or b"") + 200

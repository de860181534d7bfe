"""Where INVALID messages go: topic `<topic>.dead`, each with its origin and its reason as headers.

At least once: what is parked is kept here until Kafka has acknowledged it, and the consumer commits
only after that. After a crash a letter can stand there twice, with the same origin. What Kafka
never takes is given up after a while, in the log: it must not hold the commits for ever.
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
from seckill.letter import Letter, failed, kind
from seckill.wire import Unreadable
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
# Seconds after which a letter is given up that Kafka does not take, though it answers otherwise.
GIVE_UP_S = 300.0
# Letters of one attempt that are named when they are given up; all are counted.
MOST_NAMED = 10
NOT_ACKNOWLEDGED = "Kafka has not acknowledged all of them"
NO_ROOM = "the producer has no room, Kafka acknowledges nothing"
# The reason of a letter that marks another one, of the same origin, as sent again.
REPLAYED = "(replayed)"


def dead_topic(topic: str) -> str:
    """The topic of the dead letters of a topic."""
    return f"{topic}.dead"


class DeadLetters:
    """Parks what the script counted as INVALID. Opens its producer with the first letter.

    A letter that Kafka does not take, and it answers otherwise, is given up after `give_up_s`: it
    is named and counted in `lost`. Its message stays counted, and in the topic that it came from.
    """

    def __init__(
        self,
        section: KafkaSection,
        open_producer: Callable[[], Producer],
        give_up_s: float = GIVE_UP_S,
    ) -> None:
        self._section = section
        self._open_producer = open_producer
        self._give_up_s = give_up_s
        self._producer: Producer | None = None
        self._pending: list[Letter] = []
        self._bytes = 0
        # The attempt that is under way, on a thread of its own.
        self._thread = ThreadPoolExecutor(1, "dead-letters")
        self._attempt: Future[str] | None = None
        self._late = False
        self._closing = threading.Event()
        # Reasons, without their numbers, for which letters were given up: the next ones are at
        # once, or a flow of them would hold the commits for ever.
        self._hopeless: set[str] = set()
        self.parked = 0
        self.lost = 0

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
            # Nothing of what could not be unpacked is there.
            value = b"" if isinstance(invalid.value, Unreadable) else invalid.value
            if value is not None and len(value) > MAX_VALUE_BYTES:
                headers.append(("size", b"%d" % len(value)))
                value = value[:MAX_VALUE_BYTES]
            letter = Letter(value, headers)
            self._pending.append(letter)
            self._bytes += letter.size

    def flush(self, wait_s: float = FLUSH_S) -> bool:
        """Whether all that was parked is acknowledged, or given up. False: commit nothing, and ask
        again.

        Waits so long at most. What is sent, is sent on a thread: opening a producer and sending
        can take a minute where only the dead letters' topic is away.
        """
        deadline = time.monotonic() + wait_s
        while self._pending:
            if self._attempt is None:
                # What is parked meanwhile is not of this attempt.
                self._attempt = self._thread.submit(self._try, list(self._pending))
            try:
                reason = self._attempt.result(max(0.0, deadline - time.monotonic()))
            except TimeoutError:
                return self._wait("Kafka has not acknowledged all of them yet")
            self._attempt = None
            self._pending = [letter for letter in self._pending if not letter.over]
            self._bytes = sum(letter.size for letter in self._pending)
            if reason:
                return self._wait(reason)
            if self._late:
                log.warning("going on: no dead letter waits any more", extra=event("going-on"))
            self._late = False
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
                "parked, or given up after %.0f s",
                *(reason, self._give_up_s),
                extra=event("dead-letters-wait"),
            )
        self._late = True
        return False

    def _try(self, letters: Sequence[Letter]) -> str:
        """Send letters, and await the answers. Why some still wait, or nothing."""
        reason = self._send(letters)
        if not reason:
            refused = [letter for letter in letters if letter.refused]
            reason = self._send_alone(refused)
        left = [letter for letter in letters if not letter.over]
        if any(letter.over for letter in letters):
            # Kafka takes some: those that had no answer before may have one now.
            self._hopeless.discard(kind(NOT_ACKNOWLEDGED))
        self.parked += len(letters) - len(left)
        if left and not self._closing.is_set():
            left = self._give_up(left)
        return (reason or left[0].why) if left else ""

    def _send(self, letters: Sequence[Letter]) -> str:
        """All that were not sent before, at once, as it goes well nearly always. Why not."""
        try:
            producer = self._opened()
        except BrokerAway as away:
            return failed(letters, str(away))
        deadline = time.monotonic() + FLUSH_S
        for letter in letters:
            if letter.sent or letter.refused:
                continue
            # Never more than the producer takes: its `send` would wait for two minutes.
            while not producer.room(LOOK_S):
                if self._closing.is_set() or time.monotonic() > deadline:
                    return failed(letters, NO_ROOM)
            letter.sent = True
            producer.send(letter.value, letter.headers, letter.answer)
        return "" if self._answered(producer, deadline) else failed(letters, NOT_ACKNOWLEDGED)

    def _send_alone(self, refused: Sequence[Letter]) -> str:
        """One after the other: together they may be too much. At last without their bodies.

        Each on a new producer: one of kafka-python 3.0 that was refused a record sends none.
        """
        deadline = time.monotonic() + FLUSH_S
        for letter in refused:
            while letter.refused:
                self._close_producer()
                if self._closing.is_set() or time.monotonic() > deadline:
                    return letter.why
                try:
                    producer = self._opened()
                except BrokerAway as away:
                    return str(away)
                letter.sent = True
                producer.send(letter.value, letter.headers, letter.answer)
                if not self._answered(producer, deadline):
                    return failed([letter], NOT_ACKNOWLEDGED)
                if letter.refused and not letter.cut():
                    break
        return ""

    def _answered(self, producer: Producer, deadline: float) -> bool:
        while producer.flush(LOOK_S):
            if self._closing.is_set() or time.monotonic() > deadline:
                return False
        return True

    def _give_up(self, letters: list[Letter]) -> list[Letter]:
        """Those that were tried for long enough, unless nothing of Kafka answers. The others."""
        now = time.monotonic()
        overdue = [
            letter
            for letter in letters
            if letter.why
            and (now - letter.failed_at > self._give_up_s or kind(letter.why) in self._hopeless)
        ]
        if not overdue or not self._kafka_answers():
            return letters
        for letter in overdue[:MOST_NAMED]:
            log.error(
                "dead letter given up: %s: %s. Its message is counted as INVALID, and stays in "
                "topic %s",
                *(letter, letter.why, self._section.topic),
                extra=event("dead-letters-lost"),
            )
        self.lost += len(overdue)
        log.error(
            "%d dead letters given up, %d since this consumer began; commits go on. Look at topic "
            "%s: its max.message.bytes, its leader, the rights of this user",
            *(len(overdue), self.lost, dead_topic(self._section.topic)),
            extra=event("dead-letters-lost"),
        )
        for letter in overdue:
            self._hopeless.add(kind(letter.why))
        if any(letter.sent for letter in overdue):
            # The producer must not send them after all: the others go to the next one.
            self._close_producer()
            for letter in letters:
                letter.sent = letter.refused = False
        for letter in overdue:
            letter.over = True
        return [letter for letter in letters if not letter.over]

    def _kafka_answers(self) -> bool:
        try:
            with Topics(self._section) as topics:
                return topics.source(self._section.topic) is not None
        except BrokerAway:
            return False

    def _opened(self) -> Producer:
        if self._producer is None:
            with Topics(self._section) as topics:
                topics.ensure(dead_topic(self._section.topic), 1, TOPIC_CONFIGS)
            self._producer = self._open_producer()
        return self._producer

    def _close_producer(self) -> None:
        if self._producer is not None:
            self._producer.close()
        self._producer = None

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
        self._close_producer()

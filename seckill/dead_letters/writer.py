"""Parks INVALID messages in topic `<topic>.dead`, each with its origin and its reason as headers.

At least once: letters are kept in memory until Kafka has acknowledged them, and the consumer
commits only after that. After a crash a letter may be there twice, with the same origin. A letter
that Kafka never takes is given up after a while and logged: it must not block the commits for ever.
"""

import logging
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait

from seckill.broker.producer import Producer
from seckill.broker.topics import Topics
from seckill.config.sections import KafkaSection
from seckill.dead_letters.letter import Decided, Letter, failed, kind
from seckill.errors import BrokerAway
from seckill.formats.outcomes import Unreadable
from seckill.process.events import event

log = logging.getLogger(__name__)

# Bytes of a message that are kept. The whole message stays in its own topic.
MAX_VALUE_BYTES = 16 * 1024
# Bytes waiting for Kafka before the consumer waits too.
MAX_PENDING_BYTES = 8 * 1024 * 1024
# A flood of bad messages fills at most this much disk plus one segment, since Kafka only removes
# whole segments. The oldest letters go first.
RETENTION_BYTES, SEGMENT_BYTES = 256 * 1024 * 1024, 32 * 1024 * 1024
TOPIC_CONFIGS = {
    "retention.bytes": str(RETENTION_BYTES),
    "segment.bytes": str(SEGMENT_BYTES),
    "retention.ms": str(30 * 86_400_000),
}
# Seconds for the acknowledgements of one attempt, between two checks of them, and for the last
# attempt of a consumer that ends.
FLUSH_S, LOOK_S, CLOSE_S = 10.0, 0.25, 5.0
# Seconds per turn that a consumer waits for dead letters.
TURN_S = 0.5
# Seconds until a letter is given up that Kafka does not take although it answers otherwise.
GIVE_UP_S = 300.0
# Letters per attempt that are named when they are given up. All are counted.
MOST_NAMED = 10
NOT_ACKNOWLEDGED = "Kafka has not acknowledged all of them"
NO_ROOM = "the producer has no room, Kafka acknowledges nothing"
# The reason of a marker: a letter of this origin was replayed.
REPLAYED = "(replayed)"


def dead_topic(topic: str) -> str:
    """The topic for the dead letters of a topic."""
    return f"{topic}.dead"


class DeadLetters:
    """Parks what the script counted as INVALID. Opens its producer with the first letter.

    A letter that Kafka does not take although it answers otherwise is given up after `give_up_s`:
    it is logged by name and counted in `lost`. Its message stays counted, and stays in its topic.
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
        # The attempt in progress, on a thread of its own.
        self._thread = ThreadPoolExecutor(1, "dead-letters")
        self._attempt: Future[str] | None = None
        self._late = False
        self._closing = threading.Event()
        # Reasons (without numbers) for which letters were given up. Later letters with these are
        # given up at once, or a steady flow of them would block the commits for ever.
        self._hopeless: set[str] = set()
        self.parked = 0
        self.lost = 0

    @property
    def full(self) -> bool:
        """Too much waits: flush before going on."""
        return self._bytes > MAX_PENDING_BYTES

    def park(self, batch: Decided) -> None:
        """Take over the invalid messages of a decided batch."""
        for invalid in batch.invalid:
            headers = [
                ("source", batch.source.encode()),
                ("partition", b"%d" % batch.partition),
                ("offset", b"%d" % invalid.offset),
                ("reason", invalid.reason.encode(errors="replace")),
            ]
            # A body that could not be unpacked has no content.
            value = b"" if isinstance(invalid.value, Unreadable) else invalid.value
            if value is not None and len(value) > MAX_VALUE_BYTES:
                headers.append(("size", b"%d" % len(value)))
                value = value[:MAX_VALUE_BYTES]
            letter = Letter(value, headers)
            self._pending.append(letter)
            self._bytes += letter.size

    def flush(self, wait_s: float = FLUSH_S) -> bool:
        """Whether all letters are acknowledged or given up. False: commit nothing, ask again later.

        Waits at most `wait_s`. Sending runs on a thread: opening a producer and sending can take a
        minute if only the topic of dead letters is away.
        """
        deadline = time.monotonic() + wait_s
        while self._pending:
            if self._attempt is None:
                # Letters parked meanwhile belong to the next attempt.
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
        """`flush` within a consumer's turn: waits TURN_S, or not at all while Kafka is late."""
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
        """Send letters and wait for the answers. Returns why some still wait, or ""."""
        reason = self._send(letters)
        if not reason:
            refused = [letter for letter in letters if letter.refused]
            reason = self._send_alone(refused)
        left = [letter for letter in letters if not letter.over]
        if any(letter.over for letter in letters):
            # Kafka takes some letters, so those without an answer may get one now.
            self._hopeless.discard(kind(NOT_ACKNOWLEDGED))
        self.parked += len(letters) - len(left)
        if left and not self._closing.is_set():
            left = self._give_up(left)
        return (reason or left[0].why) if left else ""

    def _send(self, letters: Sequence[Letter]) -> str:
        """Send all unsent letters at once, which nearly always works. Returns why not, or ""."""
        try:
            producer = self._opened()
        except BrokerAway as away:
            return failed(letters, str(away))
        deadline = time.monotonic() + FLUSH_S
        for letter in letters:
            if letter.sent or letter.refused:
                continue
            # Never more than there is room for: `send` would wait for two minutes.
            while not producer.room(LOOK_S):
                if self._closing.is_set() or time.monotonic() > deadline:
                    return failed(letters, NO_ROOM)
            letter.sent = True
            producer.send(letter.value, letter.headers, letter.answer)
        return "" if self._answered(producer, deadline) else failed(letters, NOT_ACKNOWLEDGED)

    def _send_alone(self, refused: Sequence[Letter]) -> str:
        """Send refused letters one by one: together they may be too large. At last without bodies.

        Each uses a new producer: one of kafka-python 3.0 whose record was refused sends no more.
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
        """Give up overdue letters, unless Kafka does not answer at all. Returns the others."""
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
            # This producer must not send them after all. The others go to the next producer.
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
                # Opening is still in progress. When it ends, the thread ends too.
                self._thread.shutdown(wait=False)
                return
        self._thread.shutdown()
        self._close_producer()

"""Replays what is parked, after its reason was fixed.

A replayed request or settlement is sent to its topic as a new message, at a new place in the queue.
It is marked as replayed first, so a repeated command sends nothing twice; only one replay runs at a
time. A replayed record is put back into the list. It is the same order as before: if it was stored
already its identity shows it, and its row settles it.
"""

import re
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import redis
from django.db import connection, transaction

from seckill.broker.opening import open_producer
from seckill.broker.producer import Producer
from seckill.broker.reader import CannotRead, TopicReader
from seckill.config.sections import KafkaSection
from seckill.dead_letters.reader import DECODERS, RECORD, Letter
from seckill.dead_letters.records import Kind
from seckill.dead_letters.writer import REPLAYED, dead_topic
from seckill.errors import BrokerAway, Poison, Refused
from seckill.formats.record import WireRecord, parse
from seckill.formats.settle import Settlement, key_of
from seckill.lane.client import run_script
from seckill.lane.keys import Lane

# Seconds for Kafka to acknowledge what is sent.
FLUSH_S = 30.0
# The advisory lock in PostgreSQL that a replay holds: a number that nothing else uses.
REPLAYING = 7_351_003
# The replay's timestamp. Two equal texts in the list could make a trim remove the wrong batch.
STAMP = re.compile(rb',"replayed_at":\d+\}$')


@dataclass
class Replay:
    """Replays letters one by one. Methods raise Refused with the reason, or ServiceAway."""

    section: KafkaSection
    client: "redis.Redis"
    lane: Lane
    replayed: set[str]
    again: bool = False

    def check(self, letter: Letter) -> str:
        """What a replay of this letter would do, in words. Changes nothing."""
        return self._look(letter)[0]

    def _look(self, letter: Letter) -> tuple[str, bytes | None, bytes | None]:
        """What a replay would do; and of a message the whole body, and the key that its sender has
        to use: one user's settlements stay in their order.
        """
        if letter.kind == RECORD:
            if not letter.open:
                raise Refused("it is settled: its row is there by now, or it was dismissed")
            if letter.dead == Kind.OVERLAP:
                raise Refused(
                    "it was decided on a Redis that did not lead: it is not sold, and cannot be "
                    "stored. Tell its buyer, then manage.py dead_letters dismiss"
                )
            record = self._record(letter)
            what = f"back to {self.lane.list}: user {record.user_id}, {record.quantity} units"
            return what, letter.body, None
        if letter.odd:
            raise Refused(
                f"{letter.odd}. So nobody knows which message it was, or whether it was replayed "
                f"before; if it is wanted, send it as a new {letter.kind}"
            )
        if letter.origin in self.replayed and not self.again:
            raise Refused("sent again already; --again sends it once more, as one more")
        body = self._body(letter)
        try:
            message = DECODERS[letter.kind](body)
        except Poison as poison:
            raise Refused(
                f"still not a {letter.kind}, it would be parked again: {poison}"
            ) from None
        now_ms = time.time_ns() // 1_000_000
        if isinstance(message, Settlement):
            age_s = max(0, now_ms - message.at) // 1000
            what = (
                f"a NEW settlement: user {message.user_id}, {message.result} for "
                f"{message.place}, {age_s:,} s old"
            )
            return what, body, key_of(message.user_id)
        age_s = max(0, now_ms - message.request_initiation_time) // 1000
        what = f"a NEW request: user {message.user_id}, items {message.items}, {age_s:,} s old"
        return what, body, None

    def send_messages(
        self, letters: Iterable[Letter], say: Callable[[Letter, str], None]
    ) -> tuple[int, int]:
        """Mark, then send: (sent, refused). After BrokerAway a marked letter may not be sent."""
        sent = refused = 0
        bodies = []
        for letter in letters:
            try:
                what, body, key = self._look(letter)
                say(letter, "sent as " + what)
                bodies.append((letter, body, key))
            except Refused as why:
                say(letter, f"REFUSED: {why}")
                refused += 1
        if not bodies:
            return 0, refused
        topic = self.section.topic
        marks = open_producer(self.section, dead_topic(topic))
        try:
            for letter, _, _ in bodies:
                marks.send(None, _headers(letter, ("reason", REPLAYED.encode())))
            _await(marks, "nothing was sent")
        finally:
            marks.close()
        producer = open_producer(self.section, topic)
        try:
            for letter, body, key in bodies:
                producer.send(body, [("replay-of", letter.origin.encode())], key=key)
                sent += 1
            _await(producer, "it is unknown whether all was sent: look for header replay-of")
        finally:
            producer.close()
        return sent, refused

    def move_record(self, letter: Letter) -> None:
        """Put a dead record back into the list, from which a log worker stores it."""
        self.check(letter)
        plain = STAMP.sub(b"}", letter.body or b"")
        record = b'%s,"replayed_at":%d}' % (plain[:-1], time.time_ns())
        keys = [self.lane.list, self.lane.state]
        if not run_script(self.client, "replay_dead", keys, [record]):
            raise Refused("the lane is fenced: recover it first (manage.py recover)")

    def _record(self, letter: Letter) -> WireRecord:
        try:
            return parse(letter.body or b"")
        except Poison as poison:
            raise Refused(f"still not a record, it would be parked again: {poison}") from None

    def _body(self, letter: Letter) -> bytes | None:
        """The whole message. If the letter has only its beginning, it is read from its topic."""
        if not letter.cut:
            return letter.body
        source, partition, offset = _place(letter)
        gone = "only its beginning is parked, and Kafka no longer holds the whole message"
        try:
            with TopicReader(self.section) as topic:
                if topic.source != source:
                    raise Refused(gone)
                first = int(offset)
                for batch in topic.messages(int(partition), first + 1, first):
                    for message in batch:
                        if message.offset() == first:
                            return message.value()
        except CannotRead:
            raise Refused(gone) from None
        raise Refused(gone)


@contextmanager
def one_at_a_time() -> Iterator[None]:
    """Prevents two replays at once: both could find a letter that is not marked. Raises Refused.

    A lock in PostgreSQL for as long as the block runs; it ends with the process.
    """
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("SELECT pg_try_advisory_xact_lock(%s)", [REPLAYING])
        if not cursor.fetchone()[0]:
            raise Refused("another replay is running; look again when it has ended")
        yield


def _headers(letter: Letter, *more: tuple[str, bytes]) -> list[tuple[str, bytes]]:
    source, partition, offset = (part.encode() for part in _place(letter))
    return [("source", source), ("partition", partition), ("offset", offset), *more]


def _place(letter: Letter) -> list[str]:
    """Source, partition and offset of a message. Raises Refused if the letter has none."""
    parts = letter.origin.split(":")
    if letter.odd or len(parts) != 3:
        raise Refused("it does not say which message it was")
    return parts


def _await(producer: Producer, otherwise: str) -> None:
    if producer.flush(FLUSH_S) or producer.failed:
        raise BrokerAway(f"no acknowledgement ({producer.last_error}); {otherwise}")

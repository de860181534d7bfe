"""Replay of what is parked, after its reason was mended.

A request is sent again to the topic: that is a new request, with a new place in the queue, and it
is marked as replayed first, so that a repeat of the command sends nothing twice; one replay goes on
at a time. A record is put back into the list: it is the same order as before, known again if it was
stored, and settled by its row.
"""

import re
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import redis
from django.db import connection, transaction

from seckill.broker.producer import Producer, open_producer
from seckill.broker.reader import CannotRead, TopicReader
from seckill.dead_letters import REPLAYED, dead_topic
from seckill.dead_records import Kind
from seckill.decode import decode
from seckill.errors import BrokerAway, Poison, Refused
from seckill.keys import Lane
from seckill.parked import REQUEST, Letter
from seckill.records import WireRecord, parse
from seckill.redis_client import run_script
from seckill_project.config import KafkaSection

# Seconds for Kafka to acknowledge what is sent.
FLUSH_S = 30.0
# The lock of PostgreSQL under which letters are replayed: any number that nothing else uses.
REPLAYING = 7_351_003
# Says which replay this is: no two texts in the list may ever be the same, or a trim could err.
STAMP = re.compile(rb',"replayed_at":\d+\}$')


@dataclass
class Replay:
    """Replays letters one by one. Each method raises Refused with the reason, or ServiceAway."""

    section: KafkaSection
    client: "redis.Redis"
    lane: Lane
    replayed: set[str]
    again: bool = False

    def check(self, letter: Letter) -> str:
        """What replaying it would do, in words. Changes nothing."""
        if letter.kind != REQUEST:
            if not letter.open:
                raise Refused("it is settled: its row is there by now, or it was dismissed")
            if letter.dead == Kind.OVERLAP:
                raise Refused(
                    "it was decided on a Redis that did not lead: it is not sold, and cannot be "
                    "stored. Tell its buyer, then dead_letters dismiss"
                )
            record = self._record(letter)
            return f"back to {self.lane.list}: user {record.user_id}, {record.quantity} units"
        if letter.odd:
            raise Refused(
                f"{letter.odd}. It does not say which message it was, so nobody could tell whether "
                "it was sent again before; if it is wanted, send it as a new request"
            )
        if letter.origin in self.replayed and not self.again:
            raise Refused("sent again already; --again sends it once more, as one more request")
        try:
            request = decode(self._body(letter))
        except Poison as poison:
            raise Refused(f"it still is no request, and would be parked again: {poison}") from None
        age_s = max(0, time.time_ns() // 1_000_000 - request.request_initiation_time) // 1000
        return f"a NEW request: user {request.user_id}, items {request.items}, {age_s:,} s old"

    def send_requests(
        self, letters: Iterable[Letter], say: Callable[[Letter, str], None]
    ) -> tuple[int, int]:
        """Mark, then send; (sent, refused). Raises BrokerAway: what is marked may not be sent."""
        sent = refused = 0
        bodies = []
        for letter in letters:
            try:
                say(letter, "sent as " + self.check(letter))
                bodies.append((letter, self._body(letter)))
            except Refused as why:
                say(letter, f"REFUSED: {why}")
                refused += 1
        if not bodies:
            return 0, refused
        topic = self.section.topic
        marks = open_producer(self.section, dead_topic(topic))
        try:
            for letter, _ in bodies:
                marks.send(None, _headers(letter, ("reason", REPLAYED.encode())))
            _await(marks, "nothing was sent")
        finally:
            marks.close()
        producer = open_producer(self.section, topic)
        try:
            for letter, body in bodies:
                producer.send(body, [("replay-of", letter.origin.encode())])
                sent += 1
            _await(producer, "whether all was sent is not known: look for header replay-of")
        finally:
            producer.close()
        return sent, refused

    def move_record(self, letter: Letter) -> None:
        """Put a dead record back into the list, whose log worker stores it."""
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
            raise Refused(f"it still is no record, and would be parked again: {poison}") from None

    def _body(self, letter: Letter) -> bytes | None:
        """All of a message: from where it came, if the letter has only its beginning."""
        if not letter.cut:
            return letter.body
        source, partition, offset = _place(letter)
        gone = "only its beginning is parked, and Kafka does not hold the whole of it any more"
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
    """Two replays at once would both find a letter that is not marked yet. Raises Refused.

    A lock of PostgreSQL for as long as the block runs: it ends with the process.
    """
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("SELECT pg_try_advisory_xact_lock(%s)", [REPLAYING])
        if not cursor.fetchone()[0]:
            raise Refused("another replay is going on; look again when it has ended")
        yield


def _headers(letter: Letter, *more: tuple[str, bytes]) -> list[tuple[str, bytes]]:
    source, partition, offset = (part.encode() for part in _place(letter))
    return [("source", source), ("partition", partition), ("offset", offset), *more]


def _place(letter: Letter) -> list[str]:
    """Source, partition and offset of a request. Raises Refused where the letter has none."""
    parts = letter.origin.split(":")
    if letter.odd or len(parts) != 3:
        raise Refused("it does not say which message it was")
    return parts


def _await(producer: Producer, otherwise: str) -> None:
    if producer.flush(FLUSH_S) or producer.failed:
        raise BrokerAway(f"no acknowledgement ({producer.last_error}); {otherwise}")

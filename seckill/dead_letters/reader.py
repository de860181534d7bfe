"""Reads what is parked: INVALID requests in topic `<topic>.dead`, INVALID settlements in
`<topic>.settle.dead`, dead records in PostgreSQL.

Owns reading all of them, and how people and programs see a letter. Changes nothing.
"""

from collections import Counter, deque
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import redis
from django.db import connection

from seckill.broker.reader import CannotRead, TopicReader
from seckill.broker.topics import Topics
from seckill.broker.unpack import Message
from seckill.config.sections import KafkaSection
from seckill.dead_letters import records as dead_records
from seckill.dead_letters.headers import read_headers
from seckill.dead_letters.records import DeadRecord
from seckill.dead_letters.writer import REPLAYED, dead_topic
from seckill.errors import Poison
from seckill.formats import request, settle
from seckill.lane.client import redis_errors
from seckill.lane.keys import Lane
from seckill.process.printable import is_printable, preview

# More parked records than this are an alarm. They are accepted orders: none is ever dropped.
MANY_DEAD = 10_000

REQUEST, SETTLEMENT, RECORD = "request", "settlement", "record"
# What decodes the messages of each kind. Raises Poison.
DECODERS: Mapping[str, Callable[[bytes | None], request.Request | settle.Settlement]] = {
    REQUEST: request.decode,
    SETTLEMENT: settle.decode,
}
# Different reasons that are counted by themselves. The rest is counted together.
MOST_REASONS = 200
OTHER_REASONS = "(other reasons)"
# Bytes of a body in a list.
PREVIEW = 100


@dataclass(frozen=True)
class Letter:
    """A parked request, settlement or record. `origin` is source:partition:offset, "" if unknown.

    `odd` says what is wrong with the headers of a message. Its origin is then its own place in the
    topic of dead letters.
    """

    kind: str
    origin: str
    reason: str
    body: bytes | None
    # Bytes of the whole message. `body` may be only its beginning.
    size: int
    at_ms: int | None = None
    item_id: int | None = None
    # For records: the id of their row, why they are dead, and whether a person still has to act.
    number: int = 0
    dead: str = ""
    open: bool = True
    odd: str = ""

    @property
    def cut(self) -> bool:
        """Whether only the beginning of the message is parked."""
        return self.size > len(self.body or b"")

    def as_json(self, replayed: bool) -> dict[str, Any]:
        """For a list: plain types, and the beginning of the body as printable text."""
        return {
            "kind": self.kind,
            "number": self.number or None,
            "dead": self.dead or None,
            "open": self.open,
            "origin": self.origin,
            "item_id": self.item_id,
            "reason": self.reason,
            "odd": self.odd,
            "at_ms": self.at_ms,
            "size": self.size,
            "replayed": replayed,
            "body": preview(self.body, PREVIEW),
        }


@dataclass
class Pile:
    """All letters of a kind: counted by reason, and the newest ones. `topic` has the messages."""

    topic: str = ""
    letters: int = 0
    bytes: int = 0
    # Letters that Kafka has removed because the topic is limited.
    removed: int = 0
    reasons: Counter[str] = field(default_factory=Counter)
    newest: deque[Letter] = field(default_factory=deque)
    replayed: set[str] = field(default_factory=set)

    def add(self, letter: Letter) -> None:
        """Count a letter. Call it with the oldest letter first."""
        self.letters += 1
        self.bytes += len(letter.body or b"")
        known = letter.reason in self.reasons or len(self.reasons) < MOST_REASONS
        self.reasons[letter.reason if known else OTHER_REASONS] += 1
        self.newest.append(letter)


class DeadTopic:
    """The dead letters of a topic: of requests, or of settlements. Raises BrokerAway."""

    def __init__(self, section: KafkaSection) -> None:
        self._kind = kind_of(section.topic)
        self._section = section.model_copy(update={"topic": dead_topic(section.topic)})
        # Origins that a marker names as replayed. Complete after `letters`.
        self.replayed: set[str] = set()
        self.removed = 0

    def letters(self) -> Iterator[Letter]:
        """All letters, the oldest first; none if there is no such topic."""
        try:
            with TopicReader(self._section) as topic, Topics(self._section) as topics:
                for partition in topics.partitions(topic.name):
                    messages = topic.messages(partition)
                    self.removed += messages.oldest
                    for batch in messages:
                        for message in batch:
                            place = f"{topic.name}:{partition}:{message.offset()}"
                            letter = _of_message(message, place, self._kind)
                            if letter.reason == REPLAYED and not letter.odd:
                                self.replayed.add(letter.origin)
                            else:
                                yield letter
        except CannotRead:
            return


def read_records(lane: Lane, origin: str = "") -> Iterator[Letter]:
    """The dead records of a lane, newest first, settled and dismissed ones too: all, or of one
    origin.

    Django's errors pass through.
    """
    with connection.cursor() as cursor:
        for record in dead_records.read(cursor, lane, origin):
            yield _of_record(record)


def tell_parked(client: "redis.Redis", lane: Lane) -> None:
    """Write into Redis how many dead records need a person: the desk and the metrics read it."""
    with connection.cursor() as cursor:
        number = sum(dead_records.count(cursor, lane).values())
    with redis_errors():
        client.hset(lane.state, "parked", number)


def pile_messages(section: KafkaSection, newest: int) -> Pile:
    """The dead letters of a topic, counted in one pass with constant memory."""
    dead = DeadTopic(section)
    pile = Pile(section.topic, newest=deque(maxlen=newest))
    for letter in dead.letters():
        pile.add(letter)
    pile.removed, pile.replayed = dead.removed, dead.replayed
    return pile


def pile_records(lane: Lane, newest: int) -> Pile:
    """The dead records of a lane that need a person, counted. `removed`: those that are closed."""
    pile = Pile(newest=deque(maxlen=newest))
    first: list[Letter] = []
    for letter in read_records(lane):
        if not letter.open:
            pile.removed += 1
            continue
        pile.add(letter)
        if len(first) < newest:
            first.append(letter)
    pile.newest = deque(reversed(first))
    return pile


def _of_message(message: Message, place: str, kind_of_message: str) -> Letter:
    headers = read_headers(message.headers())
    body = message.value()
    kind, at_ms = message.timestamp()
    return Letter(
        kind=kind_of_message,
        # An odd letter is named by its own place.
        origin=headers.origin or place,
        reason=headers.reason,
        body=body,
        size=len(body or b"") if headers.size is None else headers.size,
        at_ms=int(at_ms) if kind else None,
        odd=headers.odd,
    )


def _of_record(record: DeadRecord) -> Letter:
    return Letter(
        kind=RECORD,
        origin=record.origin,
        reason=record.reason,
        body=record.raw,
        size=len(record.raw),
        at_ms=round(record.at.timestamp() * 1000),
        item_id=record.item_id,
        number=record.id,
        dead=str(record.kind),
        open=not (record.settled or record.dismissed),
    )


def kind_of(topic: str) -> str:
    """What the messages of a topic are: REQUEST or SETTLEMENT."""
    return SETTLEMENT if topic.endswith(settle.SUFFIX) else REQUEST


def is_valid(letter: Letter) -> bool:
    """Whether the whole body is there, and is a valid message by now."""
    try:
        DECODERS[letter.kind](letter.body)
    except Poison:
        return False
    return not letter.cut


def dump(body: bytes) -> Iterator[str]:
    """The lines of a body: its text if that is printable, else a hex dump."""
    try:
        text = body.decode()
    except UnicodeDecodeError:
        text = "\0"
    lines = text.split("\n")
    if all(map(is_printable, lines)):
        yield from lines
        return
    for first in range(0, len(body), 16):
        part = body[first : first + 16]
        shown = "".join(chr(b) if 0x20 <= b < 0x7F else "." for b in part)
        yield f"{first:06x}  {part.hex(' '):<47}  {shown}"

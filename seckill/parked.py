"""What is parked: INVALID requests in topic `<topic>.dead`, records in `seckill:logs:dead`.

Owns reading both, and letters as people and programs see them. Changes nothing.
"""

import string
from collections import Counter, deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, cast

import msgspec
import redis

from seckill.broker.reader import CannotRead, TopicReader
from seckill.broker.topics import Topics
from seckill.broker.unpack import Message
from seckill.dead_letters import REPLAYED, dead_topic
from seckill.decode import decode
from seckill.engine import is_transient
from seckill.errors import Poison, RedisAway
from seckill.keys import Lane
from seckill.records import parse, scan
from seckill_project.config import KafkaSection

REQUEST, RECORD = "request", "record"
# Different reasons that are told apart; the rest is counted together.
MOST_REASONS = 200
OTHER_REASONS = "(other reasons)"
# Characters of a body in a list.
PREVIEW = 100
PRINTABLE = frozenset(string.ascii_letters + string.digits + string.punctuation + " ")


@dataclass(frozen=True)
class Letter:
    """Something parked. `origin` is source:partition:offset, empty where nothing says it."""

    kind: str
    origin: str
    reason: str
    body: bytes | None
    # Bytes of the whole message, of which `body` may be the beginning only.
    size: int
    at_ms: int | None = None
    item_id: int | None = None
    # The text in Redis, of records.
    raw: bytes = b""

    @property
    def cut(self) -> bool:
        """Whether only the beginning of the message is kept here."""
        return self.size > len(self.body or b"")

    def as_json(self, replayed: bool) -> dict[str, Any]:
        """For a list: plain types, the body's beginning as text that is safe to print."""
        return {
            "kind": self.kind,
            "origin": self.origin,
            "item_id": self.item_id,
            "reason": self.reason,
            "at_ms": self.at_ms,
            "size": self.size,
            "replayed": replayed,
            "body": printable(self.body, PREVIEW),
        }


@dataclass
class Pile:
    """All letters of a kind, counted: by reason, and the newest of them."""

    letters: int = 0
    bytes: int = 0
    # Letters that Kafka has removed, since the topic is bounded.
    removed: int = 0
    reasons: Counter[str] = field(default_factory=Counter)
    newest: deque[Letter] = field(default_factory=deque)
    replayed: set[str] = field(default_factory=set)

    def add(self, letter: Letter) -> None:
        """Count a letter, the oldest first."""
        self.letters += 1
        self.bytes += len(letter.body or b"") + len(letter.raw)
        known = letter.reason in self.reasons or len(self.reasons) < MOST_REASONS
        self.reasons[letter.reason if known else OTHER_REASONS] += 1
        self.newest.append(letter)


class Requests:
    """The letters of a topic. Raises BrokerAway."""

    def __init__(self, section: KafkaSection) -> None:
        self._section = section.model_copy(update={"topic": dead_topic(section.topic)})
        # Origins of which a marker says that they were sent again; complete after `letters`.
        self.replayed: set[str] = set()
        self.removed = 0

    def letters(self) -> Iterator[Letter]:
        """All letters, the oldest first; none where there is no topic of them."""
        try:
            with TopicReader(self._section) as topic, Topics(self._section) as topics:
                for partition in topics.partitions(topic.name):
                    messages = topic.messages(partition)
                    self.removed += messages.oldest
                    for batch in messages:
                        for message in batch:
                            letter = _of_message(message)
                            if letter.reason == REPLAYED:
                                self.replayed.add(letter.origin)
                            else:
                                yield letter
        except CannotRead:
            return


def read_records(client: "redis.Redis", lane: Lane) -> Iterator[Letter]:
    """The parked records, the newest first, as they stand while it is read. Raises RedisAway."""
    try:
        for chunk in scan(client, Lane(lane.dead)):
            for raw in chunk:
                yield _of_record(raw)
    except redis.RedisError as away:
        if is_transient(away):
            raise RedisAway(away) from None
        raise


def pile_requests(section: KafkaSection, newest: int) -> Pile:
    """The requests, counted in one pass with flat memory."""
    requests = Requests(section)
    pile = Pile(newest=deque(maxlen=newest))
    for letter in requests.letters():
        pile.add(letter)
    pile.removed, pile.replayed = requests.removed, requests.replayed
    return pile


def pile_records(client: "redis.Redis", lane: Lane, newest: int) -> Pile:
    """The records, counted."""
    pile = Pile(newest=deque(maxlen=newest))
    first: list[Letter] = []
    for letter in read_records(client, lane):
        pile.add(letter)
        if len(first) < newest:
            first.append(letter)
    pile.newest = deque(reversed(first))
    return pile


def _of_message(message: Message) -> Letter:
    headers = cast("list[tuple[str, bytes | None]]", message.headers() or [])
    words = {name: (value or b"").decode(errors="replace") for name, value in headers}
    body = message.value()
    kind, at_ms = message.timestamp()
    return Letter(
        kind=REQUEST,
        origin=f"{words.get('source')}:{words.get('partition')}:{words.get('offset')}",
        reason=words.get("reason", "(no reason)"),
        body=body,
        size=int(words.get("size") or len(body or b"")),
        at_ms=int(at_ms) if kind else None,
    )


def _of_record(raw: bytes) -> Letter:
    try:
        letter = msgspec.json.decode(raw)
        reason, text = str(letter["reason"]), str(letter["record"])
    except (msgspec.MsgspecError, KeyError, TypeError) as wrong:
        return Letter(
            RECORD, "", f"a parked entry that is no letter: {wrong}", raw, len(raw), raw=raw
        )
    body = text.encode()
    try:
        record = parse(body)
    except Poison:
        return Letter(RECORD, "", reason, body, len(body), raw=raw)
    origin = f"{record.source}:{record.partition}:{record.offset}"
    return Letter(
        RECORD, origin, reason, body, len(body), record.timestamp * 1000, record.item_id, raw
    )


def is_request(body: bytes | None) -> bool:
    """Whether the decoder takes it by now."""
    try:
        decode(body)
    except Poison:
        return False
    return True


def printable(body: bytes | None, most: int) -> str:
    """A body's beginning that does nothing to a terminal; what is not plain ASCII is escaped."""
    if body is None:
        return "(null)"
    text = body[:most].decode("latin-1")
    shown = "".join(c if c in PRINTABLE else f"\\x{ord(c):02x}" for c in text)
    return shown + ("..." if len(body) > most else "")


def dump(body: bytes) -> Iterator[str]:
    """A body in lines: as text where it is text that is safe to print, else in hexadecimal."""
    try:
        text = body.decode()
    except UnicodeDecodeError:
        text = "\0"
    if all(c.isprintable() or c == "\n" for c in text):
        yield from text.splitlines()
        return
    for first in range(0, len(body), 16):
        part = body[first : first + 16]
        shown = "".join(chr(b) if chr(b) in PRINTABLE else "." for b in part)
        yield f"{first:06x}  {part.hex(' '):<47}  {shown}"

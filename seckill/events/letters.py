"""What is to be posted: events of a topic, and those that were given up: `<topic>.events.dead`.

A dead letter names its webhook and the reason, and holds the event as it was: its bytes are signed
and posted again by `run_webhooks --dead-letters`.
"""

import asyncio
from base64 import b64encode
from collections.abc import Callable
from dataclasses import dataclass

import msgspec

from seckill.broker.producer import Producer
from seckill.broker.topics import Topics
from seckill.config.sections import KafkaSection
from seckill.dead_letters.writer import TOPIC_CONFIGS, dead_topic
from seckill.errors import BrokerAway, Poison
from seckill.events.cloud_event import events_topic

# Seconds for the acknowledgement of a dead letter.
FLUSH_S = 10.0


class _Head(msgspec.Struct):
    id: str
    partitionkey: str


class _Dead(msgspec.Struct):
    webhook: str
    reason: str
    event: msgspec.Raw = msgspec.Raw()
    body: str | None = None


_head = msgspec.json.Decoder(_Head).decode
_dead = msgspec.json.Decoder(_Dead).decode


@dataclass(frozen=True, slots=True)
class Letter:
    """An event to be posted: its id, the user whose order it must keep, its bytes."""

    id: str
    user: str
    body: bytes


def read_event(value: bytes | None) -> Letter:
    """From a message of the topic of events. Raises Poison."""
    try:
        body = bytes(value or b"")
        body.decode()
        head = _head(body)
    except (msgspec.MsgspecError, UnicodeDecodeError) as wrong:
        raise Poison(f"not an event: {str(wrong)[:200]}") from None
    return Letter(head.id, head.partitionkey, body)


def read_dead(value: bytes | None, webhook: str) -> Letter | None:
    """From a dead letter of this webhook. None: there is nothing to post to this one."""
    try:
        dead = _dead(value or b"")
        return read_event(bytes(dead.event)) if dead.webhook == webhook else None
    except (msgspec.MsgspecError, Poison):
        return None


def dead_letter(webhook: str, reason: str, value: bytes | None) -> bytes:
    """The body of a dead letter."""
    try:
        read_event(value)
    except Poison:
        return msgspec.json.encode(_Dead(webhook, reason, msgspec.Raw(b"null"), _text(value)))
    return msgspec.json.encode(_Dead(webhook, reason, msgspec.Raw(value or b"")))


def parked(section: KafkaSection) -> tuple[str, int]:
    """The topic of the dead letters, and how many Kafka keeps there. Raises BrokerAway.

    Those that were posted again stay until they are too old.
    """
    topic = dead_topic(events_topic(section.topic))
    with Topics(section) as topics:
        if topics.source(topic) is None:
            return topic, 0
        oldest, ends = topics.start_offsets(topic), topics.end_offsets(topic)
    return topic, sum(end - oldest.get(partition, 0) for partition, end in ends.items())


def _text(value: bytes | None) -> str | None:
    return None if value is None else b64encode(value[:16_384]).decode()


class DeadEvents:
    """Writes dead letters, each acknowledged before it returns. Opens its producer when needed."""

    def __init__(
        self, section: KafkaSection, open_producer: Callable[[KafkaSection, str], Producer]
    ) -> None:
        self._section, self._open = section, open_producer
        self.topic = dead_topic(events_topic(section.topic))
        self._producer: Producer | None = None
        self._one_by_one = asyncio.Lock()

    async def park(self, webhook: str, reason: str, value: bytes | None) -> None:
        """Raises BrokerAway: try again."""
        async with self._one_by_one:
            await asyncio.to_thread(self._park, dead_letter(webhook, reason, value))

    def _park(self, body: bytes) -> None:
        if self._producer is None:
            with Topics(self._section) as topics:
                topics.ensure(self.topic, 1, TOPIC_CONFIGS)
            self._producer = self._open(self._section, self.topic)
        producer, why = self._producer, ["not acknowledged yet"]

        def done(reason: str) -> None:
            why[0] = reason

        producer.send(body, done=done)
        producer.flush(FLUSH_S)
        if why[0]:
            self.close()
            raise BrokerAway(f"a dead letter is not taken: {why[0]}")

    def close(self) -> None:
        """Close the producer, if there is one."""
        if self._producer is not None:
            self._producer.close()
            self._producer = None

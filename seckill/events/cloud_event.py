"""What became of an order, as a CloudEvent in JSON: one message of topic `<topic>.events`.

Owns the format (docs/events.md): types, ids, members. The id is made of the order's identity alone,
so an event that is sent again has the id that it had. The key is the user id, so the events of one
user are in one partition and keep their order.
"""

import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

import msgspec

SUFFIX, DEAD_SUFFIX = ".events", ".dead"
# Money for a hold that had ended. An order may have several.
PAYMENT_LATE = "payment_late"
TYPE_PREFIX = "seckill.order."
# The header by which a reader of Kafka knows a CloudEvent (its protocol binding, structured mode).
CONTENT_TYPE = "application/cloudevents+json; charset=UTF-8"
HEADERS = (("content-type", CONTENT_TYPE.encode()),)

_encode = msgspec.json.Encoder().encode


@dataclass(frozen=True, slots=True)
class Event:
    """An order was accepted, its hold ended, or money came after that. `items`: {item: units};
    `pay_until`: ms.

    `place` is the order: source, partition and offset of its request. `part` is the first item of a
    part that was stored later than the rest of its order, or None: see docs/events.md. `payment` is
    the settle message of money that came too late.
    """

    kind: str
    place: tuple[str, int, int]
    user_id: int
    activity_id: int
    items: Mapping[int, int]
    at: datetime
    request_id: str | None = None
    pay_until: int | None = None
    reference: str | None = None
    part: int | None = None
    payment: str | None = None

    @property
    def order(self) -> str:
        """The order's name."""
        return ":".join(map(str, self.place))

    @property
    def id(self) -> str:
        """The same for each repeat of this event, and of no other."""
        more = [str(word) for word in (self.part, self.payment) if word is not None]
        return ":".join([self.order, self.kind, *more])

    @property
    def key(self) -> bytes:
        """The message's key."""
        return b"%d" % self.user_id


def encode(event: Event, topic: str) -> bytes:
    """The body of its message. `topic` is that of the requests."""
    data = {
        "order": event.order,
        "user_id": event.user_id,
        "activity_id": event.activity_id,
        "items": {str(item): units for item, units in event.items.items()} or None,
        "request_id": event.request_id,
        "pay_until": event.pay_until,
        "reference": event.reference,
        "payment": event.payment,
    }
    return _encode(
        {
            "specversion": "1.0",
            "id": event.id,
            "source": f"/seckill/{topic}",
            "type": TYPE_PREFIX + event.kind,
            "subject": event.order,
            "time": event.at.astimezone(UTC).isoformat(timespec="seconds").replace("+00:00", "Z"),
            "datacontenttype": "application/json",
            "partitionkey": str(event.user_id),
            "data": {name: value for name, value in data.items() if value is not None},
        }
    )


def partition_of(key: bytes, partitions: int) -> int:
    """Where the events of a user go. The same for both Kafka clients."""
    return zlib.crc32(key) % partitions


def events_topic(topic: str) -> str:
    """The topic of the events about the requests of `topic`."""
    return topic + SUFFIX

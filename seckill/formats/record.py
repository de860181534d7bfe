"""Entries of the list: parsing them, identifying them, and telling whether two are one order.

Owns their format for readers. decide_batch.lua writes the records of accepted requests. What
became of a hold comes later in the same list, from settle_batch.lua and expire_holds.lua: a
settlement for each item of it, or a payment that came too late. `kind` tells them apart.
"""

from collections.abc import Iterable, Iterator
from functools import lru_cache
from typing import Annotated
from uuid import UUID

import msgspec

from seckill.errors import Poison
from seckill.formats.outcomes import MAX_ID

Id = Annotated[int, msgspec.Meta(ge=1, le=MAX_ID)]
Count = Annotated[int, msgspec.Meta(ge=0, le=MAX_ID)]
Partition = Annotated[int, msgspec.Meta(ge=0, le=2**31 - 1)]
# Where a record comes from: one accepted item of one Kafka message.
IDENTITY = ("source", "partition", "offset", "item_id")
# What was bought, and by which click. These are the message's own, so a record that is stored again
# from the topic has them too. A row with the same identity and other content is another order.
CONTENT = ("user_id", "activity_id", "quantity")
CLICK = "request_id"
# Identity and content without the click, which what became of a hold does not name.
SAME_ORDER = (*IDENTITY, *CONTENT)
# What an entry is: `ACCEPTED`, or its status if that is one of these. A hold is settled once.
ACCEPTED, PAID, EXPIRED, CANCELLED, TOO_LATE = (
    "accepted", "paid", "expired", "cancelled", "too_late",
)  # fmt: skip
SETTLED = frozenset((PAID, EXPIRED, CANCELLED))
NOT_ACCEPTED = SETTLED | {TOO_LATE}
# The last moment that the year 9999 has, ms.
MAX_DUE_MS = 253_402_300_799_999
# Characters of a payment's reference.
MAX_REFERENCE = 128


class WireRecord(msgspec.Struct, frozen=True, gc=False):
    """One accepted item of a request. The first seven members are the original system's format.

    `source` is the canonical text of a UUID. Decoding it as a UUID would cost a third of the time.
    A settlement has all but `due` of the record that it settles, but its own status and timestamp.
    """

    user_id: Id
    activity_id: Id
    item_id: Id
    quantity: Id
    cost_ms: Count
    status: Annotated[str, msgspec.Meta(max_length=32)]
    timestamp: Annotated[int, msgspec.Meta(ge=0, le=253_402_300_799)]
    source: str
    partition: Partition
    offset: Count
    version: Count
    request_id: str | None = None
    # The traceparent of a traced request: spans about this record link to it.
    trace: Annotated[str, msgspec.Meta(max_length=64)] | None = None
    # Of a hold: until when it may be paid, ms since the epoch.
    due: Annotated[int, msgspec.Meta(ge=0, le=MAX_DUE_MS)] | None = None
    # The settle message: source, partition, offset. None: nobody settled it, the hold expired.
    settled_by: tuple[str, Partition, Count] | None = None
    # The payment's own name, as the shop gave it.
    reference: Annotated[str, msgspec.Meta(max_length=MAX_REFERENCE)] | None = None
    # Of an expired hold: whether its units count against the user's limit no more. None: an earlier
    # version let it expire, and the setting of today says it.
    forgiven: bool | None = None

    @property
    def kind(self) -> str:
        """ACCEPTED, PAID, EXPIRED, CANCELLED, or TOO_LATE."""
        return self.status if self.status in NOT_ACCEPTED else ACCEPTED

    @property
    def identity(self) -> tuple[UUID, int, int, int]:
        """The Kafka message that it comes from, and the item within it."""
        return source_id(self.source), self.partition, self.offset, self.item_id


class LatePayment(WireRecord, frozen=True, gc=False, kw_only=True):
    """Money for a hold that had expired or was given back. It moves no units: item and quantity
    are 0, so that a program which only sums up is not misled.
    """

    item_id: Annotated[int, msgspec.Meta(ge=0, le=0)]
    quantity: Annotated[int, msgspec.Meta(ge=0, le=0)]
    settled_by: tuple[str, Partition, Count]


def same_identity(one: str, other: str) -> str:
    """SQL: the records of two tables, given by their aliases, have one identity."""
    return " AND ".join(f'{one}."{name}" = {other}."{name}"' for name in IDENTITY)


def same_content(one: str, other: str) -> str:
    """SQL: they are one order, if their identity is the same. An empty request id is none."""
    equal = " AND ".join(f'{one}."{name}" = {other}."{name}"' for name in CONTENT)
    return f"({equal} AND coalesce({one}.{CLICK}, '') = coalesce({other}.{CLICK}, ''))"


_decode = msgspec.json.Decoder(WireRecord).decode
_decode_late = msgspec.json.Decoder(LatePayment).decode


@lru_cache(maxsize=64)
def source_id(source: str) -> UUID:
    """The UUID of a topic from its text. Raises ValueError unless the text is canonical."""
    try:
        found = UUID(source)
        if str(found) == source:
            return found
    except ValueError:
        pass
    raise ValueError(f"Invalid UUID {source[:80]!r} - at `$.source`")


def parse(raw: bytes) -> WireRecord:
    """Parse one entry of the list. Raises Poison with the reason."""
    try:
        record = _decode(raw)
        source_id(record.source)
        if record.settled_by is not None:
            source_id(record.settled_by[0])
        return record
    except (msgspec.MsgspecError, ValueError, RecursionError) as wrong:
        late = _late_payment(raw)
        if late is not None:
            return late
        raise Poison(str(wrong)[:300]) from None


def readable(texts: Iterable[bytes]) -> Iterator[WireRecord]:
    """Parse what can be parsed. What is not a record is left out: the log worker keeps it apart,
    and the audit reports it.
    """
    for text in texts:
        try:
            yield parse(text)
        except Poison:
            continue


def _late_payment(raw: bytes) -> LatePayment | None:
    try:
        late = _decode_late(raw)
        source_id(late.source)
        source_id(late.settled_by[0])
        return late if late.status == TOO_LATE else None
    except (msgspec.MsgspecError, ValueError, RecursionError):
        return None

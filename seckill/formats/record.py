"""Records in the list: parsing them, identifying them, and telling whether two are one order.

Owns the record's format for readers. Only decide_batch.lua writes records.
"""

from functools import lru_cache
from typing import Annotated
from uuid import UUID

import msgspec

from seckill.errors import Poison
from seckill.formats.outcomes import MAX_ID

Id = Annotated[int, msgspec.Meta(ge=1, le=MAX_ID)]
Count = Annotated[int, msgspec.Meta(ge=0, le=MAX_ID)]
# Where a record comes from: one accepted item of one Kafka message.
IDENTITY = ("source", "partition", "offset", "item_id")
# What was bought, and by which click. These are the message's own, so a record that is stored again
# from the topic has them too. A row with the same identity and other content is another order.
CONTENT = ("user_id", "activity_id", "quantity")
CLICK = "request_id"


class WireRecord(msgspec.Struct, frozen=True, gc=False):
    """One accepted item of a request. The first seven members are the original system's format.

    `source` is the canonical text of a UUID. Decoding it as a UUID would cost a third of the time.
    """

    user_id: Id
    activity_id: Id
    item_id: Id
    quantity: Id
    cost_ms: Count
    status: Annotated[str, msgspec.Meta(max_length=32)]
    timestamp: Annotated[int, msgspec.Meta(ge=0, le=253_402_300_799)]
    source: str
    partition: Annotated[int, msgspec.Meta(ge=0, le=2**31 - 1)]
    offset: Count
    version: Count
    request_id: str | None = None
    # The traceparent of a traced request: spans about this record link to it.
    trace: Annotated[str, msgspec.Meta(max_length=64)] | None = None

    @property
    def identity(self) -> tuple[UUID, int, int, int]:
        """The Kafka message that it comes from, and the item within it."""
        return source_id(self.source), self.partition, self.offset, self.item_id


def same_identity(one: str, other: str) -> str:
    """SQL: the records of two tables, given by their aliases, have one identity."""
    return " AND ".join(f'{one}."{name}" = {other}."{name}"' for name in IDENTITY)


def same_content(one: str, other: str) -> str:
    """SQL: they are one order, if their identity is the same. An empty request id is none."""
    equal = " AND ".join(f'{one}."{name}" = {other}."{name}"' for name in CONTENT)
    return f"({equal} AND coalesce({one}.{CLICK}, '') = coalesce({other}.{CLICK}, ''))"


_decode = msgspec.json.Decoder(WireRecord).decode


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
    """Parse one record from the list. Raises Poison with the reason."""
    try:
        record = _decode(raw)
        source_id(record.source)
        return record
    except (msgspec.MsgspecError, ValueError, RecursionError) as wrong:
        raise Poison(str(wrong)[:300]) from None

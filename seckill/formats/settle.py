"""Settlements: the message by which a shop or a buyer settles a hold, in topic `<topic>.settle`.

Owns the body's format and its checks (docs/formats.md). The key is the user id as text, so the
messages of one user keep their order. Decoding raises nothing but Poison.
"""

from enum import StrEnum
from typing import Annotated

import msgspec

from seckill.errors import Poison
from seckill.formats.outcomes import MAX_TIME_MS, Unreadable
from seckill.formats.record import source_id
from seckill.formats.request import Id, TimeMs, reason_of, refuse_repeated_keys

# Characters of the shop's own reference, such as the id of a payment.
MAX_REFERENCE = 128
# Partition numbers have 32 bits. Lua holds no offset above this one exactly.
MAX_PARTITION, MAX_OFFSET = 2**31 - 1, MAX_TIME_MS
# Members that every body has. `reference` is the only other one.
MEMBERS = 5
UNSET = msgspec.UNSET
SUFFIX = ".settle"


class Result(StrEnum):
    """What became of a hold. Failed and cancelled both release it."""

    PAID = "paid"
    FAILED = "failed"
    CANCELLED = "cancelled"


Partition = Annotated[int, msgspec.Meta(ge=0, le=MAX_PARTITION)]
Offset = Annotated[int, msgspec.Meta(ge=0, le=MAX_OFFSET)]
Reference = Annotated[str, msgspec.Meta(max_length=MAX_REFERENCE)]


class Settlement(msgspec.Struct, gc=False):
    """One settlement. `hold` is the place of the held request: source, partition, offset.

    `at` is the sender's clock in ms. It decides nothing: only Redis's clock does.
    """

    activity_id: Id
    user_id: Id
    hold: tuple[str, Partition, Offset]
    result: Result
    at: TimeMs
    reference: Reference | msgspec.UnsetType | None = UNSET

    @property
    def place(self) -> str:
        """The place of the held request as text, as in the keys of Redis."""
        source, partition, offset = self.hold
        return f"{source}:{partition}:{offset}"


_decode = msgspec.json.Decoder(Settlement).decode
_encode = msgspec.json.Encoder().encode


def settle_topic(topic: str) -> str:
    """The topic of the settlements for the requests of `topic`."""
    return topic + SUFFIX


def request_topic(topic: str) -> str:
    """The topic of the requests whose settlements are in `topic`."""
    return topic.removesuffix(SUFFIX)


def key_of(user_id: int) -> bytes:
    """The message key of a user's settlements."""
    return b"%d" % user_id


def encode(settlement: Settlement) -> bytes:
    """The body of a message. The caller has checked the values, or decodes the answer once."""
    return _encode(settlement)


def decode(value: bytes | None) -> Settlement:
    """The settlement in a message's value. Raises Poison with the reason in words."""
    if not value:
        if isinstance(value, Unreadable):
            raise Poison(value.reason)
        raise Poison("no body (null value)" if value is None else "empty body")
    try:
        settlement = _decode(value)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as wrong:
        raise Poison(reason_of(wrong)) from None
    try:
        source_id(settlement.hold[0])
    except ValueError:
        raise Poison(f"hold names no topic's id: {settlement.hold[0][:80]!r}") from None
    reference = settlement.reference
    if reference and not reference.isprintable():
        raise Poison("reference holds a character that cannot be printed")
    # See `request.decode`: surplus colons may be a key that is named twice.
    if value.count(b":") != MEMBERS + (reference is not UNSET):
        refuse_repeated_keys(value)
    return settlement

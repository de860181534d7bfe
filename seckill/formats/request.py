"""From the bytes of a message to a request, or to the reason why it is not one.

Owns the checks of a request's body (docs/formats.md). Raises nothing but Poison.
"""

import json
from collections.abc import Callable, Sequence
from typing import Annotated, Any

import msgspec

from seckill.errors import Poison
from seckill.formats.outcomes import (
    DEFAULT_ACTIVITY,
    MAX_ID,
    MAX_ITEMS,
    MAX_QUANTITY,
    MAX_REQUEST_ID,
    MAX_TIME_MS,
    Unreadable,
)

Id = Annotated[int, msgspec.Meta(ge=1, le=MAX_ID)]
Quantity = Annotated[int, msgspec.Meta(ge=1, le=MAX_QUANTITY)]
Items = Annotated[dict[Id, Quantity], msgspec.Meta(min_length=1, max_length=MAX_ITEMS)]
TimeMs = Annotated[int, msgspec.Meta(ge=0, le=MAX_TIME_MS)]
RequestId = Annotated[str, msgspec.Meta(max_length=MAX_REQUEST_ID)]
UNSET = msgspec.UNSET


class Request(msgspec.Struct, gc=False):
    """What a buyer sends."""

    user_id: Id
    items: Items
    request_initiation_time: TimeMs
    activity_id: Id | msgspec.UnsetType | None = UNSET
    request_id: RequestId | msgspec.UnsetType | None = UNSET

    @property
    def activity(self) -> int:
        """The activity id; the default one if the request names none."""
        return self.activity_id or DEFAULT_ACTIVITY


_decode: Callable[[bytes], Request] = msgspec.json.Decoder(Request).decode


def decode(value: bytes | None) -> Request:
    """The request in a message's value. Raises Poison with the reason in words."""
    if not value:
        if isinstance(value, Unreadable):
            raise Poison(value.reason)
        raise Poison("no body (null value)" if value is None else "empty body")
    try:
        request = _decode(value)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as wrong:
        raise Poison(reason_of(wrong)) from None
    # A body has one colon for each member that was read. Surplus colons mean unknown members,
    # colons inside texts, or a repeated key, of which the decoder silently keeps the last.
    members = 3 + len(request.items)
    if request.activity_id is not UNSET:
        members += 1
    if request.request_id is not UNSET:
        members += 1
        if request.request_id and "\x00" in request.request_id:
            raise Poison("request_id holds a NUL character")
    if value.count(b":") != members:
        refuse_repeated_keys(value)
    return request


def decode_all(values: Sequence[bytes | None]) -> tuple[list[Request | Poison], bool]:
    """`decode` for many values: a request or a Poison for each, and whether all requests are plain.

    A plain request names no activity and no request id. No body has fewer colons than members, so
    one count over all bodies shows whether any has a surplus.
    """
    try:
        requests = [_decode(value) for value in values]  # type: ignore[arg-type]
        surplus = b"".join(values).count(b":") - 3 * len(requests)  # type: ignore[arg-type]
        surplus -= sum([len(request.items) for request in requests])
        if not surplus:
            return requests, True  # type: ignore[return-value]
        ids = [request.request_id or "" for request in requests if request.request_id is not UNSET]
        named = len([0 for request in requests if request.activity_id is not UNSET])
        if surplus == named + len(ids) and "\x00" not in "".join(ids):
            return requests, False  # type: ignore[return-value]
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError, TypeError):
        # At least one is not a request. Decode them one by one to find which, and why.
        pass
    return [_decode_or_poison(value) for value in values], False


def _decode_or_poison(value: bytes | None) -> Request | Poison:
    try:
        return decode(value)
    except Poison as poison:
        # Drop the traceback: it refers to the callers and their bodies, and they refer to it.
        return Poison(*poison.args)


def refuse_repeated_keys(value: bytes) -> None:
    """Raises Poison if a key occurs twice: such a body has two meanings, so it has none."""

    def check(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        known = dict(pairs)
        if len(known) != len(pairs):
            names = [name for name, _ in pairs]
            twice = next(name for name in names if names.count(name) > 1)
            raise Poison(f"key {twice[:80]!r} is named twice")
        return known

    try:
        # From text, not bytes: from bytes json accepts lone surrogates, which are not UTF-8.
        json.loads(value.decode(), object_pairs_hook=check, parse_int=str, parse_float=str)
    except (ValueError, RecursionError) as wrong:
        raise Poison(reason_of(wrong)) from None


def reason_of(wrong: Exception) -> str:
    """Why a body cannot be read, in words."""
    if isinstance(wrong, RecursionError):
        return "nested too deeply"
    if isinstance(wrong, UnicodeDecodeError):
        return "not UTF-8"
    return str(wrong)[:300]

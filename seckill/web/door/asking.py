"""Reads what a buyer asks: headers and body, strictly. Raises Problem that says what is wrong."""

import re
from collections.abc import Mapping

import msgspec

from seckill.formats.outcomes import MAX_ID
from seckill.formats.request import Id, Items
from seckill.web.door.clicks import Order
from seckill.web.door.http import Problem
from seckill.web.door.tickets import click_of

# The longest wait for a decision, s.
MOST_WAIT_S = 25
KEY_LENGTH = range(8, 65)


class _Body(msgspec.Struct, forbid_unknown_fields=True):
    activity_id: Id
    items: Items


_is_key = re.compile(rb"[A-Za-z0-9_-]+").fullmatch
_read_body = msgspec.json.Decoder(_Body).decode


def key_of(headers: Mapping[bytes, bytes]) -> str:
    """The Idempotency-Key."""
    key = headers.get(b"idempotency-key", b"")
    if len(key) not in KEY_LENGTH or not _is_key(key):
        raise Problem(
            400, "send an Idempotency-Key of 8 to 64 characters of A-Z, a-z, 0-9, _ and -"
        )
    return key.decode()


def wait_of(headers: Mapping[bytes, bytes]) -> float:
    """Seconds that the buyer wants to wait for a decision."""
    for preference in headers.get(b"prefer", b"").split(b","):
        name, _, value = preference.strip().partition(b"=")
        if name == b"wait" and value.isdigit() and len(value) < 10:
            return float(min(int(value), MOST_WAIT_S))
    return 0.0


def order_of(body: bytes, user_id: int, key: str) -> Order:
    """The order in a body."""
    try:
        asked = _read_body(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as wrong:
        status = 422 if isinstance(wrong, msgspec.ValidationError) else 400
        raise Problem(status, f"not an order: {str(wrong)[:200]}") from None
    # A body has a colon for each member that was read. A key named twice has two meanings.
    if body.count(b":") != 2 + len(asked.items):
        raise Problem(400, "not an order: a key is named twice")
    return Order(user_id, asked.activity_id, asked.items, click_of(user_id, key))


def number_of(text: str) -> int:
    """An id in a path; 0 for anything else."""
    number = int(text) if text.isascii() and text.isdigit() and len(text) < 20 else 0
    return number if number <= MAX_ID else 0

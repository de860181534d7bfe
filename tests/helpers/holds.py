"""Entries of the list that tell what became of a hold, as the scripts of the settler write them."""

import uuid
from typing import Any

from seckill.formats.record import WireRecord
from tests.helpers.books import record

SETTLE_SOURCE = str(uuid.UUID(int=14))
DUE_MS = 1795448599123


def held(offset: int, **members: Any) -> WireRecord:
    """A record of a hold: two units of item 1001 for user 564."""
    return record(offset, **{"due": DUE_MS, **members})


def paid(offset: int, at: int, **members: Any) -> WireRecord:
    """It was paid: by the settle message at offset `at` of partition 1."""
    return _settled("paid", offset, at, **members)


def cancelled(offset: int, at: int, **members: Any) -> WireRecord:
    """It was given back."""
    return _settled("cancelled", offset, at, **members)


def expired(offset: int, **members: Any) -> WireRecord:
    """Nobody has paid it in time."""
    return record(offset, **{"status": "expired", "cost_ms": 0, **members})


def late(offset: int, at: int, **members: Any) -> WireRecord:
    """Money came after its end."""
    return _settled("too_late", offset, at, **{"item_id": 0, "quantity": 0, **members})


def _settled(status: str, offset: int, at: int, **members: Any) -> WireRecord:
    more = {"status": status, "cost_ms": 0, "settled_by": [SETTLE_SOURCE, 1, at], **members}
    return record(offset, **more)

"""Which messages are traced: their header `traceparent`, checked before anybody trusts it."""

import re
from collections.abc import Iterable
from typing import Any

HEADER = "traceparent"
# Of a sampled request, as W3C writes it. It is pasted into records: nothing else may get through.
SAMPLED = re.compile(rb"00-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f][13579bdf]")
# Traces taken of one poll, at most: a sender that traces everything does not slow the sale.
TRACES_A_POLL = 32


def traces_of(messages: Iterable[tuple[int, Any]]) -> dict[int, str]:
    """{offset: traceparent} of (offset, headers), the first TRACES_A_POLL sampled ones."""
    found: dict[int, str] = {}
    for offset, headers in messages:
        for name, value in headers or ():
            if name == HEADER and isinstance(value, bytes) and SAMPLED.fullmatch(value):
                found[offset] = value.decode()
        if len(found) >= TRACES_A_POLL:
            break
    return found

"""Which messages are traced: reads and checks their header `traceparent`."""

import re
from collections.abc import Iterable
from typing import Any

HEADER = "traceparent"
# A sampled traceparent as defined by W3C. It is pasted into records, so nothing else may pass.
SAMPLED = re.compile(rb"00-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f][13579bdf]")
# Traces per poll, at most: a sender that traces everything must not slow the sale.
TRACES_A_POLL = 32


def traces_of(messages: Iterable[tuple[int, Any]]) -> dict[int, str]:
    """{offset: traceparent} from (offset, headers): the first TRACES_A_POLL sampled ones."""
    found: dict[int, str] = {}
    for offset, headers in messages:
        for name, value in headers or ():
            if name == HEADER and isinstance(value, bytes) and SAMPLED.fullmatch(value):
                found[offset] = value.decode()
        if len(found) >= TRACES_A_POLL:
            break
    return found

"""The headers of a parked request: where the message came from, why it is parked, how long it was.

Owns reading them. Anybody may write to the topic: what does not say these things in one way is odd,
and shown as what it is. Only what is not odd may be sent again: else nobody could tell it from a
replay that was done before.
"""

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from seckill.wire import MAX_ID

NO_REASON = "(no reason)"
# Partitions are numbered in 32 bits.
MAX_PARTITION = 2**31 - 1
# Characters of a wrong value that are shown.
SHOWN = 60


@dataclass(frozen=True)
class Headers:
    """What they say. `odd` is why they say it in no one way, and empty for most; then `origin`,
    source:partition:offset, is empty. `size` is None where no header has it."""

    origin: str
    reason: str
    size: int | None = None
    odd: str = ""


def read_headers(found: Iterable[tuple[str, bytes | None]]) -> Headers:
    """Those of a message of the dead letters' topic; names that are no UTF-8 have surrogates."""
    values: dict[str, list[bytes | None]] = {}
    for name, value in found:
        if any(map(_is_surrogate, name)):
            return Headers("", NO_REASON, odd="the name of a header is no UTF-8")
        values.setdefault(name, []).append(value)
    reason = (values.get("reason") or [NO_REASON.encode()])[0] or NO_REASON.encode()
    wrong: list[str] = []

    def only(name: str, fits: Callable[[str], bool], what: str, *, needed: bool = True) -> str:
        given = values.get(name, [])
        if not given and not needed:
            return ""
        if len(given) != 1:
            wrong.append(f"header {name} is {'there twice' if given else 'missing'}")
            return ""
        text = "(null)" if given[0] is None else given[0].decode(errors="backslashreplace")
        if not fits(text):
            wrong.append(f"header {name} is no {what}: {text[:SHOWN]}")
        return text

    source = only("source", _is_source, "id of a topic")
    partition = only("partition", _is_number_to(MAX_PARTITION), "partition")
    offset = only("offset", _is_number_to(MAX_ID - 1), "offset")
    size = only("size", _is_number_to(MAX_ID), "size", needed=False)
    only("reason", lambda text: True, "reason")
    told = reason.decode(errors="backslashreplace")
    if wrong:
        return Headers("", told, odd="; ".join(wrong))
    return Headers(f"{source}:{partition}:{offset}", told, int(size) if size else None)


def _is_surrogate(sign: str) -> bool:
    return "\ud800" <= sign <= "\udfff"


def _is_source(text: str) -> bool:
    return bool(re.fullmatch(r"[\w-]{1,64}", text, re.ASCII))


def _is_number_to(most: int) -> Callable[[str], bool]:
    def fits(text: str) -> bool:
        return bool(re.fullmatch(r"\d{1,19}", text, re.ASCII)) and int(text) <= most

    return fits

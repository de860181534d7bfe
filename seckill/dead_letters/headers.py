"""The headers of a parked request: where it came from, why it is parked, how long it was.

Owns reading them. Anybody may write to the topic. A letter whose headers are missing, wrong or
ambiguous is "odd" and is shown as such. An odd letter cannot be replayed, because nobody could tell
whether it was replayed before.
"""

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from seckill.formats.outcomes import MAX_ID

NO_REASON = "(no reason)"
# Partition numbers have 32 bits.
MAX_PARTITION = 2**31 - 1
# Characters of a wrong value that are shown.
SHOWN = 60


@dataclass(frozen=True)
class Headers:
    """What the headers say. `odd` says what is wrong with them, "" for most letters. If it is set,
    `origin` (source:partition:offset) is "". `size` is None if no header has it."""

    origin: str
    reason: str
    size: int | None = None
    odd: str = ""


def read_headers(found: Iterable[tuple[str, bytes | None]]) -> Headers:
    """The headers of a dead letter. Bytes of names that are not UTF-8 come as surrogates."""
    values: dict[str, list[bytes | None]] = {}
    for name, value in found:
        if any(map(_is_surrogate, name)):
            return Headers("", NO_REASON, odd="the name of a header is not UTF-8")
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
            wrong.append(f"header {name} is not a valid {what}: {text[:SHOWN]}")
        return text

    source = only("source", _is_source, "topic id")
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

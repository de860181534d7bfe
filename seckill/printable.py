"""Texts that came from outside, as they may be shown: on a terminal, in a log, in JSON.

A terminal obeys what it is sent: an escape sequence in a name could set its title, hide a line, or
paste a command. So what is not printable (controls, C1, bidi overrides, what is invisible) is shown
as \\x1b or \\u202e, and all that can be read stays as it is, in any language.
"""

import json
import sys
import unicodedata
from typing import Any


def is_printable(text: str) -> bool:
    """Whether a terminal does nothing but show it. A line's end is no part of a text."""
    return text.isprintable() or all(map(_is_shown, text))


def printable(text: str) -> str:
    """The text in one line."""
    if text.isprintable():
        return text
    return "".join(c if _is_shown(c) else _escaped(c) for c in text)


def printable_lines(text: str) -> str:
    """The same for a text of several lines, which may be indented by tabs."""
    if text.isprintable():
        return text
    return "".join(c if c in "\n\t" or _is_shown(c) else _escaped(c) for c in text)


def preview(body: bytes | None, most: int) -> str:
    """The first bytes of a body, in one line."""
    if body is None:
        return "(null)"
    text = printable(body[:most].decode(errors="backslashreplace"))
    return text + ("..." if len(body) > most else "")


def json_text(document: Any, indent: int | None = None) -> str:
    """JSON that can be printed: readable, and nothing in it but what is shown.

    Where standard output or error know no Unicode it is plain ASCII: what such a stream writes in
    place of other characters would be no JSON.
    """
    text = json.dumps(document, ensure_ascii=_is_narrow(), indent=indent, default=str)
    if text.isprintable():
        return text
    return "".join(c if c == "\n" or _is_shown(c) else json.dumps(c)[1:-1] for c in text)


def given(argument: str) -> str:
    """A word of the command line or of the environment as text.

    Python keeps bytes that are none in its encoding as halves of characters, which nothing takes.
    They are UTF-8 where the locale is C, and else shown as they are: \\xff.
    """
    if argument.isascii() or not any("\udc80" <= c <= "\udcff" for c in argument):
        return argument
    return argument.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")


def _is_shown(c: str) -> bool:
    # Spaces other than the plain one, of Chinese texts for example, are harmless.
    return c.isprintable() or unicodedata.category(c) == "Zs"


def _escaped(c: str) -> str:
    code = ord(c)
    if code <= 0xFF:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code <= 0xFFFF else f"\\U{code:08x}"


def _is_narrow() -> bool:
    return any(
        not str(getattr(stream, "encoding", None) or "utf-8").lower().startswith("utf")
        for stream in (sys.stdout, sys.stderr)
    )

"""Text from outside, made safe to show on a terminal, in a log or in JSON.

A terminal obeys control characters: an escape sequence in a name could set its title, hide a line
or paste a command. So every character that is not printable (control characters, bidi overrides,
invisible characters) is shown as \\x1b or \\u202e. Readable text in any language stays as it is.
"""

import json
import re
import sys
import unicodedata
from typing import Any

# A password in an address, in its options, or in libpq's words.
_PASSWORD = re.compile(r"(://[^\s:/@]*:)[^\s@]+(?=@)|(password=)[^\s&@'\"]+")


def is_printable(text: str) -> bool:
    """Whether a terminal only shows it. A line break makes it not printable."""
    return text.isprintable() or all(map(_is_shown, text))


def printable(text: str) -> str:
    """The text in one line."""
    if text.isprintable():
        return text
    return "".join(c if _is_shown(c) else _escaped(c) for c in text)


def printable_lines(text: str) -> str:
    """The same for text of several lines, which may be indented with tabs."""
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
    """JSON that is safe to print.

    It is plain ASCII if standard output or standard error cannot encode Unicode: what such a stream
    writes in place of other characters would not be JSON.
    """
    text = json.dumps(document, ensure_ascii=_is_narrow(), indent=indent, default=str)
    if text.isprintable():
        return text
    return "".join(c if c == "\n" or _is_shown(c) else json.dumps(c)[1:-1] for c in text)


def given(argument: str) -> str:
    """A word of the command line or of the environment as valid text.

    Python turns undecodable bytes into lone surrogates, which nothing else accepts. Under the C
    locale these bytes are often UTF-8, so they are decoded; any others are shown as \\xff.
    """
    if argument.isascii() or not any("\udc80" <= c <= "\udcff" for c in argument):
        return argument
    return argument.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")


def _is_shown(c: str) -> bool:
    # Spaces other than the plain one, such as in Chinese text, are harmless.
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


def without_passwords(text: str) -> str:
    """Text for a log, with the password of each address in it replaced."""
    return _PASSWORD.sub(r"\1\2***", text) if "://" in text or "password=" in text else text


def without_addresses(text: str) -> str:
    """Text for people, with each address replaced: it may contain a password."""
    return re.sub(r"\S*(://|@)\S*", "(an address)", text)

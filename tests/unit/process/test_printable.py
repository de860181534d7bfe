"""Texts from outside: what steers a terminal is shown, what people read stays as it is."""

import io
import json
import logging
import sys
from typing import Any

import pytest

from seckill.process.console import Console
from seckill.process.logs import formatter
from seckill.process.printable import (
    given,
    is_printable,
    json_text,
    preview,
    printable,
    printable_lines,
)
from seckill.process.terminal import Output

TITLE, RED = "\x1b]0;x\x07", "\x9b31m"


@pytest.mark.parametrize(
    "text",
    [
        "plain",
        "限时抢购 ① 100%",
        "prix d'été — ½",
        "بيع",
        "🎉",
        "a\u3000b\u00a0c",
        "[red]",
        "C:\\x1b",
        "",
    ],
)
def test_what_can_be_read_stays(text: str) -> None:
    assert printable(text) == text
    assert is_printable(text)
    assert json.loads(json_text({"text": text})) == {"text": text}


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        (TITLE, r"\x1b]0;x\x07"),
        (RED, r"\x9b31m"),
        ("a\nb\tc\rd", r"a\x0ab\x09c\x0dd"),
        ("\x00\x7f\x85", r"\x00\x7f\x85"),
        # Text that runs the other way, and what is invisible.
        ("\u202egnp.exe", r"\u202egnp.exe"),
        ("\u2066\u2069\u200b\ufeff", r"\u2066\u2069\u200b\ufeff"),
        ("\u2028\u2029", r"\u2028\u2029"),
        ("抢\U000e0041", r"抢\U000e0041"),
        ("\udcff\ud800", r"\udcff\ud800"),
    ],
)
def test_what_steers_a_terminal_is_shown(text: str, shown: str) -> None:
    assert printable(text) == shown
    assert not is_printable(text)
    line = json_text({"text": text})
    assert line.isprintable()
    assert json.loads(line) == {"text": text}


def test_every_character_does_nothing_or_is_shown() -> None:
    for code in range(sys.maxunicode + 1):
        shown = printable(chr(code))
        assert shown == chr(code) or (shown.isascii() and shown.isprintable())
    controls = [*range(0x20), *range(0x7F, 0xA0), *range(0x202A, 0x202F), *range(0x2066, 0x206A)]
    assert all(printable(chr(code)) != chr(code) for code in controls)


def test_lines_keep_their_ends() -> None:
    assert printable_lines(f"a\n\t{RED}b\r\n") == "a\n\t\\x9b31mb\\x0d\n"


def test_a_body() -> None:
    assert preview(None, 9) == "(null)"
    assert preview("抢".encode() + b"\xff\x1b", 9) == r"抢\xff\x1b"
    assert preview("抢购".encode(), 4) == r"抢\xe8..."


def test_words_that_the_locale_could_not_read() -> None:
    assert given("抢 plain") == "抢 plain"
    assert given("抢".encode().decode("ascii", "surrogateescape")) == "抢"
    assert given(b"a\xff\x1b".decode("utf-8", "surrogateescape")) == "a\\xff\x1b"


def test_json_is_json_where_the_stream_knows_no_unicode(monkeypatch: pytest.MonkeyPatch) -> None:
    document = {"name": "été 抢 🎉"}
    assert "抢" in json_text(document)
    narrow = io.TextIOWrapper(io.BytesIO(), encoding="ascii", errors="backslashreplace")
    monkeypatch.setattr(sys, "stdout", narrow)
    assert json_text(document).isascii()
    assert json.loads(json_text(document)) == document


@pytest.mark.parametrize("log_format", ["text", "json"])
def test_a_line_of_the_log(log_format: str) -> None:
    try:
        raise ValueError(f"why {TITLE}\nnext")
    except ValueError:
        trace: Any = sys.exc_info()
    record = logging.LogRecord(
        "seckill.x", logging.ERROR, "x.py", 1, "抢 of %s\n12:00:00 forged", (TITLE + RED,), trace
    )
    record.fields = {"group": RED}
    line = formatter(log_format).format(record)
    assert "抢 of " in line
    assert is_printable(line.replace("\n", ""))
    if log_format == "json":
        assert "\n" not in line
        assert json.loads(line)["message"] == f"抢 of {TITLE}{RED}\n12:00:00 forged"
        assert json.loads(line)["group"] == RED
    else:
        # One line, whatever is in it; only the traceback has its own.
        assert line.splitlines()[0].endswith(r"抢 of \x1b]0;x\x07\x9b31m\x0a12:00:00 forged")
        assert line.splitlines()[1].startswith("Traceback")
        assert r"why \x1b]0;x\x07" in line


def test_what_a_command_writes() -> None:
    out = io.StringIO()
    output = Output(out)
    output.write(f"抢 {TITLE}{RED}\nnext")
    # Colours of our own come after it.
    output.write(RED, lambda text: f"\x1b[31m{text}\x1b[0m")
    assert out.getvalue() == "抢 \\x1b]0;x\\x07\\x9b31m\nnext\n\x1b[31m\\x9b31m\n\x1b[0m"


def test_what_a_console_prints() -> None:
    from rich.table import Table
    from rich.text import Text

    out = io.StringIO()
    console = Console(file=out, force_terminal=True, highlight=False, width=200)
    table = Table("抢", TITLE)
    table.add_row(Text(RED), TITLE)
    for thing in (f"[bold]抢[/bold] {TITLE}{RED}", Text(f"{TITLE}{RED}"), table):
        console.print(thing)
    console.say(f"[bold]{RED}[/wrong]")
    text = out.getvalue()
    assert "\x1b]" not in text
    assert "\x9b" not in text
    assert "\x07" not in text
    assert text.count(r"\x1b]0;x\x07") == 3
    # rich itself drops the bell from its own texts.
    assert text.count(r"\x1b]0;x") == 4
    assert r"[bold]\x9b31m[/wrong]" in text
    # What is rich's own is still there.
    assert "\x1b[1m抢\x1b[0m" in text

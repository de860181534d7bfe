"""Logs: each call of a logger names an event of the list, and both formats show it."""

import ast
import json
import logging
import re
import sys
from collections.abc import Iterator

from seckill.config.layers import BASE_DIR
from seckill.process.events import EVENTS, event
from seckill.process.logs import formatter

LEVELS = {"debug", "info", "warning", "error", "exception", "critical"}


def calls() -> Iterator[tuple[str, ast.Call]]:
    """Every call of a module's logger: (where, call)."""
    for folder in ("seckill", "loadgen", "devstack"):
        for path in sorted((BASE_DIR / folder).rglob("*.py")):
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
                if (
                    isinstance(node, ast.Call)
                    and isinstance(node.func, ast.Attribute)
                    and node.func.attr in LEVELS
                    and isinstance(node.func.value, ast.Name)
                    and node.func.value.id == "log"
                ):
                    yield f"{path.relative_to(BASE_DIR)}:{node.lineno}", node


def named(call: ast.Call) -> str | None:
    """The event that a call names."""
    for keyword in call.keywords:
        if keyword.arg == "extra" and isinstance(keyword.value, ast.Call):
            first = keyword.value.args[0]
            return str(first.value) if isinstance(first, ast.Constant) else None
    return None


def test_every_message_names_an_event_and_every_event_has_a_message() -> None:
    found = {where: named(call) for where, call in calls()}
    assert len(found) > 30
    assert {where: name for where, name in found.items() if name not in EVENTS} == {}
    # What commands say.
    assert set(EVENTS) - set(found.values()) == {"said"}


def test_the_page_has_every_event() -> None:
    page = (BASE_DIR / "docs/monitoring.md").read_text()
    assert dict(re.findall(r"^\| `([\w-]+)` \| ([^|]+) \|$", page, re.M)) == EVENTS


def record(**more: object) -> logging.LogRecord:
    made = logging.LogRecord("seckill.x", logging.ERROR, "x.py", 1, "HOLD: %s", ("why",), None)
    for name, value in more.items():
        setattr(made, name, value)
    return made


def test_a_line_of_json() -> None:
    line = formatter("json").format(record(**event("held", partition=3)))
    assert "\n" not in line
    members = json.loads(line)
    assert members.pop("at").endswith("+00:00")
    assert members.pop("process") > 0
    assert members == {
        "level": "ERROR", "event": "held", "message": "HOLD: why", "logger": "seckill.x",
        "partition": 3,
    }  # fmt: skip


def test_a_traceback_stays_in_its_line() -> None:
    try:
        raise ValueError("no")
    except ValueError:
        line = formatter("json").format(record(exc_info=sys.exc_info()))
    assert "\n" not in line
    assert "ValueError: no" in json.loads(line)["error"]


def test_a_line_for_people() -> None:
    line = formatter("text").format(record(**event("held")))
    assert re.fullmatch(r"\d\d:\d\d:\d\d ERROR   held seckill\.x\[\d+\]: HOLD: why", line)
    # A library knows no events.
    assert "ERROR   - seckill.x[" in formatter("text").format(record())

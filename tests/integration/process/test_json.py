"""`--json` of each command that a script may call: its keys are those of docs/commands.md."""

import io
import json
import re
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest
from django.core.management import call_command
from django.db import connections

from devstack.endpoints import Endpoints
from loadgen.http.report import Report as DoorReport
from loadgen.report import Report
from seckill.config.layers import BASE_DIR
from seckill.config.sections import Server
from tests.conftest import Manage
from tests.helpers.shop import Shop

ROW = re.compile(r"^\| (.+?) \| (`schema`.*|`verdict`.*) \|$", re.MULTILINE)


def documented() -> dict[str, set[str]]:
    """{first words of the row: its keys}"""
    page = (BASE_DIR / "docs" / "commands.md").read_text()
    return {
        name.replace("`", "").partition(",")[0]: set(re.findall(r"`([a-z0-9_.\[\]]+)`", keys))
        for name, keys in ROW.findall(page)
    }


def check(name: str, document: dict[str, Any]) -> None:
    """Every key is documented, and every documented one is there, unless its list is empty."""
    keys = set(document)
    for member, value in document.items():
        if isinstance(value, list) and value and isinstance(value[0], dict):
            keys |= {f"{member}[].{key}" for key in value[0]}
    known = documented()[name]
    empty = {name for name, value in document.items() if value == []}
    expected = {key for key in known if key.partition("[]")[0] not in empty or "[]" not in key}
    assert keys == expected, " ".join(sorted(keys ^ expected))


@pytest.fixture
def said(stack: Endpoints, pg_dsn: str, server: Server) -> Iterator[Any]:
    """What a command prints, as an object."""
    known = dict(connections["default"].settings_dict)
    places = {
        "redis": ["--redis-url", stack.redis_url],
        "pg": ["--pg-dsn", pg_dsn],
        "kafka": ["--brokers", stack.brokers, "--topic", server.topic],
    }

    def say(*arguments: str, flags: str = "redis pg") -> dict[str, Any]:
        out = io.StringIO()
        given = [each for name in flags.split() for each in places[name]]
        call_command(*arguments, "--json", *given, stdout=out)
        document: dict[str, Any] = json.loads(out.getvalue())
        return document

    yield say
    connections["default"].settings_dict.clear()
    connections["default"].settings_dict.update(known)


def test_acts_and_looks(said: Any, shop: Shop) -> None:
    shop.control.set_stock(1, {1001: 10})
    acts: list[tuple[str, ...]] = [
        ("set_stock", "1001:5"),
        ("add_stock", "1001:5"),
        ("pause",),
        ("resume",),
        ("finish",),
        ("finish_activity",),
        ("reopen",),
        ("sync_from_db",),
        ("activity", "create", "7", "--name", "七"),
        ("activity", "create", "8", "--stock", "1001:10,1002:5"),
        ("activity", "set", "1", "--user-limit", "3"),
    ]
    for arguments in acts:
        check("every act", said(*arguments))
    check("activity show", said("activity", "show", "1"))
    listed = said("activity", "list")
    check("activity list", listed)
    assert [row["activity_id"] for row in listed["activities"]] == [1, 7, 8]
    assert listed["activities"][1]["name"] == "七"
    assert said("activity", "show", "8")["live"]["stock"] == {"1001": 10, "1002": 5}
    check("audit", said("audit"))
    check("lanes", said("lanes"))
    check("seasons list", said("seasons", "list"))
    check("dead_letters dismiss", said("dead_letters", "dismiss", "--overlap", "--note", "x"))
    check("status", dict.fromkeys(said("status", flags="redis")))


def test_what_asks_kafka(said: Any, shop: Shop, kafka_topic: str) -> None:
    shop.control.set_stock(1, {1001: 10})
    every = "redis pg kafka"
    check("dead_letters list", said("dead_letters", "list", flags=every))
    check("dead_letters replay", said("dead_letters", "replay", "--requests", flags=every))
    check("recover", said("recover", flags=every))
    drained = ("wait", "--until", "drained", "--timeout-s", "60")
    reached = said(*drained, flags="redis kafka")
    check("wait", reached)
    assert reached["reached"] is True
    assert reached["why"] == "0 requests wait in Kafka, 0 records in Redis"


def test_answers_of_buyers(said: Any, shop: Shop, tmp_path: Path) -> None:
    told = {"user": 1, "key": "k", "request_id": "r", "ticket": "t", "outcome": "SOLD_OUT"}
    (tmp_path / "told.jsonl").write_text(json.dumps({**told, "state": "refused"}))
    check("compare_answers", said("compare_answers", str(tmp_path / "told.jsonl"), flags="pg"))


def test_devstack_status(manage: Manage, tmp_path: Path) -> None:
    process = manage("devstack", "status", "--json", "--folder", str(tmp_path))
    output, _ = process.communicate(timeout=120)
    document = json.loads(output)
    assert process.returncode == 1
    check("devstack status", document)
    assert {each["state"] for each in document["services"]} == {"down"}


def test_the_report_of_a_load() -> None:
    known = documented()["run_loadgen"]
    assert known == {"schema", *(each.name for each in fields(Report))}
    known = documented()["run_loadgen --http"]
    assert known == {"schema", *(each.name for each in fields(DoorReport))}

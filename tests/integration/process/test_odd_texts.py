"""Commands as real processes: texts from outside steer no terminal, and none ends a command."""

import json
import os
from pathlib import Path
from typing import Any

import pytest
import redis

from devstack.endpoints import Endpoints
from seckill.audit.verdict import write_last_audit
from seckill.broker.opening import open_producer
from seckill.broker.topics import Topics
from seckill.config.sections import Server
from seckill.dead_letters.writer import REPLAYED, dead_topic
from seckill.lane.keys import Lane
from seckill.models import Activity, StockChange
from seckill.process.printable import is_printable
from seckill.telemetry.heartbeats import Heart, Kind
from tests.conftest import Manage
from tests.helpers import sale
from tests.helpers.commands import Ended, Web

TITLE, RED = "\x1b]0;x\x07", "\x9b31m"
ODD = f"抢购{TITLE}{RED}"
SHOWN = r"抢购\x1b]0;x\x07\x9b31m"
LANE = Lane()

pytestmark = pytest.mark.usefixtures("pg_dsn", "redis_client")


def is_harmless(text: str) -> bool:
    return all(map(is_printable, text.splitlines()))


@pytest.fixture
def dead(server: Server, kafka_topic: str, topics: Topics) -> Any:
    """Send letters to the topic of dead letters: a body and its headers."""
    name = dead_topic(kafka_topic)
    topics.ensure(name, 1)

    def send(body: bytes | None, *headers: tuple[str, Any]) -> None:
        producer = open_producer(
            server.model_copy(update={"kafka_client": "confluent-kafka"}), name
        )
        producer.send(body, list(headers))
        assert not producer.flush(60)
        assert not producer.failed
        producer.close()

    yield send
    topics.delete(name)


def test_the_name_of_an_activity(manage: Manage, redis_client: "redis.Redis") -> None:
    made = Ended(manage("activity", "create", "--name", ODD, "--note", ODD))
    assert made.code == 0, made.output
    assert SHOWN in made.output
    assert Activity.objects.get().name == ODD
    assert StockChange.objects.get().note == ODD
    for arguments in (
        ("activity", "list"),
        ("activity", "show", "1"),
        ("activity", "set", "1", "--name", f"{ODD}2"),
        ("set_stock", "1001:1", "--note", ODD),
    ):
        ended = Ended(manage(*arguments))
        assert ended.code == 0, ended.output
        assert is_harmless(made.output + ended.output), ended.output
        assert "抢购" in ended.output or arguments[0] == "set_stock"


def test_values_of_redis(
    manage: Manage, redis_client: "redis.Redis", stack: Endpoints, kafka_topic: str
) -> None:
    sale.put_on_sale(redis_client, {1001: 1})
    write_last_audit(redis_client, False, 1, ODD, ODD, LANE)
    heart = Heart(stack.redis_url, LANE, Kind.CONSUMER)
    heart.beat(1, ODD)
    redis_client.hset(LANE.state, mapping={"fenced": "REWOUND", "fenced_why": ODD})
    for arguments in (
        ("status", "--once"),
        ("status", "--json"),
        ("audit",),
        ("audit", "--json"),
        ("recover", "--topic", kafka_topic),
        ("add_stock", "1001:1"),
    ):
        ended = Ended(manage(*arguments))
        assert "Traceback" not in ended.output
        assert is_harmless(ended.output), ended.output
        if arguments == ("status", "--once"):
            assert ended.output.count("抢购") >= 4
        elif arguments == ("status", "--json"):
            assert json.loads(ended.output)["audit"]["finding"] == ODD
    heart.close()


def test_headers_and_bodies_of_dead_letters(manage: Manage, kafka_topic: str, dead: Any) -> None:
    source = ("source", b"0f9a2c51-6f0e-4b8e-9d0c-3a54f1f2a111")
    place = ("partition", b"0"), ("offset", b"7")
    dead(b"{" + ODD.encode(), source, *place, ("reason", ODD.encode()))
    dead(sale.body(), ("source", ODD.encode()), *place, ("reason", b"\x1b]0;x\x07\xff"))
    known = f"{source[1].decode()}:0:7"
    odd = f"{dead_topic(kafka_topic)}:0:1"
    said = {}
    for arguments in (
        ("list",),
        ("list", "--json"),
        ("show", known),
        ("show", odd),
        ("show", "--json", odd),
        ("replay", known, odd, ODD),
    ):
        ended = Ended(manage("dead_letters", *arguments, "--topic", kafka_topic))
        assert ended.code == (1 if arguments[0] == "replay" else 0), ended.output
        assert is_harmless(ended.output), ended.output
        said[arguments] = ended.output
    assert said["list",].count(SHOWN) >= 3
    newest = json.loads(said["list", "--json"])["requests"]["newest"]
    assert [letter["reason"] for letter in newest] == [ODD, "\x1b]0;x\x07\\xff"]
    assert f"reason: {SHOWN}" in said["show", known]
    assert f"odd:    header source is not a valid topic id: {SHOWN}" in said["show", odd]
    assert f"{odd}: REFUSED: header source is not a valid topic id: {SHOWN}" in said[arguments]
    assert f"{SHOWN}: not parked" in said[arguments]


def test_the_log_of_a_process(manage: Manage) -> None:
    web = Web(manage("run_control_api", "--port", "0"))
    path = "/nowhere/%1b%5d0;x%07%c2%9b31m%e6%8a%a2"
    assert web.ask(path)[0] == 404
    ended = web.stop()
    assert "/nowhere/" in ended.output
    assert is_harmless(ended.output), ended.output


# --- what the terminal cannot encode

# Bytes of the command line are those of a terminal in UTF-8, whatever the locale says.
NARROW = {
    "ascii": {"PYTHONIOENCODING": "ascii"},
    "C": {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"},
    "C, strict": {"LC_ALL": "C", "PYTHONIOENCODING": "ascii:strict", "PYTHONUTF8": "0"},
}
BYTES = os.fsdecode(b"\xff\xfe" + TITLE.encode())


@pytest.mark.parametrize("locale", NARROW.values(), ids=list(NARROW))
def test_what_the_terminal_cannot_encode_ends_no_command(
    manage: Manage, redis_client: "redis.Redis", kafka_topic: str, dead: Any, locale: Any,
    tmp_path: Path,
) -> None:  # fmt: skip
    dead(sale.body(1, note="抢购é"), ("reason", "抢购é".encode()))
    name = f"限时抢购é🎉 {BYTES}"
    said = {}
    for arguments in (
        ("activity", "create", "1", "--name", name),
        ("set_stock", "1001:5", "--note", name),
        ("activity", "list"),
        ("create_api_key", name),
        ("status", "--once"),
        ("audit",),
        ("audit", "--json"),
        ("dead_letters", "list", "--topic", kafka_topic),
        ("dead_letters", "list", "--json", "--topic", kafka_topic),
        ("report", "--topic", kafka_topic, "--output", str(tmp_path / "r.html")),
    ):
        ended = Ended(manage(*arguments, LOGNAME=BYTES, **locale))
        assert (ended.code, "Traceback" in ended.output) == (0, False), ended.output
        assert ended.output.isascii(), ended.output
        assert is_harmless(ended.output)
        said[arguments[0], "--json" in arguments] = ended.output
    # What was done is what was meant, and what cannot be shown is shown as its number.
    assert Activity.objects.get().name == rf"限时抢购é🎉 \xff\xfe{TITLE}"
    row = StockChange.objects.latest("id")
    assert row.note == Activity.objects.get().name
    assert row.actor == r"shell:\xff\xfe\x1b]0;x\x07"
    assert r"\u9650\u65f6" in said["activity", False]
    assert json.loads(said["audit", True])["clean"] is True
    [letter] = json.loads(said["dead_letters", True])["requests"]["newest"]
    assert letter["reason"] == "抢购é"
    assert REPLAYED not in letter["reason"]
    redis_client.delete(LANE.audit)


def test_a_name_of_a_file_that_the_locale_has_no_bytes_for(manage: Manage) -> None:
    ended = Ended(manage("report", "--output", "抢.html", **NARROW["C"]))
    assert (ended.code, "Traceback" in ended.output) == (2, False)
    assert "is not a file name in this locale" in ended.output

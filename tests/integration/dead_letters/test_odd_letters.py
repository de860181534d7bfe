"""Dead letters with odd headers, as anybody may write them: shown as they are, never replayed."""

import json
from collections.abc import Iterator
from io import StringIO
from typing import Any

import pytest
import redis
from confluent_kafka import Producer
from django.conf import settings
from django.core.management import CommandError, call_command
from kafka import KafkaProducer

from seckill.broker.topics import Topics
from seckill.config.sections import Server
from seckill.dead_letters.writer import REPLAYED, dead_topic
from tests.helpers import sale

SOURCE = "0f9a2c51-6f0e-4b8e-9d0c-3a54f1f2a111"
BODY = sale.body(7)
PLAIN = {"source": SOURCE, "partition": b"0", "offset": b"7", "reason": b"why"}


def headers(*leave_out: str, **more: Any) -> list[tuple[str, Any]]:
    """Those of a letter, some of them left out or replaced."""
    return [(name, value) for name, value in {**PLAIN, **more}.items() if name not in leave_out]


# Headers, and what is told of them.
ODD: list[tuple[list[tuple[str, Any]], str]] = [
    (headers(size=b"many"), "header size is not a valid size: many"),
    (headers(size=b"-5"), "header size is not a valid size: -5"),
    (headers(size="٣".encode()), "header size is not a valid size: ٣"),
    (headers(size=b"9" * 5000), "header size is not a valid size: 9"),
    (headers(size=None), "header size is not a valid size: (null)"),
    ([*headers(), ("size", b"1"), ("size", b"1")], "header size is there twice"),
    (headers(offset=b"seven"), "header offset is not a valid offset: seven"),
    (headers(offset=b"1e3"), "header offset is not a valid offset: 1e3"),
    (headers(offset=b"-1"), "header offset is not a valid offset: -1"),
    (headers(offset=b"%d" % 2**63), "header offset is not a valid offset: 9223372036854775808"),
    (headers(offset=b""), "header offset is not a valid offset: "),
    (headers(partition=b"%d" % 2**31), "header partition is not a valid partition: 2147483648"),
    (headers(partition=b"\xff"), r"header partition is not a valid partition: \xff"),
    (headers(source=b"\xff\xfe"), r"header source is not a valid topic id: \xff\xfe"),
    (headers(source=b"a:b:c"), "header source is not a valid topic id: a:b:c"),
    (headers(source=b""), "header source is not a valid topic id: "),
    (headers("source"), "header source is missing"),
    (headers("partition", "offset"), "header partition is missing; header offset is missing"),
    (headers("reason"), "header reason is missing"),
    ([*headers(), ("offset", b"8")], "header offset is there twice"),
    ([*headers(), ("reason", b"another")], "header reason is there twice"),
    ([], "header source is missing; header partition is missing; header offset is missing; "),
    # A marker that does not say what it marks marks nothing.
    (headers("offset", reason=REPLAYED.encode()), "header offset is missing"),
]


class Name(str):
    """A header's name of bytes that are no UTF-8: no client sends one by itself."""

    def encode(self, *how: Any) -> bytes:
        return b"\xffname"


@pytest.fixture
def letters(
    server: Server,
    kafka_topic: str,
    topics: Topics,
    redis_client: "redis.Redis",
    transactional_db: None,
) -> Iterator[int]:
    """One letter of each kind, the name that is no UTF-8 after them, a plain one last. How many."""
    name = dead_topic(kafka_topic)
    topics.ensure(name, 1)
    producer = Producer({"bootstrap.servers": server.brokers, "log_level": 2})
    for odd, _ in ODD:
        producer.produce(name, BODY, headers=odd, partition=0)
        assert producer.flush(60) == 0
    raw = KafkaProducer(bootstrap_servers=server.brokers)
    raw.send(name, BODY, partition=0, headers=[(Name("name"), b"1")]).get(60)
    raw.close()
    plain = [*headers(size=b"%d" % (len(BODY) + 1)), ("more", b"\xff")]
    producer.produce(name, BODY, headers=plain, partition=0)
    assert producer.flush(60) == 0
    producer.close()
    yield len(ODD) + 2
    topics.delete(name)


def run(server: Server, *arguments: str) -> tuple[int, str]:
    """Exit code and output of the command."""
    out = StringIO()
    flags = ("--redis-url", server.redis_url, "--brokers", server.brokers, "--topic", server.topic)
    database = f"{server.pg_dsn.rpartition('/')[0]}/{settings.DATABASES['default']['NAME']}"
    flags += ("--pg-dsn", database)
    try:
        call_command("dead_letters", *arguments, *flags, stdout=out)
    except CommandError as ended:
        return ended.returncode, f"{out.getvalue()}{ended}"
    return 0, out.getvalue()


def test_odd_letters_are_listed_shown_and_refused(
    server: Server, letters: int, capsys: pytest.CaptureFixture[str]
) -> None:
    code, text = run(server, "list", "--json", "--newest", "100")
    assert code == 0
    requests = json.loads(text)["requests"]
    assert (requests["letters"], requests["replayed"]) == (letters, 0)
    newest = requests["newest"]
    place = f"{dead_topic(server.topic)}:0:"
    assert [letter["origin"] for letter in newest] == [
        *(f"{place}{n}" for n in range(letters - 1)),
        f"{SOURCE}:0:7",
    ]
    told = [*(words for _, words in ODD), "the name of a header is not UTF-8", ""]
    for letter, words in zip(newest, told, strict=True):
        assert letter["odd"].startswith(words), letter
    assert newest[0]["size"] == len(BODY)
    assert run(server, "list", "--newest", "100")[0] == 0
    shown = capsys.readouterr().out
    assert "the name of a header is not UTF-8" in shown
    for number, words in enumerate(told[:-1]):
        origin = f"{place}{number}"
        code, text = run(server, "show", origin)
        assert (code, f"odd:    {words}".rstrip() in text) == (0, True), text
        assert BODY.decode() in text
    code, text = run(server, "replay", "--yes", *(f"{place}{n}" for n in range(letters - 1)))
    assert code == 1
    assert f"replayed 0, refused {letters - 1}, not found 0" in text
    for number, words in enumerate(told[:-1]):
        assert f"{place}{number}: REFUSED: {words}".rstrip() in text
    code, text = run(server, "replay", "--requests")
    assert (code, text.count("REFUSED")) == (1, letters - 1)


def test_origins_on_the_command_line(server: Server, letters: int) -> None:
    """One with too few parts, too many, or none is none of them."""
    for origin in ("", ":", "a:b", "0:7", "a:b:c:d", f"{SOURCE}:0", f"{SOURCE}:0:x", "\udcff"):
        assert run(server, "show", origin)[0] == 1
        code, text = run(server, "replay", origin)
        assert (code, f"{origin}: not parked" in text or "\udcff" in origin) == (1, True)
    # One that names no message of ours: its beginning is all there is.
    code, text = run(server, "replay", f"{SOURCE}:0:7")
    assert (code, "no longer holds the whole message" in text) == (1, True)

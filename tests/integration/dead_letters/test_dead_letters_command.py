"""manage.py dead_letters: what is parked is counted, shown safely, and tried again once."""

import asyncio
import contextlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from io import StringIO

import psycopg
import pytest
import redis
from django.core.management import CommandError, call_command

from seckill.broker.opening import open_producer
from seckill.broker.topics import Topics
from seckill.config.sections import Server
from seckill.consumer.batch import encode
from seckill.dead_letters.letter import Invalid
from seckill.dead_letters.reader import dump, read_records
from seckill.dead_letters.records import Kind
from seckill.dead_letters.replay import REPLAYING
from seckill.dead_letters.writer import MAX_VALUE_BYTES, DeadLetters, dead_topic
from seckill.events.letters import DeadEvents
from seckill.formats import settle
from seckill.formats.settle import Result, Settlement
from seckill.lane.keys import Lane
from seckill.log_worker.storage import Storage
from seckill.log_worker.worker import LogWorker
from seckill.models import DeadRecord, Record
from seckill.process.shutdown import Shutdown
from seckill.settler.batch import encode as pack
from tests.helpers.messages import headers, read, send
from tests.helpers.sale import body, keep_dead, now_ms
from tests.helpers.settling import SETTLE_SOURCE

LANE = Lane()
SOURCE = "0f9a2c51-6f0e-4b8e-9d0c-3a54f1f2a111"
GOOD = body(7, {1001: 2})


@dataclass
class Desk:
    """The command over the services of a test."""

    server: Server
    client: "redis.Redis"
    source: str
    pg_dsn: str

    def park(self, *values: bytes | None, source: str = "") -> None:
        """As a consumer does. Its decoder took none of them, whatever the one of now says."""
        batch = encode(source or self.source, 0, 0, range(len(values)), [b"{"] * len(values))
        batch.invalid = [
            invalid.__class__(invalid.offset, value, f"reason {n % 2}")
            for n, (invalid, value) in enumerate(zip(batch.invalid, values, strict=True))
        ]
        letters = DeadLetters(
            self.server, lambda: open_producer(self.server, dead_topic(self.server.topic))
        )
        letters.park(batch)
        assert letters.flush()
        letters.close()

    def park_settlement(self, *values: bytes) -> None:
        """As a settler does, whose decoder took none of them."""
        section = self.server.model_copy(update={"topic": self.settle_topic})
        letters = DeadLetters(section, lambda: open_producer(section, dead_topic(section.topic)))
        settlements = pack(SETTLE_SOURCE, 3, 0, range(len(values)), [b"{"] * len(values))
        settlements.invalid = [
            Invalid(invalid.offset, value, "a reason")
            for invalid, value in zip(settlements.invalid, values, strict=True)
        ]
        letters.park(settlements)
        assert letters.flush()
        letters.close()

    @property
    def settle_topic(self) -> str:
        return settle.settle_topic(self.server.topic)

    def park_record(self, record: bytes) -> None:
        """As the log worker does."""
        keep_dead(record, kind=Kind.UNREADABLE if record == b"junk" else Kind.REFUSED)

    def open(self) -> int:
        """Dead records that need a person."""
        return sum(letter.open for letter in read_records(Lane()))

    def __call__(self, *arguments: str) -> tuple[int, str]:
        """Exit code and output."""
        out = StringIO()
        server = self.server
        flags = ("--redis-url", server.redis_url, "--brokers", server.brokers)
        flags = (*flags, "--pg-dsn", self.pg_dsn)
        try:
            call_command("dead_letters", *arguments, *flags, "--topic", server.topic, stdout=out)
        except CommandError as ended:
            return ended.returncode, f"{out.getvalue()}{ended}"
        return 0, out.getvalue()

    def document(self) -> dict[str, dict[str, object]]:
        """What `list --json` says."""
        code, text = self("list", "--json", "--newest", "3")
        assert code == 0
        return json.loads(text)  # type: ignore[no-any-return]

    def origin(self, offset: int) -> str:
        return f"{self.source}:0:{offset}"


@pytest.fixture
def desk(
    server: Server, topics: Topics, kafka_topic: str, redis_client: "redis.Redis", pg_dsn: str
) -> Iterator[Desk]:
    """A topic, and nothing parked yet."""
    fast = server.model_copy(update={"kafka_client": "confluent-kafka"})
    yield Desk(fast, redis_client, topics.source(kafka_topic) or "", pg_dsn)
    topics.delete(dead_topic(server.topic))


def record(offset: int, user: int = 5) -> bytes:
    """A record as the script writes it."""
    return (
        b'{"user_id":%d,"activity_id":1,"item_id":1001,"quantity":2,"cost_ms":1,"status":"success",'
        b'"timestamp":1795448539,"source":"%b","partition":3,"offset":%d,"version":1}'
    ) % (user, SOURCE.encode(), offset)


def test_nothing_is_parked(desk: Desk, capsys: pytest.CaptureFixture[str]) -> None:
    document = desk.document()
    assert document["requests"]["letters"] == document["records"]["letters"] == 0
    assert desk("list")[0] == 0
    text = capsys.readouterr().out
    assert "limit: 256 MB of disk" in text
    assert "none is ever dropped" in text
    code, text = desk("replay", "--requests", "--records", "--yes")
    assert (code, "replayed 0, refused 0" in text) == (0, True)


def test_events_that_no_webhook_took(desk: Desk, topics: Topics) -> None:
    assert desk.document()["events"]["letters"] == 0
    dead = DeadEvents(desk.server, open_producer)
    asyncio.run(dead.park("shop", "status 500", b"{}"))
    asyncio.run(dead.park("shop", "status 500", b"{}"))
    dead.close()
    assert desk.document()["events"] == {"topic": dead.topic, "letters": 2}
    text = " ".join(desk_list(desk).split())
    assert f"in topic {dead.topic}: 2," in text
    assert "manage.py run_webhooks --dead-letters posts them again" in text
    topics.delete(dead.topic)


def test_letters_are_counted_by_reason_and_the_newest_shown(
    desk: Desk, capsys: pytest.CaptureFixture[str]
) -> None:
    desk.park(b"{", b"\x1b[2J\xff", None, b"x" * 20_000, b"last")
    for offset in range(4):
        desk.park_record(record(offset))
    document = desk.document()
    requests, records = document["requests"], document["records"]
    assert set(requests) == {
        "topic", "limit_bytes", "limit_body_bytes", "letters", "bytes", "removed", "replayed",
        "reasons", "newest",
    }  # fmt: skip
    assert (requests["letters"], requests["reasons"]) == (5, {"reason 0": 3, "reason 1": 2})
    newest = requests["newest"]
    assert isinstance(newest, list)
    assert [letter["origin"] for letter in newest] == [desk.origin(n) for n in (2, 3, 4)]
    assert (newest[1]["size"], newest[2]["body"]) == (20_000, "last")
    assert (records["letters"], records["reasons"]) == (4, {"refused": 4})
    newest = records["newest"]
    assert isinstance(newest, list)
    assert [letter["origin"] for letter in newest] == [f"{SOURCE}:3:{n}" for n in (1, 2, 3)]
    assert desk("list")[0] == 0
    text = capsys.readouterr().out
    assert "reason 1" in text
    # Whole, so that it can be copied to `show`.
    assert desk.origin(4) in text
    assert "\x1b" not in text


def test_a_letter_is_shown_without_harm(desk: Desk) -> None:
    desk.park(b"\x1b[2J\xffgood")
    code, text = desk("show", desk.origin(0))
    assert (code, "\x1b" in text) == (0, False)
    assert "000000  1b 5b 32 4a ff 67 6f 6f 64" in text
    assert "reason: reason 0" in text
    desk.park_record(record(9))
    code, text = desk("show", f"{SOURCE}:3:9")
    assert code == 0
    assert f"(refused) {SOURCE}:3:9 item 1001" in text
    assert '"quantity":2' in text
    code, text = desk("show", desk.origin(7))
    assert (code, "is parked" in text) == (1, True)
    assert list(dump("漢 ok\nnext".encode())) == ["漢 ok", "next"]


def test_a_request_is_sent_again_once(desk: Desk) -> None:
    """It is one by now: what was INVALID for the decoder of the day before."""
    desk.park(GOOD, b"{")
    code, text = desk("replay", "--requests")
    assert code == 0
    assert "dry run, nothing was changed: 1 would be replayed" in text
    assert "1 letters are still INVALID" in text
    assert "a NEW request: user 7, items {1001: 2}" in text
    for again, sent in ((("--requests",), 1), (("--requests",), 0), ((desk.origin(0),), 0)):
        code, text = desk("replay", *again, "--yes")
        assert f"replayed {sent}" in text
    assert (code, "sent again already" in text) == (1, True)
    code, text = desk("replay", desk.origin(0), "--again", "--yes")
    assert (code, "replayed 1" in text) == (0, True)
    messages = []
    with Topics(desk.server) as topics:
        assert sum(topics.end_offsets(desk.server.topic).values()) == 2
        where = topics.end_offsets(desk.server.topic)
    if where[0]:
        messages = read(desk.server.brokers, desk.server.topic, where[0])
    for message in messages:
        assert (message.value(), headers(message)) == (GOOD, {"replay-of": desk.origin(0)})
    document = desk.document()
    assert (document["requests"]["letters"], document["requests"]["replayed"]) == (2, 1)


@pytest.mark.parametrize("client", ["kafka-python", "confluent-kafka"])
def test_a_settlement_is_sent_again_once(
    desk: Desk, topics: Topics, capsys: pytest.CaptureFixture[str], client: str
) -> None:
    desk.server = desk.server.model_copy(update={"kafka_client": client})
    topics.ensure(desk.settle_topic, 4)
    hold = (SOURCE, 0, 12)
    told = settle.encode(Settlement(1, 7, hold, Result.PAID, now_ms(), "pi_7"))
    desk.park_settlement(told, b"{")
    origin = f"{SETTLE_SOURCE}:3:0"
    settlements = desk.document()["settlements"]
    assert (settlements["letters"], settlements["topic"]) == (2, f"{desk.settle_topic}.dead")
    desk("list")
    assert f"INVALID settlements in topic {desk.settle_topic}.dead" in capsys.readouterr().out
    code, text = desk("show", origin)
    assert (code, f"settlement {origin}" in text) == (0, True)
    # All requests are not all settlements.
    assert "0 would be replayed" in desk("replay", "--requests")[1]
    code, text = desk("replay", "--settlements")
    assert (code, "1 would be replayed" in text, "1 letters are still" in text) == (0, True, True)
    assert f"a NEW settlement: user 7, paid for {SOURCE}:0:12" in text
    for again, sent in ((("--settlements",), 1), (("--settlements",), 0), ((origin,), 0)):
        code, text = desk("replay", *again, "--yes")
        assert f"replayed {sent}" in text
    assert (code, "sent again already" in text) == (1, True)
    code, text = desk("replay", f"{SETTLE_SOURCE}:3:1")
    assert (code, "still not a settlement" in text) == (1, True)
    ends = topics.end_offsets(desk.settle_topic)
    assert sorted(ends.values()) == [0, 0, 0, 1]
    partition = next(number for number, end in ends.items() if end)
    (message,) = read(desk.server.brokers, desk.settle_topic, 1, partition=partition)
    # With its key: a user's settlements stay in one partition.
    assert (message.value(), message.key()) == (told, settle.key_of(7))
    assert headers(message) == {"replay-of": origin}
    for topic in (desk.settle_topic, dead_topic(desk.settle_topic)):
        topics.delete(topic)


def test_what_is_no_request_yet_or_not_there_is_refused(desk: Desk) -> None:
    desk.park(b"{")
    code, text = desk("replay", desk.origin(0), desk.origin(5), "--yes")
    assert code == 1
    assert "still not a request" in text
    assert f"{desk.origin(5)}: not parked" in text
    assert "replayed 0, refused 1, not found 1" in text
    code, text = desk("replay")
    assert (code, "give origins" in text) == (2, True)


def test_a_long_one_is_taken_from_where_it_came(desk: Desk) -> None:
    long = body(7, {1001: 2}, note="n" * 2 * MAX_VALUE_BYTES)
    send(desk.server.brokers, desk.server.topic, [long], 0)
    desk.park(long)
    code, text = desk("replay", desk.origin(0))
    assert (code, "user 7, items {1001: 2}" in text) == (0, True)
    desk.park(long, source=SOURCE)
    code, text = desk("replay", f"{SOURCE}:0:0")
    assert (code, "no longer holds the whole message" in text) == (1, True)


def test_records_go_back_to_the_list_and_are_stored_once(desk: Desk, pg_dsn: str) -> None:
    for offset in range(3):
        desk.park_record(record(offset))
    code, text = desk("replay", "--records")
    assert (code, desk.client.llen(LANE.list)) == (0, 0)
    assert "dry run, nothing was changed: 3 would be replayed" in text
    code, text = desk("replay", f"{SOURCE}:3:1", "--yes")
    assert (code, desk.client.llen(LANE.list)) == (0, 1)
    storage = Storage(pg_dsn)
    worker = LogWorker(desk.client, storage, Shutdown())
    worker.run_once()
    assert desk.open() == 2
    # Twice, before the log worker came: two texts, one order.
    for _ in range(2):
        code, text = desk("replay", "--records", "--yes")
        assert (code, "replayed 2" in text) == (0, True)
    texts = desk.client.lrange(LANE.list, 0, -1)
    assert len(set(texts)) == len(texts) == 4
    assert all(again.count(b"replayed_at") == 1 for again in texts)
    worker.run_once()
    storage.close()
    assert (worker.stored, worker.known, worker.parked) == (3, 2, 0)
    assert Record.objects.count() == 3
    # Its row settles each; what is settled is not replayed.
    assert desk.open() == 0
    code, text = desk("replay", f"{SOURCE}:3:1", "--yes")
    assert (code, "it is settled" in text) == (1, True)


def test_records_that_cannot_go_back(desk: Desk) -> None:
    desk.park_record(b"junk")
    code, text = desk("replay", "--records", "--yes")
    assert (code, "still not a record" in text) == (1, True)
    code, text = desk("dismiss", "--unreadable", "--note", "another program's")
    assert (code, text.strip()) == (0, "dismissed 1")
    desk.park_record(record(1))
    desk.client.hset(LANE.state, "fenced", "REWOUND")
    code, text = desk("replay", "--records", "--yes")
    assert (code, "the lane is fenced" in text) == (1, True)
    assert (desk.open(), desk.client.llen(LANE.list)) == (1, 0)


def test_what_was_settled_by_hand_is_dismissed(desk: Desk) -> None:
    for offset in range(3):
        desk.park_record(record(offset))
    first, *_rest = DeadRecord.objects.order_by("id").values_list("id", flat=True)
    code, text = desk("dismiss", "--note", "why")
    assert (code, "give numbers" in text) == (2, True)
    code, text = desk("dismiss", str(first), "--note", "refunded by hand")
    assert (code, desk.open()) == (0, 2)
    row = DeadRecord.objects.get(pk=first)
    assert (row.note, row.dismissed_by.startswith("shell:")) == ("refunded by hand", True)
    assert desk.client.hget(LANE.state, "parked") == b"2"
    code, text = desk("dismiss", str(first), "--note", "again")
    assert (code, "some of these" in text) == (1, True)
    assert "1 more are settled or dismissed" in desk_list(desk)


def desk_list(desk: Desk) -> str:
    """What `list` prints."""
    out = StringIO()
    with contextlib.redirect_stdout(out):
        assert desk("list")[0] == 0
    return out.getvalue()


def test_two_replays_at_once_send_once(desk: Desk) -> None:
    """The second one would find no mark yet."""
    desk.park(GOOD)
    with psycopg.connect(desk.pg_dsn) as other:
        other.execute("SELECT pg_advisory_xact_lock(%s)", [REPLAYING])
        code, text = desk("replay", "--requests", "--yes")
        assert (code, "another replay is running" in text) == (1, True)
    code, text = desk("replay", "--requests", "--yes")
    assert (code, "replayed 1" in text) == (0, True)


def test_a_flood_is_counted_and_bounded(desk: Desk) -> None:
    """Letters with a reason of its own each: counted in one pass, in few places."""
    count = 42_000
    batch = encode(desk.source, 0, 0, range(count), [b"%d" % n for n in range(count)])
    assert len(batch.invalid) == count
    for n, invalid in enumerate(batch.invalid):
        object.__setattr__(invalid, "reason", f"reason {n}")
    letters = DeadLetters(
        desk.server, lambda: open_producer(desk.server, dead_topic(desk.server.topic))
    )
    letters.park(batch)
    assert letters.full
    assert letters.flush()
    letters.close()
    requests = desk.document()["requests"]
    assert requests["letters"] == count
    reasons, newest = requests["reasons"], requests["newest"]
    assert isinstance(reasons, dict)
    assert isinstance(newest, list)
    assert (len(reasons), sum(reasons.values()), len(newest)) == (201, count, 3)
    code, text = desk("replay", "--requests")
    assert (code, f"{count:,} letters are still INVALID" in text) == (0, True)

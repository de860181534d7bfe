"""The audit: clean beside a running sale, and red, with the right invariant, for each tampering."""

import re
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress

import psycopg
import pytest
import redis
from django.db import connection

from devstack.endpoints import Endpoints
from seckill.audit.audit import CannotCheck, Report, audit
from seckill.audit.checks import FOUNDATIONS, NEVER_DROPPED, NEVER_LOST, NEVER_OVERSOLD, NEVER_TWICE
from seckill.audit.verdict import read_last_audit
from seckill.audit.watch import Watch
from seckill.consumer.batch import encode
from seckill.consumer.engine import Engine
from seckill.control.control import Control
from seckill.dead_letters.records import Kind
from seckill.errors import RedisAway, Refused
from seckill.lane import record_list
from seckill.lane.keys import Lane
from seckill.lane.status import read_lane
from seckill.log_worker.storage import Storage
from seckill.log_worker.worker import LogWorker
from seckill.models import Item
from seckill.process.shutdown import Shutdown
from seckill.recovery.rebuild import recover
from tests.conftest import Manage
from tests.helpers.sale import body, keep_dead, new_source, now_ms

LANE = Lane()
KEYS = LANE.activity(1)
REQUESTS = 100


@pytest.fixture
def sale(redis_client: "redis.Redis", pg_dsn: str, stack: Endpoints) -> "redis.Redis":
    """A hundred accepted requests: sixty stored, forty waiting."""
    Control(redis_client, "test", LANE).set_stock(1, {1001: 1_000})
    engine = Engine(stack.redis_url, LANE)
    values = [body() for _ in range(REQUESTS)]
    engine.decide([encode(new_source(), 0, 0, range(REQUESTS), values)])
    engine.close()
    storage = Storage(pg_dsn)
    LogWorker(redis_client, storage, Shutdown(), batch_size=60).run_once()
    storage.close()
    report = audit(redis_client, LANE)
    assert report.clean, report.findings
    assert (report.records_stored, report.records_waiting) == (60, 40)
    return redis_client


def sql(statement: str) -> None:
    """Change a table by hand."""
    with connection.cursor() as cursor:
        cursor.execute(statement)


def other_user(client: "redis.Redis") -> bytes:
    """The newest record, as if somebody else had bought it."""
    newest = client.lindex(LANE.list, 0)
    assert isinstance(newest, bytes)
    return newest.replace(b'"user_id":1', b'"user_id":2')


TAMPERINGS: dict[str, tuple[Callable[["redis.Redis"], object], str]] = {
    "stock given": (lambda r: r.hincrby(KEYS.stock, "1001", 5), NEVER_OVERSOLD),
    "stock taken": (lambda r: r.hincrby(KEYS.stock, "1001", -5), NEVER_LOST),
    "stock below zero": (lambda r: r.hset(KEYS.stock, "1001", "-1"), NEVER_OVERSOLD),
    "a record taken from the list": (lambda r: r.lpop(LANE.list), NEVER_LOST),
    "junk in the list": (lambda r: r.lpush(LANE.list, "junk"), NEVER_LOST),
    "a row removed": (
        lambda r: sql("DELETE FROM seckill_record WHERE id = (SELECT min(id) FROM seckill_record)"),
        NEVER_LOST,
    ),
    "an inventory changed": (
        lambda r: sql("UPDATE seckill_item SET sold = sold + 1"),
        NEVER_TWICE,
    ),
    "an allocation changed": (
        lambda r: sql("UPDATE seckill_item SET allocation = allocation + 1"),
        NEVER_OVERSOLD,
    ),
    "two records of one identity": (lambda r: r.lpush(LANE.list, other_user(r)), NEVER_TWICE),
    "an outcome not counted": (lambda r: r.hincrby(KEYS.stats, "1", -1), NEVER_DROPPED),
    "a skip not counted": (lambda r: r.hincrby(LANE.stats, "skipped", 1), NEVER_DROPPED),
    # What every audit of before called clean.
    "the last rows removed": (
        lambda r: sql('DELETE FROM seckill_record WHERE "offset" >= 40'),
        NEVER_LOST,
    ),
    "a row of the future": (lambda r: future_row(r), NEVER_TWICE),
    "sold above the allocation": (
        lambda r: sql("UPDATE seckill_item SET allocation = 50"),
        NEVER_OVERSOLD,
    ),
    "the list evicted": (lambda r: r.delete(LANE.list), NEVER_LOST),
    "a limit lost": (lambda r: lost_field(r, "user_limit", user_limit=5), FOUNDATIONS),
    "an end lost": (lambda r: lost_field(r, "over", act="finish"), FOUNDATIONS),
    "a pause lost": (lambda r: lost_field(r, "paused", act="pause"), FOUNDATIONS),
    "an act lost": (lambda r: r.hincrby(KEYS.state, "version", -1), FOUNDATIONS),
    "an activity gone": (lambda r: gone(r), FOUNDATIONS),
    "a buyer forgotten": (
        lambda r: (limited(r), r.hset(KEYS.buyers, "1", "3")),
        NEVER_OVERSOLD,
    ),
    "buyers evicted": (lambda r: (limited(r), r.delete(KEYS.buyers)), NEVER_OVERSOLD),
    "a click without an order": (lambda r: r.hset(KEYS.clicks, '9:"x"', "s:0:1"), NEVER_LOST),
    "a click forgotten": (
        lambda r: sql(
            "UPDATE seckill_record SET request_id = 'x'"
            " WHERE id = (SELECT min(id) FROM seckill_record)"
        ),
        NEVER_TWICE,
    ),
    "another lane": (lambda r: r.hset(LANE.state, "identity", new_source()), FOUNDATIONS),
    "an identity lost": (lambda r: r.hdel(LANE.state, "identity"), FOUNDATIONS),
    "an older generation in PostgreSQL": (
        lambda r: r.hincrby(LANE.state, "generation", 1),
        NEVER_LOST,
    ),
    "an older generation in Redis": (
        lambda r: sql("UPDATE seckill_lane SET generation = 1"),
        FOUNDATIONS,
    ),
    "another Redis leads": (
        lambda r: sql("UPDATE seckill_lane SET term = term + 1, master = 'another'"),
        FOUNDATIONS,
    ),
    "a clock that went back": (
        lambda r: r.hset(LANE.state, "clock", now_ms() + 3_600_000),
        FOUNDATIONS,
    ),
    "an order of two masters": (
        lambda r: keep_dead(r.lindex(LANE.list, 0) or b"", "overlap", Kind.OVERLAP),  # type: ignore[arg-type]
        NEVER_LOST,
    ),
    "no record, kept apart": (
        lambda r: keep_dead(b"junk", "no record", Kind.UNREADABLE),
        NEVER_LOST,
    ),
}


def future_row(client: "redis.Redis") -> None:
    """A row that nobody has decided, as a copy of another lane would bring."""
    sql(
        "INSERT INTO seckill_record (user_id, activity_id, item_id, quantity, cost_ms, status, ts,"
        ' source, partition, "offset", version) SELECT user_id, activity_id, item_id, 50, 0,'
        " status, ts, source, partition, 100, 1 FROM seckill_record LIMIT 1",
    )
    sql("UPDATE seckill_item SET sold = sold + 50")


def lost_field(client: "redis.Redis", field: str, act: str = "", **fields: int) -> None:
    """An act of an operator, of which Redis forgets the effect."""
    control = Control(client, "test", LANE)
    if act:
        getattr(control, act)(1)
    else:
        control.configure_fields(1, **fields)
    assert audit(client, LANE).clean
    client.hdel(KEYS.state, field)


def limited(client: "redis.Redis") -> None:
    """A limit per user: its buyers are counted."""
    Control(client, "test", LANE).configure_fields(1, user_limit=1000)
    assert audit(client, LANE).clean


def gone(client: "redis.Redis") -> None:
    """An activity that is not loaded any more."""
    Control(client, "test", LANE).set_stock(2, {7: 5})
    client.srem(LANE.activities, "2")


@pytest.mark.parametrize("name", TAMPERINGS)
def test_tampering_is_found(sale: "redis.Redis", name: str) -> None:
    tamper, invariant = TAMPERINGS[name]
    tamper(sale)
    report = audit(sale, LANE)
    assert not report.clean
    assert invariant in {finding.invariant for finding in report.findings}


@pytest.mark.parametrize("name", TAMPERINGS)
def test_no_advice_sells_a_sold_unit(sale: "redis.Redis", name: str) -> None:
    """Whatever the audit advises is done, as an operator would, from the state that led to it."""
    tamper, _ = TAMPERINGS[name]
    tamper(sale)
    left = left_on_sale(sale)
    advice = {finding.act for finding in audit(sale, LANE).findings}
    assert all(advice)
    for act in advice:
        if "sync_from_db" in act:
            with suppress(Refused):
                Control(sale, "test", LANE).sync_from_db(1)
        if "recover" in act:
            with suppress(Refused):
                recover(sale, LANE, new_source(), [0], "test", lambda line: None)
        # A hundred are sold: no more than the rest of the allocation may ever be on sale.
        allocation = max(1_000, Item.objects.get(item_id=1001).allocation)
        assert left_on_sale(sale) <= max(left, allocation - REQUESTS)


def left_on_sale(client: "redis.Redis") -> int:
    """Units that can be sold now; none while nothing is decided."""
    lane = read_lane(client, LANE)
    if lane.fence is not None or 1 not in lane.activities:
        return 0
    return lane.activities[1].items[1001].left


@pytest.fixture
def evicting(sale: "redis.Redis") -> Iterator[None]:
    """A policy that throws keys away."""
    sale.config_set("maxmemory-policy", "volatile-lru")
    yield
    sale.config_set("maxmemory-policy", "noeviction")


def test_a_policy_that_evicts_is_found(sale: "redis.Redis", evicting: None) -> None:
    findings = audit(sale, LANE).findings
    assert [(f.invariant, "volatile-lru" in f.explanation) for f in findings] == [
        (FOUNDATIONS, True)
    ]


def test_a_table_that_would_store_twice_is_found(sale: "redis.Redis") -> None:
    columns = '(source, partition, "offset", item_id)'
    sql("ALTER TABLE seckill_record DROP CONSTRAINT record_stored_once")
    try:
        assert [f.culprit for f in audit(sale, LANE).findings] == ["table seckill_record"]
    finally:
        sql(f"ALTER TABLE seckill_record ADD CONSTRAINT record_stored_once UNIQUE {columns}")
    assert audit(sale, LANE).clean


def test_an_empty_redis_cannot_be_checked(redis_client: "redis.Redis", pg_dsn: str) -> None:
    with pytest.raises(CannotCheck, match="holds no sale"):
        audit(redis_client, LANE)


def test_it_never_cries_wolf_beside_a_running_sale(
    redis_client: "redis.Redis", pg_dsn: str, stack: Endpoints
) -> None:
    Control(redis_client, "test", LANE).set_stock(1, {1001: 10**9})
    ended = threading.Event()
    source = new_source()
    decided = 0

    def decide() -> None:
        nonlocal decided
        engine = Engine(stack.redis_url, LANE)
        while not ended.is_set():
            values = [body() for _ in range(20)]
            engine.decide([encode(source, 0, decided, range(decided, decided + 20), values)])
            decided += 20
        engine.close()

    def store() -> None:
        storage = Storage(pg_dsn)
        worker = LogWorker(redis_client, storage, Shutdown(), batch_size=50)
        while not ended.is_set():
            worker.run_once()
        storage.close()

    threads = [threading.Thread(target=work) for work in (decide, store)]
    for thread in threads:
        thread.start()
    seen = set()
    try:
        for _ in range(20):
            report = audit(redis_client, LANE)
            assert report.clean, report.findings
            seen.add(report.messages)
    finally:
        ended.set()
        for thread in threads:
            thread.join()
    # It was a running sale, and not the same one twenty times.
    assert len(seen) > 5
    assert audit(redis_client, LANE).messages == decided


def park_oldest(client: "redis.Redis", reason: str = "refused") -> None:
    """What the log worker does with a record that PostgreSQL refuses."""
    record = client.rpop(LANE.list)
    assert isinstance(record, bytes)
    keep_dead(record, reason)


def test_a_parked_record_stays_sold(sale: "redis.Redis") -> None:
    """Neither the audit nor sync_from_db takes it for unsold: its units are never given back."""
    park_oldest(sale)
    report = audit(sale, LANE)
    assert report.clean, report.findings
    assert (report.records_dead, report.units_sold) == (1, REQUESTS)
    assert "1 dead records, not stored as orders" in report.notes[0]
    Control(sale, "test", LANE).sync_from_db(1)
    assert read_lane(sale, LANE).activities[1].items[1001].sold == REQUESTS
    report = audit(sale, LANE)
    assert report.clean, report.findings


def test_a_record_that_is_replayed_counts_once(sale: "redis.Redis", pg_dsn: str) -> None:
    """It is dead, and in the list again; and then it is dead, and a row."""
    newest: bytes = sale.lindex(LANE.list, 0)  # type: ignore[assignment]
    keep_dead(newest)
    report = audit(sale, LANE)
    assert report.clean, report.findings
    assert (report.records_dead, report.units_sold) == (1, REQUESTS)
    storage = Storage(pg_dsn)
    LogWorker(sale, storage, Shutdown()).run(drain=True)
    storage.close()
    report = audit(sale, LANE)
    assert report.clean, report.findings
    # Its row settles it.
    assert (report.records_dead, report.units_sold) == (0, REQUESTS)


def test_what_is_pushed_and_trimmed_during_a_scan_costs_nothing(
    redis_client: "redis.Redis", monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(record_list, "CHUNK", 10)
    redis_client.rpush(LANE.list, *(str(n) for n in range(35)))
    seen: list[bytes] = []
    for chunk in record_list.scan(redis_client, LANE):
        seen += chunk
        redis_client.lpush(LANE.list, *("new" for _ in range(20)))
        redis_client.rpop(LANE.list, 3)
    # What was trimmed before it was read is missing, and nothing else; what is new was not read.
    trimmed = {b"%d" % n for n in range(26, 35)}
    assert b"new" not in seen
    assert {b"%d" % n for n in range(35)} - set(seen) <= trimmed


def test_an_act_that_is_going_on_is_no_finding(sale: "redis.Redis") -> None:
    """Redis has changed already, PostgreSQL has not committed yet: the act still holds its row."""
    sale.hincrby(KEYS.stock, "1001", 5)
    sale.hincrby(KEYS.loaded, "1001", 5)
    dsn = connection.get_connection_params()
    dsn.pop("cursor_factory", None)
    dsn.pop("context", None)
    with psycopg.connect(**dsn) as operator:
        operator.execute("SELECT 1 FROM seckill_activity WHERE id = 1 FOR UPDATE")
        report = audit(sale, LANE)
        assert report.clean, report.findings
        assert "activity 1 was being changed" in report.notes[0]
        operator.rollback()
    # The operator's process was killed: nobody holds the row, and it is a finding.
    assert [f.invariant for f in audit(sale, LANE).findings] == [NEVER_OVERSOLD]


def test_watch_tells_each_look_and_ends_at_a_violation(sale: "redis.Redis") -> None:
    """A service that is away for a look gives no verdict, and the next look is made."""
    told: list[str] = []
    turns = iter([None, RedisAway("gone for a moment"), None, KEYS.stock])

    def look() -> Report:
        turn = next(turns)
        if isinstance(turn, RedisAway):
            raise turn
        if turn is not None:
            sale.hincrby(turn, "1001", 5)
        return audit(sale, LANE)

    with Shutdown() as shutdown:
        watch = Watch(look, shutdown, 0.01, lambda report, why: told.append(why or "clean"))
        watch.run()
    assert told == ["clean", "Redis is away: gone for a moment", "clean"]
    assert watch.looks == 3
    assert watch.violated is not None
    assert watch.violated.findings[0].invariant == NEVER_OVERSOLD


@pytest.mark.parametrize(("end", "code"), [("ctrl-c", 0), ("violation", 1)])
def test_watch_as_a_command(sale: "redis.Redis", manage: Manage, end: str, code: int) -> None:
    process = manage("audit", "--watch", "0.2")
    assert process.stdout is not None
    lines = [process.stdout.readline() for _ in range(2)]
    for line in lines:
        assert re.match(r"\d\d:\d\d:\d\d clean \| messages 100 \| sold 100 of 1,000 \| ", line), (
            line
        )
    kept = read_last_audit(sale, LANE)
    assert kept is not None
    assert kept.clean
    if end == "ctrl-c":
        process.send_signal(signal.SIGINT)
    else:
        sale.hincrby(KEYS.stock, "1001", 5)
    output, _ = process.communicate(timeout=240)
    assert process.returncode == code
    assert "Traceback" not in output
    kept = read_last_audit(sale, LANE)
    assert kept is not None
    assert kept.clean is (code == 0)
    assert ("never oversold: activity 1, item 1001" in output) is (code == 1)

"""The audit that log workers run by themselves: one of several, its verdict, its turn, its end."""

import threading
from collections.abc import Callable

import pytest
import redis
from django.db import connection

from seckill.audit import by_itself
from seckill.audit.audit import CannotCheck, Report
from seckill.audit.by_itself import AuditByItself
from seckill.audit.checks import Finding
from seckill.audit.verdict import read_last_audit, write_last_audit
from seckill.errors import PostgresAway, PostgresRefuses
from seckill.lane.keys import Lane
from seckill.telemetry.heartbeats import read_workers
from tests.conftest import Manage, wait_until
from tests.helpers import sale

pytestmark = pytest.mark.django_db(transaction=True)
LANE = Lane()


@pytest.fixture
def worker(redis_client: "redis.Redis") -> Callable[..., AuditByItself]:
    """Makes a worker that does not run by itself: each look is asked for."""
    sale.put_on_sale(redis_client, {1001: 5})

    def make(name: str = "one", interval_s: float = 60.0) -> AuditByItself:
        return AuditByItself(redis_client, LANE, name, interval_s)

    return make


def test_one_of_several_workers_audits(
    worker: Callable[..., AuditByItself], redis_client: "redis.Redis"
) -> None:
    one, two = worker("one"), worker("two")
    assert (one.run_once(), two.run_once(), one.run_once()) == (1, 0, 0)
    last = read_last_audit(redis_client, LANE)
    assert last is not None
    assert (last.clean, last.by) == (True, "one")
    # The worker that had the turn may be dead: its key expires.
    assert 0 < redis_client.pttl(LANE.audit_turn) <= 60_000
    assert redis_client.type(LANE.audit_turn) == b"string"
    redis_client.delete(LANE.audit_turn)
    assert two.run_once() == 1


def test_after_a_long_look_the_next_one_waits_longer(
    worker: Callable[..., AuditByItself],
    redis_client: "redis.Redis",
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(by_itself, "audit", lambda *_: Report(checks=1))
    times = iter((0.0, 30.0))
    slow = worker()
    slow.clock = lambda: next(times)
    slow.run_once()
    assert redis_client.pttl(LANE.audit_turn) > 200_000


def found(*_: object) -> Report:
    """A look that finds a lost order."""
    return Report(clean=False, checks=1, findings=[Finding("never lost", "item 1", "gone", "look")])


def test_what_it_finds_is_told(
    worker: Callable[..., AuditByItself],
    redis_client: "redis.Redis",
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr(by_itself, "audit", found)
    worker().run_once()
    last = read_last_audit(redis_client, LANE)
    assert last is not None
    assert (last.clean, last.finding) == (False, "never lost: item 1: gone")
    assert "broken promise: never lost: item 1: gone. Do: look" in caplog.text


def test_a_clean_look_clears_no_verdict_of_the_topic(
    worker: Callable[..., AuditByItself], redis_client: "redis.Redis"
) -> None:
    def clean_after(by: str) -> bool | None:
        redis_client.delete(LANE.audit_turn)
        write_last_audit(redis_client, False, 1, "lost", by, LANE)
        worker().run_once()
        last = read_last_audit(redis_client, LANE)
        assert last is not None
        return last.clean

    assert clean_after("shell:ann (audit --kafka)") is False
    assert clean_after("shell:ann (audit)") is True


@pytest.mark.parametrize("why", [CannotCheck("no sale"), PostgresAway("gone")])
def test_a_look_that_could_not_be_made_leaves_the_last_verdict(
    worker: Callable[..., AuditByItself],
    redis_client: "redis.Redis",
    monkeypatch: pytest.MonkeyPatch,
    why: Exception,
) -> None:
    def fails(*_: object) -> Report:
        raise why

    monkeypatch.setattr(by_itself, "audit", fails)
    write_last_audit(redis_client, True, 1, "", "before", LANE)
    with pytest.raises(type(why)):
        worker().run_once()
    last = read_last_audit(redis_client, LANE)
    assert last is not None
    assert last.by == "before"
    assert redis_client.pttl(LANE.audit_turn) > 0, "the others do not all try at once"


def test_a_missing_right_is_a_verdict(
    worker: Callable[..., AuditByItself],
    redis_client: "redis.Redis",
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def refused(*_: object) -> Report:
        raise PostgresRefuses("permission denied")

    monkeypatch.setattr(by_itself, "audit", refused)
    worker().run_once()
    last = read_last_audit(redis_client, LANE)
    assert last is not None
    assert last.clean is None
    assert "permission denied" in last.finding


def test_it_ends_in_the_middle_of_a_look(
    worker: Callable[..., AuditByItself],
    redis_client: "redis.Redis",
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    looking = threading.Event()
    other = worker("other")

    def slow(*_: object) -> Report:
        with connection.cursor() as cursor:
            looking.set()
            cursor.execute("SELECT pg_sleep(600)")
        return Report()

    monkeypatch.setattr(by_itself, "audit", slow)
    with worker(interval_s=0.1) as running:
        assert looking.wait(30)
        # A turn lasts as long as its look, not as its interval.
        assert redis_client.pttl(LANE.audit_turn) > 60_000
        assert other.run_once() == 0
    assert running._thread is not None
    running._thread.join(30)
    assert not running._thread.is_alive()
    assert read_last_audit(redis_client, LANE) is None


def test_a_log_worker_audits_by_itself_unless_told_not_to(
    manage: Manage, redis_client: "redis.Redis", pg_dsn: str
) -> None:
    sale.put_on_sale(redis_client, {1001: 5})
    never = manage("run_log_worker", "--audit-interval-s", "0")
    often = manage("run_log_worker", "--audit-interval-s", "0.2")

    def verdict() -> bool:
        return read_last_audit(redis_client, LANE) is not None

    wait_until(verdict, 60, "a verdict")
    last = read_last_audit(redis_client, LANE)
    assert last is not None
    assert last.clean is True
    assert str(often.pid) in last.by
    # A signal before it listens for signals would be Python's own end.
    wait_until(lambda: len(read_workers(redis_client, LANE)) == 2, 60, "both work")
    for process in (never, often):
        process.terminate()
        assert process.wait(30) == 0

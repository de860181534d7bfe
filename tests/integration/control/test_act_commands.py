"""The shell's acts and looks, as real processes: what they change, print, refuse and exit with."""

import contextlib
import io
import json
import os
import pty
import signal
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest
import redis
from django.core.management import CommandError, call_command
from django.db import connections

from devstack.endpoints import Endpoints
from seckill.config.layers import BASE_DIR
from seckill.lane.keys import Lane
from seckill.models import Activity, Item, StockChange
from tests.conftest import Manage, wait_until
from tests.helpers import sale
from tests.helpers.commands import DEAD_REDIS, Ended
from tests.helpers.shop import Shop

PATIENCE_S = 60.0


class Shell:
    """Commands in this process, with the flags that name the session's services."""

    def __init__(self, *flags: str) -> None:
        self.flags = flags

    def __call__(self, *arguments: str) -> str:
        """What the command prints. Raises CommandError."""
        out = io.StringIO()
        call_command(*arguments, *self.flags, stdout=out)
        return out.getvalue()


@pytest.fixture
def shell(stack: Endpoints, pg_dsn: str) -> Iterator[Shell]:
    """Quick commands: what only a process can show has tests with processes."""
    known = dict(connections["default"].settings_dict)
    yield Shell("--redis-url", stack.redis_url, "--pg-dsn", pg_dsn)
    connections["default"].settings_dict.clear()
    connections["default"].settings_dict.update(known)


def test_a_sale_is_steered_from_the_shell(shell: Shell, shop: Shop) -> None:
    """Made, put on sale, held, ended, opened again, changed."""
    made = shell("activity", "create", "--name", "Night", "--user-limit", "5", "--note", "new")
    assert "create_activity: activity 1, version 0" in made
    shop.control.set_stock(1, {1001: 10})
    assert "1001: 10 -> 15" in shell("add_stock", "1001:5", "--expected-version", "1")
    assert "paused: no -> yes" in shell("pause", "--note", "the till is down")
    assert shop.buy(sale.body(1)) == {"NOT_OPEN": 1}
    assert "paused: yes -> no" in shell("resume")
    assert "over: - -> finished" in shell("finish")
    assert "over: finished -> -" in shell("reopen")
    said = shell("activity", "set", "1", "--user-limit", "none", "--opens-at", "2026-11-11T20:00Z")
    assert "user_limit: 5 -> -" in said
    assert "opens_at: - -> 2026-11-11T20:00:00+00:00" in said
    assert Activity.objects.get().user_limit is None
    shown = shell("activity", "show", "1")
    assert "'Night'" in shown
    assert "item 1001: left 15, sold 0" in shown
    assert "opens at 2026-11-11T20:00:00+00:00" in shell("activity", "list")
    rows = StockChange.objects.order_by("id").exclude(actor="olga")
    assert all(row.actor.startswith("shell:") for row in rows)
    assert [row.note for row in rows if row.note] == ["new", "the till is down"]
    shop.clean()


def test_a_script_that_runs_twice_acts_once(manage: Manage, shop: Shop) -> None:
    shop.control.set_stock(1, {1001: 10})
    for repeated in (False, True):
        ended = Ended(manage("add_stock", "1001:5", "--idempotency-key", "k1"))
        assert ended.code == 0, ended.output
        assert "1001: 10 -> 15" in ended.output
        assert ("repeated" in ended.output) is repeated
    other = Ended(manage("add_stock", "1001:6", "--idempotency-key", "k1"))
    assert (other.code, "used for another call" in other.output) == (1, True)
    late = Ended(manage("pause", "--expected-version", "1"))
    assert late.code == 1
    assert "version 1" in late.output
    assert "version 2" in late.output
    assert sale.stock(shop.client) == {1001: 15}


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (["add_stock", "1001:0"], 1, "units are a whole number from 1"),
        (["add_stock", "1009:5"], 1, "1009 is not on sale"),
        (["pause", "--activity-id", "77"], 1, "activity 77 is not known"),
        (["activity", "show", "77"], 1, "activity 77 is not known"),
        (["activity", "set", "1"], 1, "no field is given"),
        (["pause", "--idempotency-key", "a b"], 2, "without spaces"),
    ],
)
def test_what_is_refused_changes_nothing(
    shell: Shell, shop: Shop, arguments: list[str], code: int, says: str
) -> None:
    shop.control.set_stock(1, {1001: 10})
    before = sale.everything(shop.client)
    with pytest.raises(CommandError, match=says) as refused:
        shell(*arguments)
    assert refused.value.returncode == code
    assert sale.everything(shop.client) == before
    assert Item.objects.get().allocation == 10


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (["activity", "set", "1", "--closes-at", "soon"], 2, "'soon' is not a time"),
        (["activity", "set", "1", "--opens-at", "2026-11-11T20:00"], 2, "has no time zone"),
        (["activity", "show", "0" * 19 + "1" + "9" * 30], 2, "is not a number"),
        (["dead_letters", "list", "--newest", "0"], 2, "is not a whole number"),
        (["pause", "--expected-version", "x"], 2, "'x' is not a version"),
        (["status", "--redis-url", DEAD_REDIS], 3, "Redis is away"),
        (["status", "--interval", "0"], 2, "seconds from"),
    ],
)
def test_what_cannot_be_done_is_one_line_and_a_code(
    manage: Manage, arguments: list[str], code: int, says: str
) -> None:
    ended = Ended(manage(*arguments))
    assert ended.code == code, ended.output
    assert says in ended.output
    assert "Traceback" not in ended.output


@pytest.mark.parametrize(
    ("arguments", "address"),
    [
        (["status", "--redis-url", DEAD_REDIS], "SECKILL_REDIS_URL"),
        (["dead_letters", "list", "--brokers", "127.0.0.1:1"], "SECKILL_BROKERS"),
    ],
)
def test_a_service_that_is_away_says_what_to_do_and_no_more(
    manage: Manage, arguments: list[str], address: str
) -> None:
    ended = Ended(manage(*arguments))
    assert ended.code == 3, ended.output
    assert "is away" in ended.output
    assert f"correct its address ({address}; " in ended.output
    # The Kafka library's own lines about each try would bury ours.
    assert "kafka.net" not in ended.output


def test_status_once_and_as_json(manage: Manage, shop: Shop) -> None:
    shop.control.set_stock(1, {1001: 10})
    shop.buy(sale.body(1), sale.body(2, {9: 1}))
    shop.control.pause(1)
    plain = Ended(manage("status"))
    assert plain.code == 0, plain.output
    for part in (
        "paused",
        "1001",
        "waiting for PostgreSQL 1",
        "unknown_item 1",
        "not run yet",
    ):
        assert part in plain.output
    assert "\x1b" not in plain.output
    said: dict[str, Any] = json.loads(Ended(manage("status", "--json")).output)
    assert said["activities"][0]["stock"] == {"1001": 9}
    assert said["activities"][0]["paused"] is True
    assert said["lane"]["waiting"] == 1


def test_status_on_a_terminal_is_live_until_ctrl_c(
    environment: dict[str, str], shop: Shop, redis_client: "redis.Redis", stack: Endpoints
) -> None:
    shop.control.set_stock(1, {1001: 4321})
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, str(BASE_DIR / "manage.py"), "status", "--interval", "0.1"],
        env={**environment, "TERM": "xterm", "COLUMNS": "150", "LINES": "40"},
        cwd=BASE_DIR, stdin=theirs, stdout=theirs, stderr=theirs, start_new_session=True,
    )  # fmt: skip
    os.close(theirs)
    os.set_blocking(ours, False)
    seen = b""

    def shows(text: bytes) -> bool:
        nonlocal seen
        with contextlib.suppress(BlockingIOError):
            seen += os.read(ours, 65536)
        return text in seen

    try:
        wait_until(lambda: shows(b"4,321"), PATIENCE_S, "the table shows the stock")
        shop.control.add_stock(1, {1001: 1000})
        wait_until(lambda: shows(b"5,321"), PATIENCE_S, "the table follows")
        redis_client.delete(Lane().activities)
        wait_until(lambda: shows(b"Nothing is loaded"), PATIENCE_S, "the table says what is wrong")
        process.send_signal(signal.SIGINT)
        assert process.wait(4 * PATIENCE_S) == 0
    finally:
        process.kill()
        process.wait()
        os.close(ours)

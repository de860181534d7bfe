"""The commands of operators, and the web process, as real processes with real signals."""

import json
import re
import signal
import socket
import subprocess
import sys
from contextlib import ExitStack
from typing import Any

import pytest
import redis
from django.contrib.auth import authenticate

from devstack.endpoints import Endpoints
from seckill.config.layers import BASE_DIR
from seckill.lane.keys import CONTROL_CHANNEL
from seckill.models import Activity, ApiKey, Item, StockChange
from tests.conftest import Manage
from tests.helpers import sale
from tests.helpers.commands import DEAD_REDIS, PATIENCE_S, Ended, Web

DEAD_PG = "postgresql://x@127.0.0.1:1/x"

pytestmark = pytest.mark.usefixtures("pg_dsn", "redis_client")


# --- acts


def test_set_stock_prints_what_changed(manage: Manage, redis_client: "redis.Redis") -> None:
    listener = redis_client.pubsub()
    listener.subscribe(CONTROL_CHANNEL)
    listener.get_message(timeout=60)
    first = Ended(manage("set_stock", "1001:10,1002:5"))
    assert first.code == 0, first.output
    assert "activity 1, version 1" in first.output
    again = Ended(manage("set_stock", "1001:7", "--activity-id", "1"))
    assert "1001: 10 -> 7" in again.output
    assert "version 2" in again.output
    assert sale.stock(redis_client) == {1001: 7, 1002: 5}
    assert StockChange.objects.latest("id").actor.startswith("shell:")
    published = listener.get_message(timeout=60)
    assert published is not None
    assert json.loads(published["data"])["cmd"] == "set_stock"
    listener.close()


def test_finish_and_sync(manage: Manage, redis_client: "redis.Redis") -> None:
    Activity.objects.create(pk=4)
    Item.objects.create(activity_id=4, item_id=7, allocation=9)
    synced = Ended(manage("sync_from_db", "--activity-id", "4"))
    assert (synced.code, "7: 0 -> 9" in synced.output) == (0, True)
    finished = Ended(manage("finish_activity", "--activity-id", "4"))
    assert (finished.code, "over: - -> finished" in finished.output) == (0, True)


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (["set_stock"], 2, "ITEM:UNITS"),
        (["set_stock", "1001"], 2, "'1001' is not ITEM:UNITS"),
        (["set_stock", ""], 2, "no item is given"),
        (["set_stock", "0:1"], 2, "item 0"),
        (["set_stock", "1:1000000000001"], 2, "item 1"),
        (["set_stock", "1:1,1:2"], 2, "named twice"),
        (["set_stock", "9223372036854775808:1"], 2, "item 9223372036854775808"),
        (["finish_activity", "--activity-id", "0"], 2, "'0' is not a number"),
        (["finish_activity", "--activity-id", "x"], 2, "'x' is not a number"),
        (["finish_activity", "--activity-id", "77"], 1, "refused, nothing was changed"),
        (["finish_activity", "--redis-url", "http://x"], 2, "--redis-url"),
        (["sync_from_db", "--redis-url", DEAD_REDIS, "--activity-id", "5"], 3, "Redis is away"),
        (["sync_from_db", "--pg-dsn", DEAD_PG], 3, "PostgreSQL is away"),
    ],
)
def test_what_cannot_be_done_is_one_line_and_a_code(
    manage: Manage, redis_client: "redis.Redis", arguments: list[str], code: int, says: str
) -> None:
    Activity.objects.create(pk=5)
    Item.objects.create(activity_id=5, item_id=7, allocation=9)
    ended = Ended(manage(*arguments))
    assert ended.code == code, ended.output
    assert says in ended.output
    assert "Traceback" not in ended.output
    assert sale.everything(redis_client) == {}


def test_tables_that_are_missing(manage: Manage, stack: Endpoints) -> None:
    empty = stack.pg_dsn.rpartition("/")[0] + "/template1"
    for command in (["finish_activity"], ["create_admin"], ["run_control_api", "--port", "0"]):
        ended = Ended(manage(*command, "--pg-dsn", empty))
        assert ended.code == 2, ended.output
        assert "run manage.py migrate" in ended.output
        assert "Traceback" not in ended.output


# --- credentials


def test_create_api_key(manage: Manage) -> None:
    made = Ended(manage("create_api_key", "till"))
    key = made.output.strip().splitlines()[-1]
    assert (made.code, key.startswith("sk_")) == (0, True)
    assert ApiKey.objects.get(digest=ApiKey.hash(key)).can_steer
    again = Ended(manage("create_api_key", "till"))
    assert again.code == 1
    assert "already exists" in again.output
    Ended(manage("create_api_key", "screen", "--look-only"))
    assert not ApiKey.objects.get(name="screen").can_steer
    for name in ("", "x" * 101):
        assert Ended(manage("create_api_key", name)).code == 1


def test_create_admin_generates_a_password_and_renews_it(manage: Manage) -> None:
    passwords = []
    for _ in range(2):
        made = Ended(manage("create_admin"))
        assert made.code == 0, made.output
        found = re.search(r"login: admin  password: (\S{16})$", made.output.strip())
        assert found is not None
        passwords.append(found[1])
    assert authenticate(username="admin", password=passwords[0]) is None
    user: Any = authenticate(username="admin", password=passwords[1])
    assert user.is_superuser
    assert user.is_staff


def test_create_admin_takes_the_given_password(manage: Manage) -> None:
    given = "correct horse battery"
    made = Ended(manage("create_admin", "--username", "ruth", SECKILL_ADMIN_PASSWORD=given))
    assert made.code == 0, made.output
    assert given not in made.output
    assert authenticate(username="ruth", password=given) is not None
    weak = Ended(manage("create_admin", "--username", "ruth", SECKILL_ADMIN_PASSWORD="12345"))
    assert weak.code == 1
    assert authenticate(username="ruth", password=given) is not None


# --- the web process


def is_closed(client: socket.socket) -> bool:
    """Whether the server has closed it: with a reset, if it had not taken it from its queue yet."""
    try:
        return client.recv(1) == b""
    except ConnectionResetError:
        return True


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_the_web_process_serves_and_stops_cleanly(manage: Manage, number: signal.Signals) -> None:
    web = Web(manage("run_control_api", "--port", "0"))
    assert web.ask("/healthz") == (200, '{"status": "alive"}')
    assert web.ask("/status")[0] == 401
    assert "Flash sale control" in web.ask("/docs")[1]
    assert web.ask("/static/ninja/swagger-ui.css")[0] == 200
    assert "Log in" in web.ask("/admin/login/")[1]
    # A connection that is kept open does not hold the process.
    with socket.create_connection(("127.0.0.1", web.port)) as idle:
        ended = web.stop(number)
        assert is_closed(idle)
    assert (ended.code, ended.output.splitlines()[-1]) == (0, "stopped")


def say(port: int, request: bytes) -> tuple[int, bytes]:
    """Status code and body of raw bytes, with the connection closed behind them."""
    with socket.create_connection(("127.0.0.1", port), 120) as client:
        client.sendall(request + b"\r\n")
        answer = b""
        while more := client.recv(65536):
            answer += more
    head, _, body = answer.partition(b"\r\n\r\n")
    return int(head.split()[1]), body


@pytest.mark.parametrize("path", ["/healthz", "/readyz"])
def test_probes_come_by_any_name_or_none(
    manage: Manage, redis_client: "redis.Redis", path: str
) -> None:
    sale.put_on_sale(redis_client, {1001: 3})
    web = Web(manage("run_control_api", "--port", "0"))
    target = path.encode()
    ready = web.ask(path)
    assert ready[0] == 200
    for version, host in (
        (b"1.1", b"Host: sale.example\r\n"),
        (b"1.1", b"Host: 10.1.2.3:3000\r\n"),
        (b"1.1", b"Host: a b%00/\r\n"),
        (b"1.1", b"Host:\r\n"),
        (b"1.1", b""),
        (b"1.0", b""),
    ):
        rest = b" %b HTTP/%b\r\nConnection: close\r\n%b" % (target, version, host)
        assert say(web.port, b"GET" + rest) == (200, ready[1].encode()), host
        assert say(web.port, b"HEAD" + rest) == (200, b""), host
        # Everything else is answered to our own names only.
        if host:
            other = rest.replace(target, b"/admin/login/")
            assert say(web.port, b"GET" + other)[0] == 400, host
    # A page that has a body sends none of it either, and other methods are none of a probe's.
    named = b"Connection: close\r\nHost: localhost\r\n"
    assert say(web.port, b"HEAD /admin/login/ HTTP/1.1\r\n" + named) == (200, b"")
    assert say(web.port, b"POST %b HTTP/1.1\r\n%b" % (target, named))[0] == 405
    assert web.stop().code == 0


def test_half_requests_lock_nobody_out(manage: Manage) -> None:
    variables = {"SECKILL_PROXY_NETWORKS": "127.0.0.9", "SECKILL_CONNECTIONS_PER_ADDRESS": "50"}
    web = Web(manage("run_control_api", "--port", "0", **variables))
    with ExitStack() as crowd:
        for number in range(600):
            # Of one address, which has its limit, and of a proxy, which has none.
            source = ("127.0.0.9" if number % 2 else "127.0.0.8", 0)
            client = socket.create_connection(("127.0.0.1", web.port), 120, source_address=source)
            crowd.enter_context(client)
            try:
                client.sendall(b"GET /healthz HTTP/1.1\r\n")
            except ConnectionError:
                # Refused, and closed already.
                assert not number % 2
        assert web.ask("/healthz")[0] == 200
    ended = web.stop()
    assert ended.code == 0
    assert "refused, because their address has too many" in ended.output


def test_the_addresses_of_the_flags_are_used(
    manage: Manage, stack: Endpoints, pg_dsn: str, redis_client: "redis.Redis"
) -> None:
    sale.put_on_sale(redis_client, {1001: 3})
    key = Ended(manage("create_api_key", "till")).output.strip().splitlines()[-1]
    flags = ("--redis-url", stack.redis_url, "--pg-dsn", pg_dsn)
    environment = {"SECKILL_REDIS_URL": DEAD_REDIS, "SECKILL_PG_DSN": DEAD_PG}
    web = Web(manage("run_control_api", "--port", "0", *flags, **environment))
    assert "away" not in "".join(web.said)
    code, body = web.ask("/status", {"X-API-Key": key})
    assert (code, json.loads(body)["stock"]) == (200, {"1001": 3})
    assert web.stop().code == 0


def test_a_port_that_is_taken(manage: Manage) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        ended = Ended(manage("run_control_api", "--port", str(port)))
    assert ended.code == 2
    assert f"cannot listen on 127.0.0.1:{port}" in ended.output
    assert len(ended.output.strip().splitlines()) == 1
    for host in ("no.such.host.invalid", "203.0.113.7"):
        ended = Ended(manage("run_control_api", "--host", host))
        assert (ended.code, "Traceback" in ended.output) == (2, False)
    assert Ended(manage("run_control_api", "--threads", "0")).code == 2


def test_services_away_are_503_and_named(manage: Manage) -> None:
    flags = ("--redis-url", DEAD_REDIS, "--pg-dsn", DEAD_PG)
    web = Web(manage("run_control_api", "--port", "0", *flags))
    said = "".join(web.said)
    assert "PostgreSQL is away" in said
    assert "Redis is away" in said
    code, body = web.ask("/status", {"X-API-Key": "sk_any"})
    assert (code, json.loads(body)["service"]) == (503, "PostgreSQL")
    code, body = web.ask("/admin/", {"Cookie": "sessionid=abcdefghijklmnopqrstuvwxyz"})
    assert (code, "PostgreSQL is away" in body) == (503, True)
    assert web.ask("/healthz")[0] == 200
    ended = web.stop()
    assert ended.code == 0
    assert "Traceback" not in ended.output


def test_an_open_address_is_warned_about(manage: Manage) -> None:
    web = Web(manage("run_control_api", "--port", "0", "--host", "0.0.0.0"))
    said = "".join(web.said)
    assert "no TLS" in said
    assert "SECKILL_ALLOWED_HOSTS" in said
    assert web.ask("/healthz")[0] == 200
    assert web.stop().code == 0


def test_it_ends_with_its_parent(environment: dict[str, str]) -> None:
    process = subprocess.Popen(
        [sys.executable, "manage.py", "run_control_api", "--port", "0", "--stop-with-stdin"],
        env=environment,
        cwd=BASE_DIR,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    try:
        assert Web(process).ask("/healthz")[0] == 200
        # Closes the pipe, as the end of a parent does, and awaits the end.
        output, _ = process.communicate(timeout=PATIENCE_S)
        assert (process.returncode, output.strip()) == (0, "stopped")
    finally:
        process.kill()
        process.wait()

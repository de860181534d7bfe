"""Logs of the real commands: JSON line by line, and no password or key in anything they say."""

import http.client
import json
import os
import signal
from itertools import product
from typing import Any

import pytest
import redis
from psycopg.conninfo import conninfo_to_dict
from redis.connection import parse_url

from devstack.endpoints import Endpoints
from seckill.config.sections import Server
from seckill.lane.keys import Lane
from seckill.lane.status import read_lane
from seckill.process.events import EVENTS
from seckill.web.shared.accounts import make_api_key
from tests.conftest import Manage, wait_until
from tests.helpers import sale
from tests.helpers.messages import send

MEMBERS = {"at", "level", "event", "message", "logger", "process"}
# Passwords of services that do not exist.
SECRETS = {
    "redis": "redisSecret5",
    "pg": "pgSecret6",
    "sasl": "saslSecret7",
    "django": "djangoSecret8-djangoSecret8-djangoSecret8-djangoSecret8",
}
NOWHERE = {
    "SECKILL_REDIS_URL": f"redis://:{SECRETS['redis']}@127.0.0.1:1/0",
    "SECKILL_PG_DSN": f"postgresql://seckill:{SECRETS['pg']}@127.0.0.1:1/seckill",
    "SECKILL_BROKERS": "127.0.0.1:1",
    "SECKILL_SECURITY_PROTOCOL": "SASL_PLAINTEXT",
    "SECKILL_SASL_MECHANISM": "PLAIN",
    "SECKILL_SASL_USERNAME": "buyer",
    "SECKILL_SASL_PASSWORD": SECRETS["sasl"],
    "SECKILL_SECRET_KEY": SECRETS["django"],
    "SECKILL_CONNECT_TIMEOUT": "0.5",
}
COMMANDS = {
    "run_consumer": [], "run_log_worker": [], "run_loadgen": ["--user-count", "5"], "audit": [],
    "report": [], "set_stock": ["1001:5"],
}  # fmt: skip


def parsed(output: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in output.splitlines()]


def test_every_line_of_a_sale_is_json(
    manage: Manage, redis_client: "redis.Redis", server: Server, kafka_topic: str, pg_dsn: str,
    stack: Endpoints,
) -> None:  # fmt: skip
    sale.put_on_sale(redis_client, {1001: 5})
    consumer = manage(
        "run_consumer", "--topic", kafka_topic, "--group-id", kafka_topic,
        "--status-interval", "0.5", "--log-format", "json",
    )  # fmt: skip
    storing = manage("run_log_worker", SECKILL_LOG_FORMAT="json")
    send(server.brokers, kafka_topic, [sale.body(n) for n in range(1, 10)] + [b"junk"])
    wait_until(lambda: read_lane(redis_client, Lane()).decided == 10, 60, "all is decided")
    # Nothing is loaded any more: the consumer holds, and says so.
    redis_client.delete(Lane().activities)
    send(server.brokers, kafka_topic, [sale.body(1)])
    said: list[str] = []
    for process in (storing, consumer):
        if process is consumer:
            assert process.stdout is not None
            while '"held"' not in (line := process.stdout.readline()):
                assert line
                said.append(line)
            said.append(line)
        process.terminate()
        said += process.communicate(timeout=240)[0].splitlines(keepends=True)
        assert process.returncode == 0
    lines = parsed("".join(said))
    assert {line["event"] for line in lines} >= {"said", "assigned", "held"}
    for line in lines:
        assert set(line) >= MEMBERS
        assert line["event"] in EVENTS
    passwords = {
        str(parse_url(stack.redis_url)["password"]), str(conninfo_to_dict(pg_dsn)["password"]),
    }  # fmt: skip
    assert all(len(password) > 10 for password in passwords)
    assert not any(password in line for password, line in product(passwords, said))


@pytest.mark.parametrize("log_format", ["text", "json"])
def test_no_password_is_said_where_nothing_answers(manage: Manage, log_format: str) -> None:
    started = {
        name: manage(name, *arguments, **NOWHERE, SECKILL_LOG_FORMAT=log_format)
        for name, arguments in COMMANDS.items()
    }
    for name, process in started.items():
        said = process.communicate(timeout=240)[0]
        assert process.returncode != 0, name
        assert "away" in said or "could not" in said, said
        for secret in SECRETS.values():
            assert secret not in said, name


def test_no_password_is_said_where_it_is_wrong(
    manage: Manage, stack: Endpoints, pg_dsn: str
) -> None:
    """The services answer, and refuse: what they say of it is told, without the password."""
    password = str(parse_url(stack.redis_url)["password"])
    wrong = {
        "SECKILL_REDIS_URL": stack.redis_url.replace(password, SECRETS["redis"]),
        "SECKILL_CONNECT_TIMEOUT": "0.5",
    }
    consumer = manage("run_log_worker", **wrong)
    said = consumer.communicate(timeout=240)[0]
    assert consumer.returncode == 3
    assert SECRETS["redis"] not in said
    # A value that cannot be read is not repeated either.
    unreadable = manage("run_log_worker", SECKILL_PG_DSN=f"postgresql://u:{SECRETS['pg']}%@h/d")
    said = unreadable.communicate(timeout=240)[0]
    assert unreadable.returncode == 2
    assert SECRETS["pg"] not in said


@pytest.mark.django_db(transaction=True)
def test_no_key_is_said_by_the_web_process(manage: Manage, pg_dsn: str) -> None:
    key = make_api_key("till", can_steer=True)
    away = {
        "SECKILL_REDIS_URL": NOWHERE["SECKILL_REDIS_URL"],
        "SECKILL_SECRET_KEY": SECRETS["django"],
    }
    # The threads' connections end with the process, and Python says so.
    away["PYTHONWARNINGS"] = "ignore"
    web = manage("run_control_api", "--port", "0", "--log-format", "json", **away)
    assert web.stdout is not None
    said = [web.stdout.readline()]
    while "/status" not in said[-1]:
        said.append(web.stdout.readline())
    port = int(json.loads(said[-1])["message"].rsplit(":", 1)[1].split("/")[0])
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=120)
    connection.request("GET", "/status", headers={"X-API-Key": key})
    assert connection.getresponse().status == 503
    connection.close()
    os.kill(web.pid, signal.SIGTERM)
    said.append(web.communicate(timeout=240)[0])
    lines = parsed("".join(said))
    assert "web-503" in {line["event"] for line in lines}
    for secret in (key, SECRETS["redis"], SECRETS["django"]):
        assert secret not in "".join(said)

"""A password, a certificate or a right that a person must mend is told as that, in one line."""

import re
from urllib.parse import urlsplit

import pytest
import redis

from devstack.endpoints import Endpoints
from seckill.process.exit_codes import UNREACHABLE
from tests.conftest import Manage
from tests.helpers.tls_server import unsigned_server


def line(manage: Manage, *arguments: str, **variables: str) -> str:
    """The one line that a refused command says."""
    process = manage(*arguments, **variables)
    output, _ = process.communicate(timeout=240)
    assert process.returncode == UNREACHABLE, output
    assert "Traceback" not in output
    [told] = [each for each in output.splitlines() if "Trying for" not in each]
    return told


def with_password(url: str, password: str) -> str:
    """The same address with another password."""
    return url.replace(f":{urlsplit(url).password}@", f":{password}@")


@pytest.mark.parametrize(
    "command",
    [
        ("migrate",),
        ("activity", "list"),
        ("run_log_worker", "--connect-timeout", "0"),
    ],
)
def test_a_wrong_password_of_postgres(
    manage: Manage, command: tuple[str, ...], pg_dsn: str
) -> None:
    told = line(manage, *command, SECKILL_PG_DSN=with_password(pg_dsn, "wrong"))
    assert re.match("CommandError: PostgreSQL refuses: .*password authentication failed", told)
    assert "Correct the user, the password or the certificate in SECKILL_PG_DSN" in told


def test_a_wrong_password_of_redis(manage: Manage, stack: Endpoints) -> None:
    told = line(manage, "status", SECKILL_REDIS_URL=with_password(stack.redis_url, "wrong"))
    assert told.startswith("CommandError: Redis refuses: ")
    assert "SECKILL_REDIS_URL" in told


def test_a_wrong_ca(manage: Manage) -> None:
    with unsigned_server() as address:
        told = line(manage, "status", "--once", "--redis-url", f"rediss://{address}/0")
        assert told.startswith("CommandError: Redis refuses: ")
        secured = {
            "SECKILL_BROKERS": address,
            "SECKILL_SECURITY_PROTOCOL": "SSL",
            # kafka-python leaves its sockets to the garbage collector.
            "PYTHONWARNINGS": "ignore:unclosed:ResourceWarning",
        }
        told = line(manage, "run_loadgen", "--connect-timeout", "0", **secured)
        assert told.startswith("CommandError: Kafka refuses: ")
        assert "SECKILL_SSL_CAFILE" in told


@pytest.mark.direct
def test_a_right_that_was_taken_away(
    manage: Manage, stack: Endpoints, redis_client: "redis.Redis"
) -> None:
    redis_client.acl_setuser(
        "poor", enabled=True, nopass=True, keys=["*"], categories=["-@all"], commands=["+ping"]
    )
    address = urlsplit(stack.redis_url)
    poor = f"redis://poor:x@{address.hostname}:{address.port}{address.path}"
    try:
        told = line(manage, "status", "--once", SECKILL_REDIS_URL=poor)
    finally:
        redis_client.acl_deluser("poor")
    assert told.startswith("CommandError: Redis refuses: ")
    assert "give the right" in told

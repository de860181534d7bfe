"""What a failure means to somebody at a shell."""

import errno

import django.db
import psycopg
import pytest
import redis
from django.core.management.base import CommandError

from seckill.config.layers import ConfigError
from seckill.errors import BrokerRefuses, RedisAway
from seckill.management.failures import readable_errors, told_as
from seckill.process import exit_codes

FULL = OSError(errno.ENOSPC, "No space left on device", "/a/b")


@pytest.mark.parametrize(
    ("error", "code", "said"),
    [
        (ConfigError("x: wrong"), exit_codes.USAGE, "x: wrong"),
        (FULL, exit_codes.FAILED, "/a/b: the disk is full (ENOSPC)"),
        (OSError(errno.EMFILE, "Too many"), exit_codes.FAILED, "too many files are open"),
        (RedisAway("no line"), exit_codes.UNREACHABLE, "Redis is away: no line. Bring it back"),
        (redis.ConnectionError("cut"), exit_codes.UNREACHABLE, "Redis is away: cut"),
        (redis.AuthenticationError("bad"), exit_codes.UNREACHABLE, "Redis refuses: bad. Correct"),
        (BrokerRefuses("bad"), exit_codes.UNREACHABLE, "Kafka refuses: bad. Correct the user"),
        (psycopg.OperationalError("gone"), exit_codes.UNREACHABLE, "PostgreSQL is away: gone"),
    ],
)
def test_it_is_one_line_with_a_code(error: Exception, code: int, said: str) -> None:
    with pytest.raises(CommandError) as told, readable_errors():
        raise error
    assert told.value.returncode == code
    assert str(told.value).startswith(said)
    assert "\n" not in str(told.value)


def test_a_right_that_postgres_does_not_give() -> None:
    wrapped = django.db.ProgrammingError("x")
    wrapped.__cause__ = psycopg.errors.InsufficientPrivilege("permission denied for table t")
    told = told_as(wrapped)
    assert told is not None
    assert str(told).startswith("PostgreSQL refuses: permission denied for table t. Correct")


@pytest.mark.parametrize("bug", [KeyError("x"), django.db.IntegrityError("twice"), OSError(5)])
def test_a_bug_keeps_its_traceback(bug: Exception) -> None:
    with pytest.raises(type(bug)), readable_errors():
        raise bug

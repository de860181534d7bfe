"""`manage.py wait`: its exit codes are what a script goes by."""

import io
from datetime import UTC, datetime

import pytest
from django.core.management import CommandError, call_command

from devstack.endpoints import Endpoints
from seckill.process import exit_codes
from tests.helpers.commands import DEAD_REDIS
from tests.helpers.shop import Shop


@pytest.fixture
def redis_url(stack: Endpoints) -> str:
    return stack.redis_url


def wait(redis_url: str, until: str, *flags: str) -> tuple[int, str]:
    """Exit code and what it says, of a wait that may take no time."""
    out = io.StringIO()
    arguments = ("wait", "--until", until, "--timeout-s", "0.1", "--redis-url", redis_url)
    try:
        call_command(*arguments, *flags, stdout=out)
    except CommandError as told:
        return told.returncode, str(told)
    except SystemExit as ended:
        return int(str(ended.code)), out.getvalue()
    return exit_codes.OK, out.getvalue()


def test_a_sale_that_opens_sells_out_and_is_finished(redis_url: str, shop: Shop) -> None:
    code, said = wait(redis_url, "opened", "--activity-id", "1")
    assert (code, "not loaded yet" in said) == (exit_codes.NOT_IN_TIME, True)
    shop.control.set_stock(1, {1001: 10})
    assert wait(redis_url, "opened")[0] == exit_codes.OK
    code, said = wait(redis_url, "sold-out")
    assert (code, "10 units are left" in said) == (exit_codes.NOT_IN_TIME, True)
    shop.control.configure_fields(1, opens_at=datetime(2999, 1, 1, tzinfo=UTC))
    assert wait(redis_url, "opened")[0] == exit_codes.NOT_IN_TIME
    shop.control.finish(1)
    for until in ("opened", "sold-out"):
        code, said = wait(redis_url, until)
        assert code == exit_codes.FAILED
        assert "finished" in said
    shop.control.set_stock(1, {1001: 0})
    assert wait(redis_url, "sold-out")[0] == exit_codes.OK


def test_a_service_that_is_away_at_the_end() -> None:
    code, said = wait(DEAD_REDIS, "opened")
    assert code == exit_codes.UNREACHABLE
    assert said.startswith("Redis is away: ")


@pytest.mark.parametrize("flags", [("--until", "closed"), ("--timeout-s", "soon")])
def test_a_wrong_command_line(redis_url: str, flags: tuple[str, ...]) -> None:
    with pytest.raises(CommandError):
        call_command("wait", "--until", "opened", "--timeout-s", "1", *flags)

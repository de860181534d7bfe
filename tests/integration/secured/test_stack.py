"""The secured stack itself: what lies in its folder, what `devstack env` says, who may do what."""

import stat
from io import StringIO

import psycopg
import pytest
import redis
from django.core.management import call_command

from devstack.endpoints import DevstackError
from devstack.stack import Stack
from seckill.config.layers import load
from seckill.config.sections import Door
from seckill.lane.client import connect
from tests.helpers.secured import SecuredSale, secrets_of


def env(stack: Stack, *flags: str) -> dict[str, str]:
    """What `devstack env` prints, as variables."""
    out = StringIO()
    call_command("devstack", "env", "--folder", str(stack.folder), *flags, stdout=out)
    lines = out.getvalue().splitlines()
    return dict(line.removeprefix("export ").split("=", 1) for line in lines)


def test_its_secrets_are_for_their_owner_alone(secured_stack: Stack) -> None:
    folder = secured_stack.folder
    files = [*folder.glob("secrets/*"), *folder.glob("certificates/*"), *folder.glob("*.json")]
    assert len(files) > 15
    assert {stat.S_IMODE(file.stat().st_mode) for file in files} == {0o600}


def test_env_prints_files_in_the_place_of_passwords(secured_stack: Stack) -> None:
    found = env(secured_stack, "--for", "run_door")
    assert not any(secret in "".join(found.values()) for secret in secrets_of(secured_stack))
    door = load(Door, environ={**found, "SECKILL_CONFIG": "/dev/null"})
    endpoints = secured_stack.endpoints("run_door")
    assert endpoints is not None
    assert (door.sasl_username, door.sasl_password) == (
        "door",
        endpoints.kafka["sasl_password"],
    )
    assert (door.redis_url, door.pg_dsn) == (endpoints.redis_url, endpoints.pg_dsn)
    plain = env(secured_stack, "--for", "run_door", "--secrets")
    assert plain["SECKILL_SASL_PASSWORD"] == door.sasl_password
    # Only what the command uses.
    assert {"SECKILL_REDIS_URL", "SECKILL_PG_DSN"}.isdisjoint(
        env(secured_stack, "--for", "run_loadgen")
    )


def test_a_folder_stays_as_it_was_made(secured_stack: Stack) -> None:
    with pytest.raises(DevstackError, match=r"were made secured, with 1 broker\(s\)"):
        secured_stack.up(brokers=3)


def test_the_application_owns_nothing(secured: SecuredSale) -> None:
    found = secured.endpoints("run_consumer")
    with (
        psycopg.connect(found.pg_dsn) as role,
        pytest.raises(psycopg.errors.InsufficientPrivilege),
    ):
        role.execute("CREATE TABLE other ()")
    client = connect(found.redis_url)
    with pytest.raises(redis.exceptions.NoPermissionError):
        client.flushall()
    client.close()

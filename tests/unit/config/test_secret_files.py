"""Secrets in files that variables name, and passwords apart from addresses."""

import json
from pathlib import Path

import pytest
from redis.connection import parse_url

from seckill.config.addresses import django_database
from seckill.config.layers import ConfigError, lane_addresses, load
from seckill.config.secret_files import secret, secret_variables
from seckill.config.sections import LogWorker, Server

# All that a URL would be cut at.
PASSWORD = "p@ss/w?rd#%:"


def environ(tmp_path: Path, **variables: str) -> dict[str, str]:
    """Variables, and no file of a configuration."""
    return {"SECKILL_CONFIG": "/dev/null", "SECKILL_DEVSTACK": str(tmp_path), **variables}


def test_a_password_comes_in_a_file_without_its_last_line_end(tmp_path: Path) -> None:
    file = tmp_path / "password"
    file.write_text(f"{PASSWORD}\n")
    server = load(
        Server,
        environ=environ(
            tmp_path,
            SECKILL_REDIS_URL="redis://shop@h:6379/0",
            SECKILL_PG_DSN="postgresql://shop@h1,h2/db?target_session_attrs=read-write",
            SECKILL_REDIS_PASSWORD_FILE=str(file),
            SECKILL_PG_PASSWORD_FILE=str(file),
            SECKILL_SASL_PASSWORD_FILE=str(file),
        ),
    )
    assert server.sasl_password == PASSWORD
    found = parse_url(server.redis_url)
    assert (found["username"], found["password"], found["host"]) == ("shop", PASSWORD, "h")
    database = django_database(server.pg_dsn)
    assert (database["USER"], database["PASSWORD"], database["HOST"]) == ("shop", PASSWORD, "h1,h2")
    assert PASSWORD not in repr(server)


def test_the_password_of_an_address_stays(tmp_path: Path) -> None:
    one = environ(tmp_path, SECKILL_REDIS_URL="redis://:own@h/0", SECKILL_REDIS_PASSWORD="other")
    assert parse_url(load(Server, environ=one).redis_url)["password"] == "own"


def test_an_address_as_a_whole_comes_in_a_file(tmp_path: Path) -> None:
    file = tmp_path / "dsn"
    file.write_text("postgresql://u:pw@h/db")
    found = load(LogWorker, environ=environ(tmp_path, SECKILL_PG_DSN_FILE=str(file)))
    assert found.pg_dsn == "postgresql://u:pw@h/db"


def test_the_address_of_a_lane_comes_in_a_file(tmp_path: Path) -> None:
    config, file = tmp_path / "config.yaml", tmp_path / "url"
    config.write_text("lanes: {hot-1: {topic: hot, group_id: hot}}")
    file.write_text("redis://:pw@hot/0\n")
    named = environ(
        tmp_path, SECKILL_CONFIG=str(config), SECKILL_LANE_HOT_1_REDIS_URL_FILE=str(file)
    )
    assert load(Server, environ=named, lane="hot-1").redis_url == "redis://:pw@hot/0"
    assert lane_addresses("redis://main/0", named)["hot-1"] == "redis://:pw@hot/0"
    with pytest.raises(ConfigError, match="unknown variable SECKILL_LANE_COLD_REDIS_URL_FILE"):
        load(Server, environ={**named, "SECKILL_LANE_COLD_REDIS_URL_FILE": str(file)})


def test_a_password_of_section_server_goes_with_its_address(tmp_path: Path) -> None:
    file = tmp_path / "config.yaml"
    file.write_text(
        "server: {redis_url: 'redis://a/0', redis_password: of-a}\n"
        "log_worker: {redis_url: 'redis://b/0'}\n"
    )
    variables = environ(tmp_path) | {"SECKILL_CONFIG": str(file)}
    assert load(Server, environ=variables).redis_url == "redis://:of-a@a/0"
    assert load(LogWorker, environ=variables).redis_url == "redis://b/0"


@pytest.mark.parametrize(
    ("content", "said"), [(None, "No such file"), ("", "is empty"), ("\n", "is empty")]
)
def test_a_file_that_is_no_secret_is_told(tmp_path: Path, content: str | None, said: str) -> None:
    file = tmp_path / "password"
    if content is not None:
        file.write_text(content)
    with pytest.raises(ConfigError, match=f"SECKILL_SASL_PASSWORD_FILE: {file}.*{said}"):
        load(Server, environ=environ(tmp_path, SECKILL_SASL_PASSWORD_FILE=str(file)))


def test_a_secret_and_a_file_are_one_too_many(tmp_path: Path) -> None:
    both = environ(tmp_path, SECKILL_SASL_PASSWORD="hunter2", SECKILL_SASL_PASSWORD_FILE="/x")
    with pytest.raises(ConfigError, match="are both set") as told:
        load(Server, environ=both)
    assert "hunter2" not in str(told.value)


def test_secrets_of_no_section(tmp_path: Path) -> None:
    file = tmp_path / "key"
    file.write_text("the key")
    assert secret("SECRET_KEY", {"SECKILL_SECRET_KEY_FILE": str(file)}) == "the key"
    assert secret("SECRET_KEY", {"SECKILL_SECRET_KEY": "plain"}) == "plain"
    assert secret("SECRET_KEY", {}) == ""
    assert "SECKILL_TICKET_SECRET" in secret_variables()
    assert "SECKILL_BROKERS" not in secret_variables()


def test_the_users_of_the_embedded_kafka_are_for_no_other_one(tmp_path: Path) -> None:
    known = {
        "brokers": "127.0.0.1:1",
        "redis_url": "redis://h/0",
        "pg_dsn": "postgresql://u@h/d",
        "security_protocol": "SASL_SSL",
        "sasl_mechanism": "SCRAM-SHA-512",
        "sasl_username": "devstack",
        "sasl_password": "hunter2",
        "ssl_cafile": "/ca",
    }
    (tmp_path / "addresses.json").write_text(json.dumps(known))
    assert load(Server, environ=environ(tmp_path)).sasl_username == "devstack"
    other = load(Server, environ=environ(tmp_path, SECKILL_BROKERS="kafka:9092"))
    assert (other.security_protocol, other.sasl_username) == ("PLAINTEXT", None)

"""Whether the services are fit to carry a sale, asked once at the start of a worker."""

from collections.abc import Iterator

import pytest
import redis

from devstack.endpoints import Endpoints
from seckill.lane.keys import Lane
from seckill.monitoring.fitness import Unfit, _check_version, check_redis
from tests.conftest import Manage

LANE = Lane()


@pytest.fixture
def redis_client(redis_client: "redis.Redis") -> "redis.Redis":
    """As the services are: tests without commands do not wait for its disk."""
    redis_client.config_set("appendfsync", "always")
    return redis_client


@pytest.fixture
def policy(redis_client: "redis.Redis") -> Iterator[None]:
    """A Redis that evicts keys when it is full."""
    redis_client.config_set("maxmemory-policy", "allkeys-lru")
    yield
    redis_client.config_set("maxmemory-policy", "noeviction")


def test_the_services_of_the_suite_are_fit(redis_client: "redis.Redis") -> None:
    said: list[str] = []
    check_redis(redis_client, LANE, said.append)
    assert said == []


def test_a_policy_that_evicts_is_refused_at_the_start(
    policy: None, redis_client: "redis.Redis", manage: Manage, kafka_topic: str, pg_dsn: str
) -> None:
    with pytest.raises(Unfit, match=r"allkeys-lru.*noeviction"):
        check_redis(redis_client, LANE, print)
    for command in (("run_consumer", "--topic", kafka_topic), ("run_log_worker",)):
        started = manage(*command)
        said, _ = started.communicate(timeout=120)
        assert started.returncode == 2
        assert "evicts keys" in said
        assert "Traceback" not in said


@pytest.mark.parametrize(
    ("setting", "value", "usual", "words"),
    [
        ("appendfsync", "everysec", "always", "last second of decisions"),
        ("appendonly", "no", "yes", "keeps no append-only file"),
    ],
)
def test_what_makes_the_promise_weaker_is_told(
    redis_client: "redis.Redis", setting: str, value: str, usual: str, words: str
) -> None:
    said: list[str] = []
    redis_client.config_set(setting, value)
    try:
        check_redis(redis_client, LANE, said.append)
    finally:
        redis_client.config_set(setting, usual)
    assert len(said) == 1
    assert words in said[0]


def test_who_may_not_ask_for_the_configuration_is_told_so(
    redis_client: "redis.Redis", stack: Endpoints
) -> None:
    rights = ("~*", "&*", "+@all", "-config")
    redis_client.execute_command("ACL", "SETUSER", "narrow", "reset", "on", ">pw", *rights)
    options = redis_client.get_connection_kwargs()
    narrow = redis.Redis(
        host=options["host"], port=options["port"], username="narrow", password="pw"
    )
    said: list[str] = []
    check_redis(narrow, LANE, said.append)
    assert "it is unknown" in said[0]
    redis_client.execute_command("ACL", "SETUSER", "narrow", "-rename", "-lpush")
    with pytest.raises(Unfit, match=r"LPUSH \(seckill:logs\)|RENAME"):
        check_redis(narrow, LANE, said.append)
    narrow.close()
    redis_client.execute_command("ACL", "DELUSER", "narrow")


@pytest.mark.parametrize(
    ("server", "fit"),
    [
        ({"redis_version": "7.0.15"}, True),
        ({"redis_version": "6.2.14"}, False),
        ({"redis_version": "7.2.4", "valkey_version": "7.2.5"}, True),
        ({"redis_version": "7.2.4", "valkey_version": "9.1.2"}, True),
        ({"redis_version": "8.0.0"}, True),
    ],
)
def test_versions(server: dict[str, str], fit: bool) -> None:
    if fit:
        _check_version(server)
    else:
        with pytest.raises(Unfit, match="too old"):
            _check_version(server)

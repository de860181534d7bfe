"""Addresses of a Redis that is more than one server."""

import pytest
from redis.connection import SSLConnection

from seckill.config.addresses import check_redis_url
from seckill.formats.redis_address import for_key, several


def test_one_server_is_left_to_the_library() -> None:
    for url in ("redis://:secret@redis:6379/1", "rediss://redis", "unix:///run/valkey.sock"):
        assert several(check_redis_url(url)) is None


def test_a_cluster() -> None:
    found = several(
        check_redis_url("redis+cluster://seckill:p%40ss@a:7000,b,[::1]:7002?socket_keepalive=1")
    )
    assert found is not None
    assert found.kind == "cluster"
    assert found.nodes == (("a", 7000), ("b", 6379), ("::1", 7002))
    # The nodes are asked as the same user.
    assert found.asking == {"username": "seckill", "password": "p@ss"}
    assert found.options == {**found.asking, "socket_keepalive": True}


def test_the_server_of_a_lane() -> None:
    """In a cluster each lane's list has a slot of its own; elsewhere one server has all."""
    url = for_key("redis+cluster://a,b?socket_keepalive=1", "seckill:logs:north")
    found = several(check_redis_url(url))
    assert found is not None
    assert found.master == "seckill:logs:north"
    assert found.options == {"socket_keepalive": True}
    assert for_key("redis://a/1", "seckill:logs:north") == "redis://a/1"


def test_a_master_behind_sentinels() -> None:
    found = several(
        check_redis_url(
            "rediss+sentinel://seckill:p%40ss@a:1,b/sale/2"
            "?ssl_ca_certs=/ca.pem&sentinel_username=watch&sentinel_password=other"
        )
    )
    assert found is not None
    assert (found.kind, found.master) == ("sentinel", "sale")
    assert found.nodes == (("a", 1), ("b", 26379))
    assert found.asking == {"username": "watch", "password": "other"}
    assert found.options == {
        "username": "seckill",
        "password": "p@ss",
        "db": 2,
        "ssl_ca_certs": "/ca.pem",
        "connection_class": SSLConnection,
    }


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("redis+sentinel://secret@a:1", "must name the master"),
        ("redis+cluster://:secret@a:1/3", "a cluster has no databases"),
        ("redis+cluster://:secret@/", "must name its hosts"),
        ("redis+cluster://:secret@a:1,,b", "must name its hosts"),
        ("redis+cluster://:secret@a:one", "cannot be read"),
        ("redis+cluster://:secret#a:1", "cannot be read"),
        ("unix+cluster://:secret@a", "must begin with"),
        ("redis+two://:secret@a", "must begin with"),
    ],
)
def test_what_is_missing_is_named_and_no_secret_is(url: str, says: str) -> None:
    with pytest.raises(ValueError, match=says) as refused:
        check_redis_url(url)
    assert "secret" not in str(refused.value)

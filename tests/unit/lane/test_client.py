"""What Redis' errors mean: away, or it refuses us until a person mends something."""

import pytest

from seckill.errors import RedisAway, RedisRefuses
from seckill.lane.client import connect, ping
from tests.helpers.tls_server import unsigned_server


def test_a_certificate_that_nobody_signed_is_a_refusal() -> None:
    refused = pytest.raises(RedisRefuses, match="certificate verify failed")
    with unsigned_server() as address, connect(f"rediss://{address}/0") as client, refused:
        ping(client)


def test_a_ca_file_that_is_not_there_is_a_refusal() -> None:
    refused = pytest.raises(RedisRefuses, match="certificate's file")
    with unsigned_server() as address:
        client = connect(f"rediss://{address}/0?ssl_ca_certs=/not/there.pem")
        with client, refused:
            ping(client)


@pytest.mark.parametrize("address", ["redis://127.0.0.1:1/0", "unix:///not/there.sock"])
def test_nobody_at_the_address_is_away(address: str) -> None:
    with connect(address) as client, pytest.raises(RedisAway) as found:
        ping(client)
    assert type(found.value) is RedisAway

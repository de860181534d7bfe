"""What somebody without a network, or behind a proxy, is told."""

import pytest
import requests

from devstack.bootstrap import unreachable
from devstack.jars import _unfetched

REFUSED = (
    "HTTPSConnectionPool(host='x', port=443): Max retries exceeded with url: /a.jar (Caused by "
    "ProxyError('Unable to connect', NewConnectionError(\"x: [Errno 111] Connection refused\")))"
)


@pytest.mark.parametrize("kind", [requests.ConnectionError, requests.exceptions.ProxyError])
def test_jars_that_nobody_sends(kind: type[Exception]) -> None:
    told = _unfetched(kind(REFUSED))
    assert told.startswith("no network or no proxy: Kafka's jars could not be fetched")
    assert "([Errno 111] Connection refused)" in told
    assert "\n" not in told


def test_an_answer_that_is_no_jar_is_not_the_network() -> None:
    told = _unfetched(requests.HTTPError("404 Client Error: Not Found"))
    assert told.startswith("Kafka's jars could not be fetched (404 Client Error: Not Found)")


@pytest.mark.parametrize(
    ("output", "expected"),
    [
        ("WARNING: Retrying after connection broken by 'NewConnectionError(...)'", True),
        ("ERROR: Could not find a version (from versions: none)", True),
        ("ERROR: THESE PACKAGES DO NOT MATCH THE HASHES", False),
    ],
)
def test_a_package_index_that_is_not_reached(output: str, expected: bool) -> None:
    assert unreachable(output) is expected

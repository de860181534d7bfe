"""OAUTHBEARER with a real broker: tokens of an issuer, and of a file that somebody renews."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from devstack.stack import Stack
from seckill.broker.opening import open_consumer, open_producer
from seckill.broker.topics import Topics
from seckill.config.layers import load
from seckill.config.sections import DEFAULT_TOPIC, Server
from seckill.errors import BrokerAway, BrokerRefuses
from tests.conftest import wait_until
from tests.helpers.issuer import CLIENT, CLIENT_SECRET, Issuer, unsigned
from tests.helpers.secured import SecuredSale, inside_of

pytestmark = pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning")


@pytest.fixture
def issuer() -> Iterator[Issuer]:
    """Its tokens are those of the consumer."""
    issuer = Issuer("consumer")
    yield issuer
    issuer.close()


@pytest.fixture
def section(secured: SecuredSale, secured_stack: Stack, kafka_client: str) -> Server:
    """Kafka with a token, which is still to be named. The topic is there."""
    with Topics(inside_of(secured_stack), 30) as topics:
        topics.ensure(DEFAULT_TOPIC)
    known = load(Server, environ=secured.environment("run_consumer"))
    return known.model_copy(
        update={
            "kafka_client": kafka_client,
            "sasl_mechanism": "OAUTHBEARER",
            "sasl_username": None,
            "sasl_password": None,
        }
    )


def test_tokens_of_an_issuer(section: Server, issuer: Issuer) -> None:
    known = section.model_copy(
        update={
            "oauth_token_url": issuer.url,
            "oauth_client_id": CLIENT,
            "oauth_client_secret": CLIENT_SECRET,
        }
    )
    with Topics(known, 30) as topics:
        assert topics.partitions(DEFAULT_TOPIC)
    consumer = open_consumer(known)

    def assigned() -> bool:
        consumer.poll(0.5, 1)
        return bool(consumer.assignments()[1])

    wait_until(assigned, 30, "a member with a token")
    consumer.close()
    assert issuer.asked >= 2
    wrong = known.model_copy(update={"oauth_client_secret": "wrong"})
    with pytest.raises(BrokerRefuses, match=r"oauth_token_url: .* answers 401"):
        Topics(wrong, 3)
    with pytest.raises(BrokerRefuses, match=r"oauth_token_url: .* answers 401"):
        open_producer(wrong, DEFAULT_TOPIC)
    gone = known.model_copy(update={"oauth_token_url": "http://127.0.0.1:1/token"})
    with pytest.raises(BrokerAway, match=r"oauth_token_url: .*refused") as away:
        open_producer(gone, DEFAULT_TOPIC)
    assert not isinstance(away.value, BrokerRefuses)


def test_tokens_of_a_file(section: Server, tmp_path: Path) -> None:
    file = tmp_path / "token"
    known = section.model_copy(update={"oauth_token_file": str(file)})
    with pytest.raises(BrokerRefuses, match=r"oauth_token_file: .*token cannot be read"):
        open_producer(known, DEFAULT_TOPIC)
    file.write_text(unsigned("loadgen"))
    producer = open_producer(known, DEFAULT_TOPIC)
    producer.send(b"{}")
    assert producer.flush(30) == 0
    assert producer.delivered == 1
    producer.close()
    # Somebody renewed it, for another user.
    file.write_text(unsigned("settler"))
    producer = open_producer(known, DEFAULT_TOPIC)
    producer.send(b"{}")
    assert producer.flush(30) == 0
    assert "lacks WRITE" in producer.last_error
    producer.close()

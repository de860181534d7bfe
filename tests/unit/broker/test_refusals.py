"""What errors of the Kafka libraries mean: Kafka is away, or it refuses us."""

import gc
import ssl
from collections.abc import Iterator

import pytest
from confluent_kafka import KafkaError, KafkaException
from kafka import errors

from seckill.broker.opening import open_producer
from seckill.broker.refusals import judged
from seckill.broker.topics import Topics
from seckill.config.sections import Server
from seckill.errors import BrokerAway, BrokerRefuses
from tests.helpers.tls_server import unsigned_server


@pytest.mark.parametrize(
    "error",
    [
        errors.TopicAuthorizationFailedError(),
        errors.GroupAuthorizationFailedError(),
        errors.SaslAuthenticationFailedError(),
        KafkaError(KafkaError.TOPIC_AUTHORIZATION_FAILED),
        KafkaException(KafkaError(KafkaError._AUTHENTICATION)),
        KafkaException(KafkaError(KafkaError._SSL)),
    ],
)
def test_a_right_a_password_or_a_certificate_is_a_refusal(error: Exception) -> None:
    found = judged(error, "topic x")
    assert type(found) is BrokerRefuses
    assert str(found).startswith("Kafka refuses: topic x: ")


@pytest.mark.parametrize(
    "error",
    [
        errors.KafkaTimeoutError("no answer"),
        errors.NotCoordinatorError(),
        KafkaException(KafkaError(KafkaError._TRANSPORT)),
        # 29 and 30 are numbers of the system here, not of Kafka.
        OSError(29, "Illegal seek"),
        OSError(30, "Read-only file system"),
    ],
)
def test_all_others_mean_away(error: Exception) -> None:
    assert type(judged(error)) is BrokerAway


@pytest.fixture
def _closed() -> Iterator[None]:
    """kafka-python leaves the sockets of a handshake that failed to the garbage collector."""
    yield
    for one in gc.get_objects():
        if type(one) is ssl.SSLSocket:
            one.close()


@pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning")
@pytest.mark.usefixtures("_closed")
@pytest.mark.parametrize("client", ["kafka-python", "confluent-kafka"])
def test_a_certificate_that_nobody_signed_is_a_refusal(client: str) -> None:
    with unsigned_server() as address:
        server = Server(brokers=address, security_protocol="SSL", kafka_client=client)
        for open_it in (lambda: Topics(server, 1.0), lambda: open_producer(server, "x")):
            with pytest.raises(BrokerRefuses, match="certificate verify failed"):
                open_it()


def test_a_ca_file_that_is_not_there_is_a_refusal() -> None:
    server = Server(brokers="127.0.0.1:1", security_protocol="SSL", ssl_cafile="/not/there.pem")
    with pytest.raises(BrokerRefuses, match=r"ssl_cafile: /not/there\.pem cannot"):
        Topics(server, 1.0)

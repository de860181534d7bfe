"""The addresses and credentials of a section as options of each Kafka library."""

from functools import partial
from typing import Any

from seckill.broker.oauth import Provider, token_and_end
from seckill.broker.sockets import CLOSING
from seckill.config.sections import KafkaSection


def kafka_python_options(section: KafkaSection) -> dict[str, Any]:
    """Options for every client class of kafka-python."""
    oauth = section.sasl_mechanism == "OAUTHBEARER"
    return {
        "bootstrap_servers": section.brokers.split(","),
        "security_protocol": section.security_protocol,
        "sasl_mechanism": section.sasl_mechanism,
        "sasl_plain_username": section.sasl_username,
        "sasl_plain_password": section.sasl_password,
        "sasl_oauth_token_provider": Provider(section) if oauth else None,
        "ssl_cafile": section.ssl_cafile,
        "ssl_certfile": section.ssl_certfile,
        "ssl_keyfile": section.ssl_keyfile,
        "ssl_password": section.ssl_key_password,
        "proxy_url": CLOSING,
    }


def confluent_options(section: KafkaSection) -> dict[str, Any]:
    """The same for confluent-kafka, which does not accept unset options."""
    oauth = section.sasl_mechanism == "OAUTHBEARER"
    options: dict[str, Any] = {
        "bootstrap.servers": section.brokers,
        "security.protocol": section.security_protocol,
        "sasl.mechanism": section.sasl_mechanism,
        "sasl.username": section.sasl_username,
        "sasl.password": section.sasl_password,
        "oauth_cb": partial(token_and_end, section) if oauth else None,
        "ssl.ca.location": section.ssl_cafile,
        "ssl.certificate.location": section.ssl_certfile,
        "ssl.key.location": section.ssl_keyfile or section.ssl_certfile,
        "ssl.key.password": section.ssl_key_password,
        "client.rack": section.client_rack,
    }
    return {key: value for key, value in options.items() if value is not None}

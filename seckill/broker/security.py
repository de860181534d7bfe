"""The addresses and credentials of a section as options of each Kafka library."""

from typing import Any

from seckill.broker.sockets import CLOSING
from seckill.config.sections import KafkaSection


def kafka_python_options(section: KafkaSection) -> dict[str, Any]:
    """Options for every client class of kafka-python."""
    return {
        "bootstrap_servers": section.brokers.split(","),
        "security_protocol": section.security_protocol,
        "sasl_mechanism": section.sasl_mechanism,
        "sasl_plain_username": section.sasl_username,
        "sasl_plain_password": section.sasl_password,
        "ssl_cafile": section.ssl_cafile,
        "proxy_url": CLOSING,
    }


def confluent_options(section: KafkaSection) -> dict[str, Any]:
    """The same for confluent-kafka, which does not accept unset options."""
    options: dict[str, Any] = {
        "bootstrap.servers": section.brokers,
        "security.protocol": section.security_protocol,
        "sasl.mechanism": section.sasl_mechanism,
        "sasl.username": section.sasl_username,
        "sasl.password": section.sasl_password,
        "ssl.ca.location": section.ssl_cafile,
    }
    return {key: value for key, value in options.items() if value is not None}

"""Why a client could not be opened: nobody is there, or something that a person must mend.

Neither library says it when it opens. So the files are looked at, librdkafka is asked once more,
and a port that is asked in plain text is asked whether it speaks TLS.
"""

import logging
import socket
import ssl
from pathlib import Path
from typing import Any

from confluent_kafka import KafkaError, KafkaException
from confluent_kafka.admin import AdminClient

from seckill.broker.oauth import NoToken, token_and_end
from seckill.broker.refusals import judged, reason_of, refuses
from seckill.broker.security import confluent_options
from seckill.config.sections import KafkaSection
from seckill.errors import BrokerAway, BrokerRefuses

log = logging.getLogger(__name__)

# Seconds for the question why a client could not be opened.
ASK_S = 3.0
FILES = ("ssl_cafile", "ssl_certfile", "ssl_keyfile", "oauth_token_file")


def unopened(section: KafkaSection, error: object) -> BrokerAway:
    """BrokerRefuses or BrokerAway. May take ASK_S."""
    why = _unread(section)
    if why:
        return BrokerRefuses(why)
    if section.sasl_mechanism == "OAUTHBEARER":
        try:
            token_and_end(section)
        except NoToken as none:
            return BrokerRefuses(str(none)) if none.refused else BrokerAway(str(none))
    found = judged(error, section.brokers)
    if isinstance(found, BrokerRefuses):
        return found
    plain = section.security_protocol in ("PLAINTEXT", "SASL_PLAINTEXT")
    why = _is_tls(section.brokers) if plain else ""
    if not why and section.security_protocol != "PLAINTEXT":
        why = _why_refused(section)
    return BrokerRefuses(f"{section.brokers}: {why}") if why else found


def _unread(section: KafkaSection) -> str:
    """Which file of the configuration cannot be read; "" if all can."""
    for name in FILES:
        file = getattr(section, name)
        if file is None:
            continue
        try:
            Path(file).open("rb").close()
        except OSError as wrong:
            return f"{name}: {file} cannot be read: {wrong.strerror}"
    return ""


def _is_tls(brokers: str) -> str:
    """That one of the brokers speaks TLS; "" if none does, or nobody answers."""
    context = ssl.create_default_context()
    # Only asked whether it speaks TLS at all: nothing is sent to it.
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    for broker in brokers.split(","):
        host, _, port = broker.rpartition(":")
        try:
            with socket.create_connection((host.strip("[]"), int(port)), ASK_S) as line:
                context.wrap_socket(line).close()
        except (OSError, ValueError):
            continue
        return f"{broker} speaks TLS: set security_protocol to SSL or SASL_SSL"
    return ""


def _why_refused(section: KafkaSection) -> str:
    """What stands against a connection; "" if nothing does, or nobody answers."""
    heard: list[KafkaError] = []
    options: dict[str, Any] = {
        **confluent_options(section),
        "client.id": "seckill-why",
        "error_cb": heard.append,
        "log_level": 0,
    }
    try:
        admin = AdminClient(options, logger=log)
    except KafkaException as wrong:
        # The options themselves.
        return reason_of(wrong)
    try:
        admin.list_topics(timeout=ASK_S)
    except KafkaException as wrong:
        heard.append(wrong.args[0])
    admin.poll(0)
    return next((reason_of(each) for each in heard if refuses(each)), "")

"""What an error of a Kafka library means: Kafka is away, or it answers and refuses.

Owns the mapping of both libraries' errors to ours. A right, a password or a certificate must be
mended by a person; neither library says so when it opens, so librdkafka is asked once more.
"""

import logging
from typing import Any

from confluent_kafka import KafkaError, KafkaException
from confluent_kafka.admin import AdminClient

from seckill.broker.security import confluent_options
from seckill.config.sections import KafkaSection
from seckill.errors import BrokerAway, BrokerRefuses

log = logging.getLogger(__name__)

# Both libraries use Kafka's own numbers; librdkafka's own codes are negative.
REFUSALS = {
    KafkaError._SSL,
    KafkaError._AUTHENTICATION,
    KafkaError.TOPIC_AUTHORIZATION_FAILED,
    KafkaError.GROUP_AUTHORIZATION_FAILED,
    KafkaError.CLUSTER_AUTHORIZATION_FAILED,
    KafkaError.TRANSACTIONAL_ID_AUTHORIZATION_FAILED,
    KafkaError.SASL_AUTHENTICATION_FAILED,
    KafkaError.UNSUPPORTED_SASL_MECHANISM,
    KafkaError.ILLEGAL_SASL_STATE,
}
# Seconds for the question why a client could not be opened.
ASK_S = 3.0


def judged(error: object, place: str = "") -> BrokerAway:
    """BrokerRefuses or BrokerAway, from an error of either library. `place` comes before why."""
    why = f"{place}: {reason_of(error)}" if place else reason_of(error)
    return BrokerRefuses(why) if _code_of(error) in REFUSALS else BrokerAway(why)


def unopened(section: KafkaSection, error: object) -> BrokerAway:
    """The same for a client that could not be opened. May take ASK_S if Kafka is secured."""
    found = judged(error, section.brokers)
    if section.security_protocol == "PLAINTEXT" or isinstance(found, BrokerRefuses):
        return found
    why = _why_refused(section)
    return BrokerRefuses(f"{section.brokers}: {why}") if why else found


def reason_of(error: object) -> str:
    """An error in words, in one line, without librdkafka's code."""
    inner = _inner(error)
    text = str(inner.str()) if isinstance(inner, KafkaError) else str(inner)
    return " ".join(text.split()) or type(inner).__name__


def _inner(error: object) -> object:
    return error.args[0] if isinstance(error, KafkaException) and error.args else error


def _code_of(error: object) -> int | None:
    inner = _inner(error)
    if isinstance(inner, KafkaError):
        return int(inner.code())
    code = getattr(inner, "errno", None)
    # An OSError has a number too, of another kind.
    return code if isinstance(code, int) and not isinstance(inner, OSError) else None


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
        # The options themselves, as a CA file that is not there.
        return reason_of(wrong)
    try:
        admin.list_topics(timeout=ASK_S)
    except KafkaException as wrong:
        heard.append(wrong.args[0])
    admin.poll(0)
    return next((reason_of(each) for each in heard if each.code() in REFUSALS), "")

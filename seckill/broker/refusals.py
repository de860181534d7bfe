"""What an error of a Kafka library means: Kafka is away, or it answers and refuses.

Owns the mapping of both libraries' errors to ours. A right, a password or a certificate must be
mended by a person. A right is told by its name: Kafka says on what it was missed at most.
"""

from typing import NamedTuple

from confluent_kafka import KafkaError, KafkaException

from seckill.errors import BrokerAway, BrokerRefuses

# Rights that are missed. Both libraries use Kafka's own numbers; librdkafka's own are negative.
TOPIC, GROUP = KafkaError.TOPIC_AUTHORIZATION_FAILED, KafkaError.GROUP_AUTHORIZATION_FAILED
REFUSALS = {
    TOPIC,
    GROUP,
    KafkaError._SSL,
    KafkaError._AUTHENTICATION,
    KafkaError.CLUSTER_AUTHORIZATION_FAILED,
    KafkaError.TRANSACTIONAL_ID_AUTHORIZATION_FAILED,
    KafkaError.SASL_AUTHENTICATION_FAILED,
    KafkaError.UNSUPPORTED_SASL_MECHANISM,
    KafkaError.ILLEGAL_SASL_STATE,
}


class Needs(NamedTuple):
    """The right that a call needs on a topic, and the one on a group if there is one."""

    verb: str
    topic: str
    group: str = ""
    group_verb: str = "READ"

    def lacking(self, error: object) -> str:
        """Which right the error says is missing; "" if it says nothing of rights."""
        code = _code_of(error)
        if code == TOPIC:
            return f"this user lacks {self.verb} on topic {self.topic}"
        if code == GROUP and self.group:
            return f"this user lacks {self.group_verb} on group {self.group}"
        return ""


def judged(error: object, place: str = "", needs: Needs | None = None) -> BrokerAway:
    """BrokerRefuses or BrokerAway, from an error of either library. `place` comes before why."""
    why = reason_of(error, needs)
    why = f"{place}: {why}" if place else why
    return BrokerRefuses(why) if refuses(error) else BrokerAway(why)


def refuses(error: object) -> bool:
    """Whether Kafka answers and refuses, until a person has mended it."""
    return _code_of(error) in REFUSALS


def reason_of(error: object, needs: Needs | None = None) -> str:
    """An error in words, in one line, without librdkafka's code; a right by its name."""
    lacking = needs.lacking(error) if needs else ""
    if lacking:
        return lacking
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

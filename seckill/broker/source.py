"""Which topic this is now (its id). Asked for each group of messages, so it must be cheap.

On confluent-kafka it costs less than half: kafka-python's network thread competes with the consumer
for the interpreter.
"""

import logging
from base64 import urlsafe_b64decode
from typing import Protocol
from uuid import UUID

from confluent_kafka import KafkaError, KafkaException, TopicCollection
from confluent_kafka.admin import AdminClient

from seckill.broker.refusals import Needs, judged
from seckill.broker.security import confluent_options
from seckill.broker.topics import Topics
from seckill.config.sections import KafkaSection
from seckill.errors import BrokerAway

log = logging.getLogger(__name__)

# Seconds to wait for an answer.
ASK_S = 5.0


class Source(Protocol):
    """Looks up topic ids. Not thread-safe."""

    def source(self, topic: str) -> str | None:
        """The topic's id, as in `Topics.source`; None if there is no topic. Raises BrokerAway."""

    def close(self) -> None:
        """Close the connections."""


class ConfluentSource:
    """`Source` on confluent-kafka."""

    def __init__(self, section: KafkaSection) -> None:
        self._options = {
            "client.id": "seckill-source",
            "log_level": 2,
            **confluent_options(section),
        }
        self._admin = self._open()

    def _open(self) -> AdminClient:
        return AdminClient(self._options, logger=log)

    def source(self, topic: str) -> str | None:
        """See `Source`."""
        asked = self._admin.describe_topics(TopicCollection([topic]), request_timeout=ASK_S)
        try:
            # The library may forget a question, whatever timeout it was given: two doors and a
            # consumer waited for ever after a busy machine's broker had been fenced for a moment.
            described = asked[topic].result(2 * ASK_S)
        except TimeoutError:
            self._admin = self._open()
            raise BrokerAway("Kafka was asked for a topic's id and gave no answer") from None
        except KafkaException as wrong:
            if wrong.args[0].code() == KafkaError.UNKNOWN_TOPIC_OR_PART:
                return None
            raise judged(wrong, needs=Needs("DESCRIBE", topic)) from None
        return str(UUID(bytes=urlsafe_b64decode(f"{described.topic_id}==")))

    def close(self) -> None:
        """See `Source`. The library closes its connections when the object is freed."""


def open_source(section: KafkaSection) -> Source:
    """A `Source` on the client of the configuration. Raises BrokerAway."""
    if section.kafka_client == "confluent-kafka":
        return ConfluentSource(section)
    return Topics(section)

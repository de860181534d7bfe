"""Which topic this is now (its id). Asked for each group of messages, so it must be cheap.

On confluent-kafka it costs less than half: kafka-python's network thread competes with the consumer
for the interpreter. But librdkafka asks the controller alone, as the last metadata named it. A dead
one is named until Kafka has given it up, and each question waits for it in vain. So after the first
one without an answer kafka-python asks for a while, which takes any broker that lives.
"""

import logging
import time
from base64 import urlsafe_b64decode
from typing import Protocol
from uuid import UUID

from confluent_kafka import KafkaError, KafkaException, TopicCollection
from confluent_kafka.admin import AdminClient

from seckill.broker.refusals import Needs, judged
from seckill.broker.security import confluent_options
from seckill.broker.topics import Topics
from seckill.config.sections import KafkaSection
from seckill.errors import BrokerAway, BrokerRefuses

log = logging.getLogger(__name__)

# Seconds to wait for an answer, which takes a few milliseconds where the controller lives.
ASK_S = 1.5
# Seconds for which the other client asks after that: as long as Kafka takes to give a broker up.
INSTEAD_S = 10.0


class Source(Protocol):
    """Looks up topic ids. Not thread-safe."""

    def source(self, topic: str) -> str | None:
        """The topic's id, as in `Topics.source`; None if there is no topic. Raises BrokerAway."""

    def close(self) -> None:
        """Close the connections."""


class ConfluentSource:
    """`Source` on confluent-kafka, and on kafka-python while that has no answer."""

    def __init__(self, section: KafkaSection) -> None:
        self._section = section
        self._instead: Topics | None = None
        self._instead_until = 0.0
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
        if self._instead is None:
            try:
                return self._of_controller(topic)
            except BrokerRefuses:
                raise
            except BrokerAway:
                self._admin = self._open()
                self._instead = Topics(self._section)
                self._instead_until = time.monotonic() + INSTEAD_S
        try:
            return self._instead.source(topic)
        except BrokerAway:
            self.close()
            raise
        finally:
            if time.monotonic() > self._instead_until:
                self.close()

    def _of_controller(self, topic: str) -> str | None:
        asked = self._admin.describe_topics(TopicCollection([topic]), request_timeout=ASK_S)
        try:
            # The library may forget a question, whatever timeout it was given: two doors and a
            # consumer waited for ever after a busy machine's broker had been fenced for a moment.
            described = asked[topic].result(2 * ASK_S)
        except TimeoutError:
            raise BrokerAway("Kafka was asked for a topic's id and gave no answer") from None
        except KafkaException as wrong:
            if wrong.args[0].code() == KafkaError.UNKNOWN_TOPIC_OR_PART:
                return None
            raise judged(wrong, needs=Needs("DESCRIBE", topic)) from None
        return str(UUID(bytes=urlsafe_b64decode(f"{described.topic_id}==")))

    def close(self) -> None:
        """See `Source`. librdkafka closes its connections when the object is freed."""
        if self._instead is not None:
            self._instead.close()
        self._instead = None


def open_source(section: KafkaSection) -> Source:
    """A `Source` on the client of the configuration. Raises BrokerAway."""
    if section.kafka_client == "confluent-kafka":
        return ConfluentSource(section)
    return Topics(section)

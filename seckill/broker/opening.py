"""Opens the Kafka client that the configuration chooses: consumer, producer, outbox."""

from collections.abc import Callable

from seckill.broker import Consumer
from seckill.broker.confluent import ConfluentConsumer
from seckill.broker.kafka_python import KafkaPythonConsumer
from seckill.broker.outbox import Outbox
from seckill.broker.outbox_confluent import ConfluentOutbox
from seckill.broker.outbox_kafka_python import KafkaPythonOutbox
from seckill.broker.producer import Producer
from seckill.broker.producer_confluent import ConfluentProducer
from seckill.broker.producer_kafka_python import KafkaPythonProducer
from seckill.config.sections import ConsumerSection, KafkaSection


def open_consumer(server: ConsumerSection, assigned: Callable[[], None] = lambda: None) -> Consumer:
    """A consumer of `server.topic` in group `server.group_id`. Raises BrokerAway.

    `assigned` is called before anything is fetched, by the client that can raise CannotUnpack.
    """
    if server.kafka_client == "confluent-kafka":
        return ConfluentConsumer(server, assigned)
    return KafkaPythonConsumer(server)


def open_producer(
    settings: KafkaSection,
    topic: str,
    *,
    linger_ms: int = 5,
    max_in_flight: int = 20_000,
) -> Producer:
    """A producer that has seen the topic. Raises BrokerAway after CONNECT_S, never later.

    `max_in_flight` limits the memory: unacknowledged records, each of at most 4 KB.
    """
    if settings.kafka_client == "confluent-kafka":
        return ConfluentProducer(settings, topic, linger_ms, max_in_flight)
    return KafkaPythonProducer(settings, topic, linger_ms, max_in_flight)


def open_outbox(settings: KafkaSection, topic: str) -> Outbox:
    """An outbox that has seen the topic. Raises BrokerAway after CONNECT_S."""
    if settings.kafka_client == "confluent-kafka":
        return ConfluentOutbox(settings, topic)
    return KafkaPythonOutbox(settings, topic)

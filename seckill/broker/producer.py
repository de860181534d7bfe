"""Sending to Kafka, behind one narrow interface. Owns what the project may ask of a producer.

Two clients fulfil it, chosen by `kafka_client`; both pass the same tests. Each waits for all
replicas, numbers its records so that a retry writes nothing twice, and compresses with lz4. The
library is imported when it is chosen, never before.
"""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from seckill_project.config import KafkaSection

# Seconds for the first contact: whoever wants to wait longer opens again.
CONNECT_S = 5.0
# Milliseconds, 24 days: a record does not expire, it waits until Kafka is back or the producer is
# closed. An idempotent producer of kafka-python 3.0 that lets one expire never sends again: it
# drops its producer id and asks for no new one.
NEVER_MS = 2**31 - 1
REQUEST_TIMEOUT_MS = 15_000
# Seconds that `send` waits for room before it gives a record up.
ROOM_S = 120.0
# Bytes of a record for each place it takes among the records in flight: a long one takes several.
PLACE_BYTES = 4096
# The longest record, as in Kafka's own default.
MAX_RECORD_BYTES = 1024 * 1024
BATCH_BYTES = 64 * 1024
RECONNECT_BACKOFF_MAX_MS = 1_000
# Seconds between two looks at the acknowledgements while waiting for them.
LOOK_S = 0.02
NO_ROOM = "too many records wait for an acknowledgement"
CLOSED = "given up when the producer was closed: Kafka may or may not have them"

Done = Callable[[str], None]


class Producer(Protocol):
    """Sends records to one topic. For one thread; every record ends as delivered or as failed."""

    @property
    def delivered(self) -> int:
        """Records that Kafka has acknowledged."""

    @property
    def failed(self) -> int:
        """Records that were given up."""

    @property
    def last_error(self) -> str:
        """Why the last one was given up, or what is wrong with the connection; empty: nothing."""

    def send(
        self,
        value: bytes | None,
        headers: Sequence[tuple[str, bytes]] = (),
        done: Done | None = None,
    ) -> None:
        """Take a record over; None is a tombstone. Waits while too many are in flight.

        Raises nothing for a record that cannot be sent: it counts as failed. So does one that
        found no room within ROOM_S: Kafka is away then. Who must not wait asks `room` first.
        `done` is told what became of it, on whatever thread: why it failed, empty if it did not.
        """

    def room(self, timeout_s: float = 0.0) -> int:
        """How many short records can be sent without waiting; waits so long for the first place."""

    def flush(self, timeout_s: float) -> int:
        """Wait until all is acknowledged or given up. The records that are neither, in time.

        Those are still on their way: flush again, do not send them again.
        """

    def close(self) -> None:
        """Give up what is not acknowledged, end the connections. Flush before."""


def open_producer(
    settings: "KafkaSection",
    topic: str,
    *,
    linger_ms: int = 5,
    max_in_flight: int = 20_000,
) -> Producer:
    """A producer that has seen the topic. Raises BrokerAway after CONNECT_S, never later.

    `max_in_flight` bounds the memory: records that are not acknowledged, of 4 KB at most each.
    """
    if settings.kafka_client == "confluent-kafka":
        from seckill.broker.producer_confluent import ConfluentProducer

        return ConfluentProducer(settings, topic, linger_ms, max_in_flight)
    from seckill.broker.producer_kafka_python import KafkaPythonProducer

    return KafkaPythonProducer(settings, topic, linger_ms, max_in_flight)

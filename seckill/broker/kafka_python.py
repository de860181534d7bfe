"""The consumer on kafka-python, the default client.

The library runs network and rebalance listener on its own thread, so the listener never blocks.
"""

from collections.abc import Callable, Mapping

from kafka import KafkaConsumer, TopicPartition
from kafka.consumer.subscription_state import ConsumerRebalanceListener
from kafka.coordinator.assignors.range import RangePartitionAssignor
from kafka.errors import KafkaError
from kafka.structs import OffsetAndMetadata

from seckill import broker
from seckill.broker import Position, Slice
from seckill.broker.refusals import Needs, judged
from seckill.broker.security import kafka_python_options
from seckill.broker.traces import traces_of
from seckill.broker.unopened import unopened
from seckill.broker.unpack import bound
from seckill.config.sections import ConsumerSection
from seckill.errors import BrokerAway

# The library cannot be woken up, so a stop is noticed after this time at the latest.
LONGEST_POLL_S = 0.5
# Age at which metadata of topics and brokers is refreshed.
METADATA_MS = 10_000


class _Listener(ConsumerRebalanceListener):
    """Counts changes of the assignment, and keeps a rejoin going until it has ended."""

    def __init__(self, request_rejoin: Callable[[], None]) -> None:
        self._request_rejoin = request_rejoin
        self.changes = 0

    def on_partitions_revoked(self, revoked: list[TopicPartition]) -> None:
        """A rejoin begins. What was decided but not committed is a duplicate for the next owner.

        When new metadata of the topic is the cause, the library forgets the rejoin if the answer to
        SyncGroup is lost (kafka-python 3.0.12). It would never join again.
        """
        self._request_rejoin()

    def on_partitions_assigned(self, assigned: list[TopicPartition]) -> None:
        """Notify the consumer's own thread."""
        self.changes += 1


class KafkaPythonConsumer:
    """`broker.Consumer` on kafka-python."""

    def __init__(self, server: ConsumerSection) -> None:
        self._topic = server.topic
        self._needs = Needs("READ", server.topic, server.group_id)
        self._traced = server.otlp_endpoint is not None
        try:
            self._consumer = KafkaConsumer(
                group_id=server.group_id,
                group_instance_id=server.group_instance_id,
                client_rack=server.client_rack or "",
                client_id=broker.CLIENT_ID,
                enable_auto_commit=False,
                auto_offset_reset="earliest",
                isolation_level="read_committed",
                allow_auto_create_topics=False,
                partition_assignment_strategy=[RangePartitionAssignor],
                session_timeout_ms=server.session_timeout,
                heartbeat_interval_ms=server.session_timeout // broker.HEARTBEATS_A_SESSION,
                max_poll_interval_ms=broker.max_poll_interval_ms(server),
                max_partition_fetch_bytes=broker.PARTITION_FETCH_BYTES,
                fetch_max_bytes=broker.FETCH_MAX_BYTES,
                reconnect_backoff_max_ms=broker.RECONNECT_BACKOFF_MAX_MS,
                # A topic that was deleted and created again is noticed after this time.
                metadata_max_age_ms=METADATA_MS,
                metrics_enabled=False,
                **kafka_python_options(server),
            )
            self._budget = bound(self._consumer)
            self._listener = _Listener(self._consumer._coordinator.request_rejoin)
            self._consumer.subscribe([server.topic], listener=self._listener)
        except KafkaError as away:
            raise unopened(server, away) from None

    def poll(self, timeout_s: float, max_messages: int) -> list[Slice]:
        """See `broker.Consumer`."""
        timeout_ms = int(min(timeout_s, LONGEST_POLL_S) * 1000)
        self._budget.begin()
        try:
            polled = self._consumer.poll(timeout_ms=timeout_ms, max_records=max_messages)
        except KafkaError as away:
            raise judged(away, needs=self._needs) from None
        return [
            Slice(
                tp.partition,
                [message[0] for message in messages],
                [message[1] for message in messages],
                traces_of((m.offset(), m.headers()) for m in messages) if self._traced else {},
            )
            for tp, messages in polled.items()
        ]

    def committed(self, partition: int) -> Position | None:
        """See `broker.Consumer`."""
        try:
            found = self._consumer.committed(
                TopicPartition(self._topic, partition), metadata=True, timeout_ms=10_000
            )
        except KafkaError as away:
            raise judged(away, needs=self._needs) from None
        if found is None or found.offset < 0:
            return None
        return Position.read(int(found.offset), found.metadata)

    def commit(self, positions: Mapping[int, Position]) -> None:
        """See `broker.Consumer`."""
        if positions:
            self._consumer.commit_async(self._offsets(positions))

    def commit_and_wait(self, positions: Mapping[int, Position], timeout_s: float) -> bool:
        """See `broker.Consumer`."""
        if not positions:
            return True
        try:
            self._consumer.commit(self._offsets(positions), timeout_ms=int(timeout_s * 1000))
        except KafkaError:
            return False
        return True

    def assignments(self) -> tuple[int, frozenset[int]]:
        """See `broker.Consumer`."""
        changes = self._listener.changes
        return changes, frozenset(tp.partition for tp in self._consumer.assignment())

    def pause(self) -> None:
        """See `broker.Consumer`."""
        try:
            self._consumer.pause(*self._consumer.assignment())
        except KeyError as moved:
            raise BrokerAway(f"partition {moved} was just reassigned") from None

    def resume(self) -> None:
        """See `broker.Consumer`."""
        self._consumer.resume(*self._consumer.paused())

    def oldest(self, partition: int) -> int:
        """See `broker.Consumer`."""
        place = TopicPartition(self._topic, partition)
        try:
            found = self._consumer.beginning_offsets([place], timeout_ms=10_000)
        except KafkaError as away:
            raise judged(away, needs=self._needs) from None
        return int(found[place])

    def seek(self, partition: int, offset: int) -> None:
        """See `broker.Consumer`."""
        try:
            self._consumer.seek(TopicPartition(self._topic, partition), offset)
        except (KafkaError, ValueError) as away:
            # ValueError: the partition was just reassigned.
            raise judged(away, needs=self._needs) from None

    def close(self) -> None:
        """See `broker.Consumer`."""
        try:
            self._consumer.close(autocommit=False, timeout_ms=5_000)
        except KafkaError as away:
            raise judged(away, needs=self._needs) from None

    def _offsets(
        self, positions: Mapping[int, Position]
    ) -> dict[TopicPartition, OffsetAndMetadata]:
        return {
            TopicPartition(self._topic, partition): OffsetAndMetadata(
                position.offset, position.ended_metadata, -1
            )
            for partition, position in positions.items()
        }

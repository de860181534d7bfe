"""Questions to Kafka about topics and groups: create, identify, measure, move. Rare calls.

Always on kafka-python, whichever client reads the messages: one implementation is enough here.
"""

import time
from collections.abc import Mapping
from types import TracebackType
from typing import Any

from kafka import TopicPartition
from kafka.admin import KafkaAdminClient, OffsetSpec
from kafka.errors import (
    KafkaError,
    TopicAlreadyExistsError,
    UnknownTopicOrPartitionError,
    for_code,
)
from kafka.protocol.consumer import IsolationLevel
from kafka.structs import OffsetAndMetadata

from seckill.broker import Position
from seckill.broker.refusals import Needs, judged
from seckill.broker.security import kafka_python_options
from seckill.broker.transactions import Open, find_open
from seckill.broker.unopened import unopened
from seckill.config.sections import KafkaSection
from seckill.errors import BrokerAway

# Seconds to wait until a new topic is usable, or a deleted one is gone.
TOPIC_READY_S = 30.0
# Seconds for one attempt to reach Kafka.
ATTEMPT_S = 5.0


class Topics:
    """Questions to one Kafka, as a context manager. Every method raises BrokerAway."""

    def __init__(self, section: KafkaSection, bootstrap_timeout_s: float = ATTEMPT_S) -> None:
        self._section = section
        try:
            self._admin = KafkaAdminClient(
                client_id="seckill-topics",
                bootstrap_timeout_ms=int(bootstrap_timeout_s * 1000),
                reconnect_backoff_max_ms=1_000,
                request_timeout_ms=15_000,
                **kafka_python_options(section),
            )
        except (KafkaError, OSError) as away:
            raise unopened(section, away) from None

    def __enter__(self) -> "Topics":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections."""
        self._admin.close()

    def ensure(
        self,
        topic: str,
        partitions: int | None = None,
        configs: Mapping[str, str] | None = None,
    ) -> bool:
        """Create the topic if it is missing, and wait until it is usable. True if created.

        Without `partitions` it gets as many as the configuration says.
        """
        if self.source(topic) is not None:
            return False
        made = True
        try:
            wanted: dict[str, Any] = {
                "num_partitions": partitions or self._section.topic_partitions,
                "configs": dict(configs or {}),
            }
            if self._section.topic_replication is not None:
                wanted["replication_factor"] = self._section.topic_replication
            self._admin.create_topics({topic: wanted})
        except TopicAlreadyExistsError:
            made = False
        except KafkaError as away:
            needs = Needs("CREATE", topic)
            raise judged(away, f"topic {topic} cannot be created", needs) from None
        deadline = time.monotonic() + TOPIC_READY_S
        while True:
            described = self._describe(topic)
            parts = described["partitions"] if described else []
            if parts and all(part.get("leader_id", -1) >= 0 for part in parts):
                return made
            if time.monotonic() > deadline:
                raise BrokerAway(f"topic {topic} has no leader after {TOPIC_READY_S:.0f} s")
            time.sleep(0.05)

    def ensure_beside(self, topic: str, other: str) -> bool:
        """The same with as many partitions as `other` has, which is created too if it is missing.

        Raises BrokerAway.
        """
        self.ensure(other)
        partitions = len(self.partitions(other))
        if not partitions:
            raise BrokerAway(f"topic {other} has no partitions yet")
        return self.ensure(topic, partitions)

    def source(self, topic: str) -> str | None:
        """The topic's id; a later topic of the same name has another one. None: no topic."""
        described = self._describe(topic)
        return str(described["topic_id"]) if described else None

    def partitions(self, topic: str) -> list[int]:
        """The numbers of the topic's partitions; [] if there is no topic."""
        described = self._describe(topic)
        return sorted(p["partition_index"] for p in described["partitions"]) if described else []

    def copies(self, topic: str) -> int:
        """How many brokers keep the partition that the fewest keep; 0 if there is no topic."""
        described = self._describe(topic)
        parts = described["partitions"] if described else []
        return min((len(part["replica_nodes"]) for part in parts), default=0)

    def end_offsets(self, topic: str) -> dict[int, int]:
        """{partition: the offset that the next message will get}."""
        return self._offsets(topic, OffsetSpec.LATEST)

    def stable_offsets(self, topic: str) -> dict[int, int]:
        """{partition: where the oldest open transaction begins, else the end}: the read limit."""
        return self._offsets(topic, OffsetSpec.LATEST, IsolationLevel.READ_COMMITTED)

    def start_offsets(self, topic: str) -> dict[int, int]:
        """{partition: the oldest offset that is still kept}."""
        return self._offsets(topic, OffsetSpec.EARLIEST)

    def open_transaction(self, topic: str, partition: int) -> Open:
        """The oldest open transaction of a partition, as far as Kafka reports it."""
        return find_open(self._admin, topic, partition)

    def committed(self, group_id: str, topic: str) -> dict[int, Position]:
        """{partition: last commit of the group}. A partition without a commit is at 0."""
        wanted = [TopicPartition(topic, partition) for partition in self.partitions(topic)]
        try:
            found: dict[Any, Any] = self._admin.list_group_offsets({group_id: wanted})[group_id]
        except (KafkaError, OSError) as away:
            needs = Needs("DESCRIBE", topic, group_id, "DESCRIBE")
            raise judged(away, needs=needs) from None
        return {
            tp.partition: Position.read(max(0, int(kept.offset)), kept.metadata)
            for tp, kept in found.items()
        }

    def move_group(
        self, group_id: str, topic: str, positions: Mapping[int, Position]
    ) -> str | None:
        """Commit positions for a group from outside. Why Kafka refused, or None."""
        offsets = {
            TopicPartition(topic, partition): OffsetAndMetadata(
                position.offset, position.ended_metadata, -1
            )
            for partition, position in positions.items()
        }
        try:
            answers: Any = self._admin.alter_group_offsets(group_id, offsets)
        except KafkaError as refused:
            return str(refused)
        refusals = [answer for answer in answers.values() if getattr(answer, "errno", 0)]
        return refusals[0].__name__ if refusals else None

    def group_members(self, group_id: str) -> frozenset[str]:
        """Members of a stable group; none during a rebalance."""
        try:
            group: dict[str, Any] = self._admin.describe_groups([group_id])[group_id]
        except (KafkaError, OSError) as away:
            raise judged(away, needs=Needs("", "", group_id, "DESCRIBE")) from None
        if group["group_state"] != "Stable":
            return frozenset()
        return frozenset(member["member_id"] for member in group["members"])

    def delete(self, topic: str) -> None:
        """Delete the topic with all messages, and wait until it is gone.

        Kafka answers before that; `ensure` would then take the dying topic for the new one.
        """
        before = self.source(topic)
        try:
            self._admin.delete_topics([topic])
        except UnknownTopicOrPartitionError:
            return
        except KafkaError as away:
            raise judged(away) from None
        deadline = time.monotonic() + TOPIC_READY_S
        while before is not None and self.source(topic) == before:
            if time.monotonic() > deadline:
                raise BrokerAway(f"topic {topic} is still there after {TOPIC_READY_S:.0f} s")
            time.sleep(0.05)

    def _describe(self, topic: str) -> dict[str, Any] | None:
        try:
            described: dict[str, Any] = self._admin.describe_topics([topic])[0]
        except (KafkaError, OSError) as away:
            raise judged(away) from None
        code = described.get("error_code", 0)
        if code == UnknownTopicOrPartitionError.errno:
            return None
        if code:
            error = for_code(code)
            if not getattr(error, "retriable", False):
                raise judged(error(), needs=Needs("DESCRIBE", topic))
        return described

    def _offsets(
        self, topic: str, spec: Any, seen: IsolationLevel = IsolationLevel.READ_UNCOMMITTED
    ) -> dict[int, int]:
        wanted = {TopicPartition(topic, partition): spec for partition in self.partitions(topic)}
        if not wanted:
            return {}
        try:
            answer = self._admin.list_partition_offsets(wanted, isolation_level=seen)
        except (KafkaError, OSError) as away:
            raise judged(away, needs=Needs("DESCRIBE", topic)) from None
        return {tp.partition: int(found.offset) for tp, found in answer.items()}


def open_topics(section: KafkaSection) -> Topics:
    """Topics, by one attempt that is no longer than a start may take. Raises BrokerAway."""
    return Topics(section, min(ATTEMPT_S, max(1.0, section.connect_timeout)))


def ensure_topic(section: KafkaSection, topic: str, partitions: int | None = None) -> bool:
    """Create a topic if it is missing. True if it was created. Raises BrokerAway."""
    with Topics(section) as topics:
        return topics.ensure(topic, partitions)

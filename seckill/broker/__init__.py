"""Kafka behind one narrow interface. Owns what the consumer may ask of a Kafka client.

Two clients implement it. `kafka_client` in the configuration chooses one (`opening`), and both pass
the same tests. Nothing in this module knows which one is used.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple, Protocol

from seckill.errors import BrokerAway

if TYPE_CHECKING:
    from seckill.config.sections import ConsumerSection

__all__ = ["BrokerAway", "CannotUnpack", "Consumer", "Position", "Slice"]

METADATA = re.compile(r"(?P<source>[^:]+):(?P<generation>[0-9]+)(?::(?P<term>[0-9]+))?")
# The client id of the sale's consumers. A group member with another client id is a stranger.
CLIENT_ID = "seckill-consumer"
# Limit for one fetch. For a moment its messages are in memory three times.
FETCH_MAX_BYTES = 8 * 1024 * 1024
PARTITION_FETCH_BYTES = 2 * 1024 * 1024
# Heartbeats per session timeout.
HEARTBEATS_A_SESSION = 5
# The least time without a poll after which the group takes a consumer for dead. The longest turn
# waits 30 s for Redis. kafka-python waits as long when the answer to a join was lost.
MAX_POLL_INTERVAL_MS = 60_000
RECONNECT_BACKOFF_MAX_MS = 1_000


@dataclass(frozen=True, slots=True)
class Slice:
    """Messages of one partition in ascending order of offsets, which may have gaps."""

    partition: int
    offsets: list[int]
    values: list[bytes | None]
    # {offset: traceparent} of the traced messages; empty unless tracing is on.
    traces: dict[int, str] = field(default_factory=dict)


class Position(NamedTuple):
    """The next offset to read, with its topic, the lane's generation and the leader's term.

    They are committed to Kafka beside the offset: only an offset of the same topic and generation
    can be compared with Redis. Commits of other programs have none of them.
    """

    offset: int
    generation: int = 0
    source: str = ""
    term: int = 0

    @property
    def metadata(self) -> str:
        """The text that is committed beside the offset."""
        return f"{self.source}:{self.generation}:{self.term}"

    @property
    def ended_metadata(self) -> str:
        """For kafka-python, which writes no terminator: librdkafka would read past the end."""
        return f"{self.metadata}\x00"

    @classmethod
    def read(cls, offset: int, metadata: str | None) -> "Position":
        """From a commit in Kafka. Earlier versions committed no term."""
        found = METADATA.fullmatch((metadata or "").rstrip("\x00"))
        if found is None:
            return cls(offset)
        return cls(offset, int(found["generation"]), found["source"], int(found["term"] or 0))


class CannotUnpack(Exception):
    """This client cannot unpack a batch, so it cannot go on. The other client can."""


class Consumer(Protocol):
    """A member of a consumer group on one topic. Not thread-safe."""

    def poll(self, timeout_s: float, max_messages: int) -> list[Slice]:
        """The messages that are there, or that arrive within the time. An empty list is normal.

        A batch that cannot be unpacked comes as `Unreadable` from kafka-python. The other client
        raises CannotUnpack; then its process must end.
        """

    def committed(self, partition: int) -> Position | None:
        """The last position that the group committed. Raises BrokerAway."""

    def commit(self, positions: Mapping[int, Position]) -> None:
        """Commit positions by partition without waiting. A lost commit does no harm."""

    def commit_and_wait(self, positions: Mapping[int, Position], timeout_s: float) -> bool:
        """Commit and wait for the answer. False if there is none in time."""

    def assignments(self) -> tuple[int, frozenset[int]]:
        """(how often the assignment has changed, the partitions assigned now)."""

    def pause(self) -> None:
        """Stop fetching from all assigned partitions. Polls still keep the membership."""

    def resume(self) -> None:
        """Resume fetching."""

    def oldest(self, partition: int) -> int:
        """The oldest offset that Kafka still holds. Raises BrokerAway."""

    def seek(self, partition: int, offset: int) -> None:
        """Read on from this offset; drops what was fetched already. Raises BrokerAway."""

    def close(self) -> None:
        """Leave the group and close the connections."""


def max_poll_interval_ms(server: "ConsumerSection") -> int:
    """The longest time between two polls. It must not be shorter than the session timeout."""
    return max(MAX_POLL_INTERVAL_MS, server.session_timeout)

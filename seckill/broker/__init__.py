"""Kafka, behind one narrow module. Owns what the consumer may ask of a Kafka client.

Two clients fulfil it, chosen by `kafka_client` in the configuration; both pass the same tests.
The libraries are imported only when chosen: nothing here knows which one that is.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple, Protocol

from seckill.errors import BrokerAway

if TYPE_CHECKING:
    from seckill_project.config import Server

__all__ = ["BrokerAway", "CannotUnpack", "Consumer", "Position", "Slice", "open_consumer"]

METADATA = re.compile(r"(?P<source>[^:]+):(?P<generation>[0-9]+)(?::(?P<term>[0-9]+))?")
# What the sale's consumers call themselves in their group: who is called otherwise is a stranger.
CLIENT_ID = "seckill-consumer"
# Messages that a poll may bring are in memory three times for a moment: this bounds all of it.
FETCH_MAX_BYTES = 8 * 1024 * 1024
PARTITION_FETCH_BYTES = 2 * 1024 * 1024
# Heartbeats in the time that the group waits for one (`session_timeout`).
HEARTBEATS_A_SESSION = 5
# Longest time between two polls before the group takes a consumer for dead, at least. The longest
# turn waits 30 s for Redis. kafka-python waits as long for the answer to a join that was lost.
MAX_POLL_INTERVAL_MS = 60_000
RECONNECT_BACKOFF_MAX_MS = 1_000


@dataclass(frozen=True, slots=True)
class Slice:
    """Messages of one partition in the order of their offsets, which may have gaps."""

    partition: int
    offsets: list[int]
    values: list[bytes | None]
    # {offset: traceparent} of the messages that are traced; only where traces are asked for.
    traces: dict[int, str] = field(default_factory=dict)


class Position(NamedTuple):
    """The next offset to read, in which topic, in which generation of the lane, in which term.

    All three are kept beside the offset in Kafka: only an offset of the same topic and generation
    can be compared with Redis. Commits of other programs have none of them.
    """

    offset: int
    generation: int = 0
    source: str = ""
    term: int = 0

    @property
    def metadata(self) -> str:
        """What is committed beside the offset."""
        return f"{self.source}:{self.generation}:{self.term}"

    @property
    def ended_metadata(self) -> str:
        """For kafka-python, which writes no end: librdkafka reads on to the next NUL in memory."""
        return f"{self.metadata}\x00"

    @classmethod
    def read(cls, offset: int, metadata: str | None) -> "Position":
        """From what Kafka has. Earlier versions committed no term."""
        found = METADATA.fullmatch((metadata or "").rstrip("\x00"))
        if found is None:
            return cls(offset)
        return cls(offset, int(found["generation"]), found["source"], int(found["term"] or 0))


class CannotUnpack(Exception):
    """This client cannot read on: a batch that it cannot unpack. The other one can, and says so."""


class Consumer(Protocol):
    """A member of a consumer group on one topic. Not for use by several threads."""

    def poll(self, timeout_s: float, max_messages: int) -> list[Slice]:
        """What there is, or what comes within the time. An empty list is normal.

        What cannot be unpacked comes as `Unreadable`, from the client that can tell. Raises
        CannotUnpack from the other one, whose process has to end then.
        """

    def committed(self, partition: int) -> Position | None:
        """Where the group last committed that it reads on. Raises BrokerAway."""

    def commit(self, positions: Mapping[int, Position]) -> None:
        """Commit positions by partition, without waiting. A lost commit does no harm."""

    def commit_and_wait(self, positions: Mapping[int, Position], timeout_s: float) -> bool:
        """The same, waiting for the answer; False when there is none in time."""

    def assignments(self) -> tuple[int, frozenset[int]]:
        """(how often the assignment has changed, the partitions assigned now)."""

    def pause(self) -> None:
        """Stop fetching from all assigned partitions; polls go on and keep the membership."""

    def resume(self) -> None:
        """Fetch again."""

    def oldest(self, partition: int) -> int:
        """The oldest offset that Kafka keeps now. Raises BrokerAway."""

    def seek(self, partition: int, offset: int) -> None:
        """Read on from this offset; nothing that was fetched before comes. Raises BrokerAway."""

    def close(self) -> None:
        """Leave the group, close the connections."""


def max_poll_interval_ms(server: "Server") -> int:
    """Longest time between two polls; no client takes one that is shorter than the session."""
    return max(MAX_POLL_INTERVAL_MS, server.session_timeout)


def open_consumer(server: "Server", assigned: Callable[[], None] = lambda: None) -> Consumer:
    """A consumer of `server.topic` in group `server.group_id`. Raises BrokerAway.

    `assigned` is called before anything is fetched, by the client that CannotUnpack is of.
    """
    if server.kafka_client == "confluent-kafka":
        from seckill.broker.confluent import ConfluentConsumer

        return ConfluentConsumer(server, assigned)
    from seckill.broker.kafka_python import KafkaPythonConsumer

    return KafkaPythonConsumer(server)

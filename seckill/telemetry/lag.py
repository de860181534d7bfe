"""How far the consumers are behind: requests in the topic that are not decided yet."""

import logging
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import NamedTuple

from seckill.broker.reader import Reader
from seckill.broker.topics import Topics
from seckill.config.sections import KafkaSection
from seckill.errors import BrokerAway
from seckill.lane.keys import position_field
from seckill.process.events import event
from seckill.telemetry.blocked import Blocked, Transactions

log = logging.getLogger(__name__)

# Seconds between two looks at the topic's ends, and at its id and start, which rarely change.
LOOK_S, IDENTITY_S = 1.0, 10.0
# Seconds after which a look says nothing about the present.
FRESH_S = 5.0
# Seconds to wait for an answer whether there is a message, and KB to fetch for it.
READ_S, READ_KB = 3.0, 64


class Gap(NamedTuple):
    """Offsets of a partition, from `begin` to `end` - 1."""

    source: str
    partition: int
    begin: int
    end: int


@dataclass(frozen=True)
class Ends:
    """Where a topic begins and ends, by partition.

    No consumer sees the messages from `stable` to `ends` until the oldest open transaction ends.
    """

    source: str
    starts: Mapping[int, int]
    ends: Mapping[int, int]
    stable: Mapping[int, int]
    # Gaps without any message that a consumer can see.
    empty: frozenset[Gap] = frozenset()
    # Partitions that an open transaction has blocked for a while.
    blocked: tuple[Blocked, ...] = ()

    def gaps(self, positions: Mapping[str, int]) -> list[Gap]:
        """The undecided and readable offsets of each partition, given the lane's positions."""
        gaps = []
        for partition, end in self.ends.items():
            stable = min(self.stable.get(partition, end), end)
            begin = self._begin(partition, positions)
            gaps.append(Gap(self.source, partition, min(begin, stable), stable))
        return gaps

    def behind(self, positions: Mapping[str, int]) -> dict[int, int]:
        """{partition: undecided offsets that cannot be read until a transaction ends}"""
        return {
            partition: max(
                0, end - max(self.stable.get(partition, end), self._begin(partition, positions))
            )
            for partition, end in self.ends.items()
        }

    def lag(self, positions: Mapping[str, int]) -> dict[int, int]:
        """{partition: undecided requests}, given the lane's positions."""
        behind = self.behind(positions)
        return {
            gap.partition: behind[gap.partition] + (0 if gap in self.empty else gap.end - gap.begin)
            for gap in self.gaps(positions)
        }

    def _begin(self, partition: int, positions: Mapping[str, int]) -> int:
        decided = positions.get(position_field(self.source, partition), 0)
        return max(decided, self.starts.get(partition, 0))


def read_ends(topics: Topics, topic: str) -> Ends:
    """Where the topic begins and ends now. Raises BrokerAway."""
    ends = Ends(str(topics.source(topic)), topics.start_offsets(topic), {}, {})
    return read_again(ends, topics, topic)


def read_again(ends: Ends, topics: Topics, topic: str) -> Ends:
    """The same topic's end offsets now. Raises BrokerAway."""
    # In this order, so that messages between the two questions are not taken for blocked ones.
    known = topics.end_offsets(topic)
    return replace(ends, ends=known, stable=topics.stable_offsets(topic))


class Tails:
    """Finds what end offsets do not show. Not thread-safe.

    First, gaps that no consumer can close: Kafka's end offsets count transaction markers and
    aborted messages, which nobody sees. Second, who blocks the messages behind an open transaction.
    """

    def __init__(self, section: KafkaSection) -> None:
        self._section = section
        self._reader: Reader | None = None
        self._seen: set[Gap] = set()
        self._asked: dict[Gap, bool] = {}
        self._transactions = Transactions(section.topic)

    def look(self, topics: Topics, ends: Ends, positions: Mapping[str, int]) -> Ends:
        """The same ends, with the empty gaps and the blocked partitions. Raises BrokerAway.

        A gap is read, once, only if it was the same at the last look: then nobody works on it.
        """
        gaps = {gap for gap in ends.gaps(positions) if gap.begin < gap.end}
        self._asked = {gap: empty for gap, empty in self._asked.items() if gap in gaps}
        for gap in (gaps & self._seen) - set(self._asked):
            self._asked[gap] = self._empty(gap)
        self._seen = gaps
        return replace(
            ends,
            empty=frozenset(gap for gap, empty in self._asked.items() if empty),
            blocked=self._transactions.look(topics, ends.stable, ends.behind(positions)),
        )

    def close(self) -> None:
        """Close the connection, if there is one."""
        if self._reader is not None:
            self._reader.close()
        self._reader = None

    def _empty(self, gap: Gap) -> bool:
        if self._reader is None:
            self._reader = Reader(self._section, READ_KB)
        self._reader.go_to(self._section.topic, gap.partition, gap.begin)
        deadline = time.monotonic() + READ_S
        while (left := deadline - time.monotonic()) > 0:
            messages, following = self._reader.read(1, left)
            if messages:
                return messages[0].offset() >= gap.end
            if following >= gap.end:
                return True
        raise BrokerAway(f"partition {gap.partition} sends nothing from offset {gap.begin} on")


@dataclass
class LagWatch:
    """Looks at a topic again and again on its own thread, so nobody waits for Kafka."""

    topic: str
    open_topics: Callable[[], Topics]
    tails: Tails

    _topics: Topics | None = None
    _ends: Ends | None = None
    _positions: Mapping[str, int] = field(default_factory=dict)
    _seen_at: float = 0.0
    _identified_at: float = 0.0
    _stop: threading.Event = field(default_factory=threading.Event)

    def lag(self, positions: Mapping[str, int]) -> dict[int, int] | None:
        """{partition: undecided requests}; None if Kafka has not answered lately."""
        self._positions = positions
        ends = self._fresh()
        return None if ends is None else ends.lag(positions)

    def blocked(self) -> tuple[Blocked, ...]:
        """What open transactions block; nothing if Kafka does not answer."""
        ends = self._fresh()
        return () if ends is None else ends.blocked

    def _fresh(self) -> Ends | None:
        return self._ends if time.monotonic() - self._seen_at <= FRESH_S else None

    def run(self) -> None:
        """Look until `stop`."""
        while not self._stop.is_set():
            self.run_once()
            self._stop.wait(LOOK_S)
        self.tails.close()
        if self._topics is not None:
            self._topics.close()

    def run_once(self) -> None:
        """One look. If it fails it is left out, and the next one opens a new connection."""
        try:
            self._topics = self._topics or self.open_topics()
            now = time.monotonic()
            if self._ends is None or now - self._identified_at > IDENTITY_S:
                ends, self._identified_at = read_ends(self._topics, self.topic), now
            else:
                ends = read_again(self._ends, self._topics, self.topic)
            self._ends = self.tails.look(self._topics, ends, self._positions)
            self._seen_at = time.monotonic()
        except BrokerAway as away:
            log.debug("the lag is unknown: %s", away, extra=event("no-lag"))
            self._ends = None
            if self._topics is not None:
                self._topics.close()
                self._topics = None

    def stop(self) -> None:
        """End `run`."""
        self._stop.set()

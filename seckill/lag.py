"""How far the consumers are behind: requests in the topic that are not decided yet."""

import logging
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import NamedTuple

from confluent_kafka import Consumer, KafkaError, KafkaException, TopicPartition

from seckill.broker.reader import open_reader
from seckill.broker.topics import Topics
from seckill.errors import BrokerAway
from seckill.events import event
from seckill.keys import position_field
from seckill_project.config import KafkaSection

log = logging.getLogger(__name__)

# Seconds between two looks at the topic's ends; its identity and start change rarely.
LOOK_S, IDENTITY_S = 1.0, 10.0
# A look older than this says nothing of now, seconds.
FRESH_S = 5.0
# Seconds for an answer whether there is a message, and KB that are fetched for it.
READ_S, READ_KB = 3.0, 64


class Gap(NamedTuple):
    """Offsets of a partition, from `begin` to `end` - 1."""

    source: str
    partition: int
    begin: int
    end: int


@dataclass(frozen=True)
class Ends:
    """Where a topic begins and ends, by partition."""

    source: str
    starts: Mapping[int, int]
    ends: Mapping[int, int]
    # Those that hold nothing a consumer sees.
    empty: frozenset[Gap] = frozenset()

    def gaps(self, positions: Mapping[str, int]) -> list[Gap]:
        """What is not decided, of each partition, by the positions of the lane."""
        gaps = []
        for partition, end in self.ends.items():
            decided = positions.get(position_field(self.source, partition), 0)
            begin = max(decided, self.starts.get(partition, 0))
            gaps.append(Gap(self.source, partition, min(begin, end), end))
        return gaps

    def lag(self, positions: Mapping[str, int]) -> dict[int, int]:
        """{partition: requests not decided}, by the positions of the lane."""
        return {
            gap.partition: 0 if gap in self.empty else gap.end - gap.begin
            for gap in self.gaps(positions)
        }


def read_ends(topics: Topics, topic: str) -> Ends:
    """Where the topic begins and ends now. Raises BrokerAway."""
    return Ends(str(topics.source(topic)), topics.start_offsets(topic), topics.end_offsets(topic))


class Tails:
    """Finds gaps that no consumer can close: Kafka's ends count transaction markers and aborted
    messages, which nobody sees. Not for use by several threads.
    """

    def __init__(self, section: KafkaSection) -> None:
        self._section = section
        self._consumer: Consumer | None = None
        self._seen: set[Gap] = set()
        self._asked: dict[Gap, bool] = {}

    def look(self, ends: Ends, positions: Mapping[str, int]) -> Ends:
        """The same, with what is known to be empty. Raises BrokerAway.

        Only a gap that is the same as at the look before is read, once: nobody works on it.
        """
        gaps = {gap for gap in ends.gaps(positions) if gap.begin < gap.end}
        self._asked = {gap: empty for gap, empty in self._asked.items() if gap in gaps}
        for gap in (gaps & self._seen) - set(self._asked):
            self._asked[gap] = self._empty(gap)
        self._seen = gaps
        return replace(ends, empty=frozenset(gap for gap, empty in self._asked.items() if empty))

    def close(self) -> None:
        """Close the connection, if there is one."""
        if self._consumer is not None:
            self._consumer.close()
        self._consumer = None

    def _empty(self, gap: Gap) -> bool:
        if self._consumer is None:
            self._consumer = open_reader(self._section, READ_KB)
        self._consumer.assign([TopicPartition(self._section.topic, gap.partition, gap.begin)])
        deadline = time.monotonic() + READ_S
        try:
            while (left := deadline - time.monotonic()) > 0:
                message = self._consumer.poll(left)
                error = message and message.error()
                if error and error.code() == KafkaError._PARTITION_EOF:
                    return True
                if message and not error:
                    return (message.offset() or 0) >= gap.end
        except KafkaException as away:
            raise BrokerAway(away) from None
        finally:
            self._consumer.unassign()
        raise BrokerAway(f"partition {gap.partition} sends nothing from offset {gap.begin} on")


@dataclass
class LagWatch:
    """Looks at a topic again and again, on a thread of its own, so that nobody waits for Kafka."""

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
        """{partition: requests not decided}; None where Kafka has not answered lately."""
        ends, self._positions = self._ends, positions
        if ends is None or time.monotonic() - self._seen_at > FRESH_S:
            return None
        return ends.lag(positions)

    def run(self) -> None:
        """Look until `stop`."""
        while not self._stop.is_set():
            self.run_once()
            self._stop.wait(LOOK_S)
        self.tails.close()
        if self._topics is not None:
            self._topics.close()

    def run_once(self) -> None:
        """One look; one that fails is left out, and the connection is made anew."""
        try:
            self._topics = self._topics or self.open_topics()
            now = time.monotonic()
            if self._ends is None or now - self._identified_at > IDENTITY_S:
                ends, self._identified_at = read_ends(self._topics, self.topic), now
            else:
                ends = replace(self._ends, ends=self._topics.end_offsets(self.topic))
            self._ends = self.tails.look(ends, self._positions)
            self._seen_at = time.monotonic()
        except BrokerAway as away:
            log.debug("the lag is not known: %s", away, extra=event("no-lag"))
            self._ends = None
            if self._topics is not None:
                self._topics.close()
                self._topics = None

    def stop(self) -> None:
        """Ask for the end of `run`."""
        self._stop.set()

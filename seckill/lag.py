"""How far the consumers are behind: requests in the topic that are not decided yet."""

import logging
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from seckill.broker.topics import Topics
from seckill.errors import BrokerAway
from seckill.events import event
from seckill.keys import position_field

log = logging.getLogger(__name__)

# Seconds between two looks at the topic's ends; its identity and start change rarely.
LOOK_S, IDENTITY_S = 1.0, 10.0
# A look older than this says nothing of now, seconds.
FRESH_S = 5.0


@dataclass(frozen=True)
class Ends:
    """Where a topic begins and ends, by partition."""

    source: str
    starts: Mapping[int, int]
    ends: Mapping[int, int]

    def lag(self, positions: Mapping[str, int]) -> dict[int, int]:
        """{partition: requests not decided}, by the positions of the lane."""
        return {
            partition: max(
                0,
                end
                - max(
                    positions.get(position_field(self.source, partition), 0),
                    self.starts.get(partition, 0),
                ),
            )
            for partition, end in self.ends.items()
        }


def read_ends(topics: Topics, topic: str) -> Ends:
    """Where the topic begins and ends now. Raises BrokerAway."""
    return Ends(str(topics.source(topic)), topics.start_offsets(topic), topics.end_offsets(topic))


@dataclass
class LagWatch:
    """Looks at a topic again and again, on a thread of its own, so that nobody waits for Kafka."""

    topic: str
    open_topics: Callable[[], Topics]

    _topics: Topics | None = None
    _ends: Ends | None = None
    _seen_at: float = 0.0
    _identified_at: float = 0.0
    _stop: threading.Event = field(default_factory=threading.Event)

    def lag(self, positions: Mapping[str, int]) -> dict[int, int] | None:
        """{partition: requests not decided}; None where Kafka has not answered lately."""
        ends = self._ends
        if ends is None or time.monotonic() - self._seen_at > FRESH_S:
            return None
        return ends.lag(positions)

    def run(self) -> None:
        """Look until `stop`."""
        while not self._stop.is_set():
            self.run_once()
            self._stop.wait(LOOK_S)
        if self._topics is not None:
            self._topics.close()

    def run_once(self) -> None:
        """One look; one that fails is left out, and the connection is made anew."""
        try:
            self._topics = self._topics or self.open_topics()
            now = time.monotonic()
            if self._ends is None or now - self._identified_at > IDENTITY_S:
                self._ends, self._identified_at = read_ends(self._topics, self.topic), now
            else:
                ends = self._topics.end_offsets(self.topic)
                self._ends = Ends(self._ends.source, self._ends.starts, ends)
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

"""The parent of a group: keeps its child processes running, prints the status line, ends a drain.

It holds no messages and decides none, so killing it loses nothing. Its children stop by themselves
when it is gone. What differs between groups is in the methods that raise NotImplementedError.
"""

import logging
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import ClassVar, Protocol

import redis

from seckill.broker import BrokerAway
from seckill.broker.strangers import Strangers
from seckill.broker.topics import Topics
from seckill.config.sections import ConsumerSection
from seckill.consumer.children import Children, Work
from seckill.lane.keys import Lane
from seckill.lane.status import LaneStatus
from seckill.process.events import event
from seckill.process.shutdown import Shutdown
from seckill.telemetry.blocked import in_words
from seckill.telemetry.heartbeats import Heart, Kind
from seckill.telemetry.lag import Ends, Tails, read_ends

log = logging.getLogger(__name__)

# Seconds between two looks at the children.
LOOK_S = 0.25
# Seconds between two checks whether all is drained, and between reports of what is waited for.
DRAIN_LOOK_S, DRAIN_TELL_S = 0.5, 10.0
# Seconds that the end waits for a thread that talks to Kafka.
THREAD_STOP_S = 2.0


class Beside(Protocol):
    """What a parent runs on threads beside its children."""

    @property
    def counts(self) -> Mapping[str, int]:
        """What it has done so far, for the heartbeat."""

    def start(self) -> None:
        """Start the threads."""

    def check(self) -> None:
        """Raise what ended a thread, if it was a bug."""

    def close(self) -> None:
        """Stop the threads."""


@dataclass
class Parent:
    """`run` returns when a stop was requested, or when all is drained. `server` names the topic and
    the group.
    """

    server: ConsumerSection
    client: "redis.Redis"
    topics: Topics
    shutdown: Shutdown
    lane: Lane = field(default_factory=Lane)
    say: Callable[[str], None] = print

    kind: ClassVar[Kind]

    _children: Children | None = None
    _kafka_away: bool = False
    _ends: Ends | None = None
    _last: tuple[float, int] | None = None

    def __post_init__(self) -> None:
        self._tails = Tails(self.server)
        self.strangers = Strangers(self.server)

    def _work(self) -> Work:
        """The main function of the children."""
        raise NotImplementedError

    def _beside(self) -> Beside:
        raise NotImplementedError

    def drained(self) -> bool:
        """Whether all that the topic holds now is decided. False if that is unknown."""
        raise NotImplementedError

    def waits_for(self) -> str:
        """What is not decided yet and why, in words."""
        raise NotImplementedError

    def describe(self) -> str:
        """The status line."""
        raise NotImplementedError

    def run(self, *, drain: bool = False, drain_limit_s: float | None = None) -> bool:
        """Keep the consumers running, and print the status line every `status_interval` seconds.

        With `drain`, until all is decided (True) or the limit is over (False).
        """
        begun = time.monotonic()
        next_status = begun + self.server.status_interval
        next_drain_look, next_drain_tell = begun + DRAIN_LOOK_S, begun + DRAIN_TELL_S
        heart = Heart(self.server.redis_url, self.lane, self.kind)
        children = Children(self.server, self.lane, self._work(), heart.forget)
        self._children = children
        beside = self._beside()
        beside.start()
        watch = threading.Thread(target=self.strangers.run, name="strangers", daemon=True)
        watch.start()
        in_time = True
        try:
            while in_time and not self.shutdown.wait(LOOK_S):
                children.keep_alive()
                beside.check()
                done = beside.counts
                counts = {"consumers": children.alive, "restarts": children.restarts, **done}
                heart.beat(sum(done.values()), "", **counts)
                now = time.monotonic()
                if now >= next_status:
                    self.say(self.describe())
                    next_status = now + self.server.status_interval
                if drain and now >= next_drain_look:
                    if self.drained():
                        break
                    in_time = drain_limit_s is None or now - begun < drain_limit_s
                    next_drain_look = now + DRAIN_LOOK_S
                    if now >= next_drain_tell or not in_time:
                        self.say(f"--drain waits: {self.waits_for()}")
                        next_drain_tell = now + DRAIN_TELL_S
            if self.shutdown.requested:
                self.say("stopping: batches in flight are finished and committed first")
        finally:
            children.stop()
            self.strangers.stop()
            beside.close()
            heart.close()
            watch.join(THREAD_STOP_S)
        self.say(self.describe())
        self.close()
        return in_time

    def close(self) -> None:
        """Close what the lag's readers opened. `run` calls it at its end."""
        self._tails.close()

    @property
    def alive(self) -> int:
        """The number of running children."""
        return self._children.alive if self._children else 0

    def _lag(self, positions: Mapping[str, int]) -> int:
        """Messages in the topic that are not decided, given the positions. Raises BrokerAway."""
        self._ends = None
        ends = read_ends(self.topics, self.server.topic)
        self._ends = self._tails.look(self.topics, ends, positions)
        return sum(self._ends.lag(positions).values())

    def _lag_if_known(self, positions: Mapping[str, int]) -> int | None:
        """As `_lag`; None if Kafka is away, which is logged once."""
        try:
            lag = self._lag(positions)
        except BrokerAway as away:
            if not self._kafka_away:
                log.error(
                    "%s. The sale waits for it, nothing is lost", away, extra=event("kafka-away")
                )
            self._kafka_away = True
            return None
        if self._kafka_away:
            log.warning("going on: Kafka answers again", extra=event("going-on"))
        self._kafka_away = False
        return lag

    def _rate(self, done: int) -> float:
        """Messages a second since the last call."""
        now = time.monotonic()
        rate = 0.0
        if self._last is not None and now > self._last[0]:
            rate = max(0.0, (done - self._last[1]) / (now - self._last[0]))
        self._last = (now, done)
        return rate

    @property
    def _blocked(self) -> str:
        """Which part of the last lag waits for open transactions, in words."""
        return in_words(self._ends.blocked) if self._ends else ""

    def _reasons(self, lane: LaneStatus) -> list[str]:
        """Why messages may wait: the lane, open transactions, strangers in the group."""
        reasons = []
        if not lane.loaded:
            reasons.append("nothing is on sale (NOT_LOADED)")
        if lane.fence is not None:
            reasons.append(f"the lane is fenced ({lane.fence.word})")
        if self._blocked:
            reasons.append(self._blocked)
        if self.strangers.found:
            reasons.append(self.strangers.in_words())
        return reasons

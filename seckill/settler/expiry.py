"""Lets holds expire: units that nobody has paid in time are sold again.

Owns one rule: a hold expires only when all that Kafka had acknowledged before its time is settled.
Kafka away, a settler dead, a backlog: nothing expires. It has a thread of its own, since it asks
Kafka; any number of settlers may do this at once, since the script is what decides.
"""

import logging
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from seckill.broker.topics import Topics
from seckill.config.sections import Settler
from seckill.consumer.engine import Gatekeeper
from seckill.errors import BrokerAway, RedisAway, ServiceAway
from seckill.lane.held import count_due
from seckill.lane.holds import ReadMark, SettleStatus, expire_holds
from seckill.lane.keys import Lane, position_field
from seckill.lane.settle_status import read_positions, read_settle_status
from seckill.process.events import event
from seckill.settler.guarded import Guarded
from seckill.settler.marks import Marks
from seckill.telemetry.lag import Ends, Tails, read_ends

log = logging.getLogger(__name__)

# Seconds between two turns, and until it is logged again why nothing expires.
TURN_S, TELL_AGAIN_S = 1.0, 10.0
# Seconds that holds may be overdue before that is logged: a batch in flight is no reason.
LATE_S = 5.0
# Seconds that `close` waits for a turn.
STOP_S = 5.0
STAY = "Nothing expires meanwhile; nothing is lost"


@dataclass
class Expiry:
    """`run_once` is one turn. `section` is the one of the settlements: see `of_settlements`."""

    section: Settler
    lane: Lane
    guard: Gatekeeper
    open_topics: Callable[[], Topics]

    expired: int = 0
    # Turns that ended with no hold overdue.
    clean_turns: int = 0
    # When holds began to be overdue; 0: none is.
    _late_since: float = 0.0
    _topics: Topics | None = None
    _told_at: float = 0.0
    _marks: Marks = field(default_factory=Marks)
    _stop: threading.Event = field(default_factory=threading.Event)
    _thread: threading.Thread | None = None

    def __post_init__(self) -> None:
        self._redis = Guarded(self.section.redis_url, self.lane, self.guard)
        self._tails = Tails(self.section)

    @property
    def counts(self) -> Mapping[str, int]:
        """Holds that this process let expire, for the heartbeat."""
        return {"expired": self.expired}

    def start(self) -> None:
        """Start the thread."""
        self._thread = threading.Thread(target=self._run, name="expiry", daemon=True)
        self._thread.start()

    def check(self) -> None:
        """Raises RuntimeError if a bug ended the thread. Its traceback was printed then."""
        if self._thread is not None and not self._thread.is_alive():
            raise RuntimeError("the thread that lets holds expire has ended")

    def close(self) -> None:
        """Stop the thread. One that still waits for a service is left behind."""
        self._stop.set()
        if self._thread is not None:
            self._thread.join(STOP_S)
            if self._thread.is_alive():
                return
        self._close_topics()
        self._tails.close()
        self._redis.drop()

    def run_once(self) -> bool:
        """One turn. Whether no hold is overdue any more; False too if that is unknown."""
        try:
            clean = self._turn()
        except ServiceAway as away:
            self._tell(f"{away}. {STAY}")
            if isinstance(away, BrokerAway):
                self._close_topics()
            return False
        if self._told_at and clean:
            log.warning("going on: holds expire again", extra=event("going-on"))
            self._told_at = 0.0
        self.clean_turns += clean
        return clean

    def _turn(self) -> bool:
        self._redis.ready()
        seen = read_settle_status(self._redis.client, self.lane, self.section.grace_ms)
        holding = [number for number, activity in seen.activities.items() if activity.held]
        if not holding:
            # A sale without holds asks Kafka for nothing.
            return True
        marks = self._ask(seen.now_ms)
        for number in holding:
            self._expire(number, marks)
        before = seen.now_ms - self.section.grace_ms
        overdue = sum(
            count_due(self._redis.client, self.lane, number, before) for number in holding
        )
        if not overdue:
            self._late_since = 0.0
            return True
        self._late_since = self._late_since or time.monotonic()
        if time.monotonic() - self._late_since > LATE_S:
            self._tell(
                f"{overdue:,} holds are overdue, and stay until everything that Kafka had by then "
                f"is settled. {STAY}"
            )
        return False

    def _ask(self, now_ms: int) -> dict[tuple[str, int], ReadMark | None]:
        """The mark of each partition that is reached; None if none is. Raises ServiceAway.

        `now_ms` is a time of Redis's clock before the call: whatever Kafka acknowledges later is
        not promised to win.
        """
        self._topics = self._topics or self.open_topics()
        ends = read_ends(self._topics, self.section.topic)
        if self._topics.source(self.section.topic) != ends.source:
            raise BrokerAway(f"topic {self.section.topic} is being replaced")
        positions = read_positions(self._redis.client, self.lane)
        ends = self._tails.look(self._topics, ends, positions)
        places = {(ends.source, partition) for partition in ends.ends}
        self._marks.keep(places)
        found = {}
        for place, end in self._to_reach(ends, positions).items():
            self._marks.add(place, ReadMark(now_ms, end))
            position = positions.get(position_field(*place), 0)
            found[place] = self._marks.reached(place, position)
        return found

    def _to_reach(self, ends: Ends, positions: Mapping[str, int]) -> dict[tuple[str, int], int]:
        """Up to which position each partition has to be settled: its end, or what is there already
        if no message is left that a consumer could see.
        """
        lag = ends.lag(positions)
        return {
            (ends.source, partition): end
            if lag[partition]
            else min(end, positions.get(position_field(ends.source, partition), 0))
            for partition, end in ends.ends.items()
        }

    def _expire(self, activity_id: int, marks: Mapping[tuple[str, int], ReadMark | None]) -> None:
        """Expire all holds of an activity that may expire. Raises RedisAway."""
        reached = {place: mark for place, mark in marks.items() if mark is not None}
        while True:
            self._redis.ready()
            claim = self._redis.claim
            reply = expire_holds(
                self._redis.client,
                self.lane,
                activity_id,
                sorted(marks),
                reached,
                generation=claim.generation,
                identity=claim.identity,
                grace_ms=self.section.grace_ms,
                expired_gives_back=self.section.expired_gives_back,
            )
            self.expired += reply.expired
            if reply.status is SettleStatus.FENCED:
                raise RedisAway(f"the lane is fenced ({reply.why})", "lets nothing expire")
            if reply.status in (SettleStatus.MOVED, SettleStatus.UNSEEN):
                # The lane was rebuilt or loaded since: the guard looks at it before the next turn.
                self._redis.drop()
                raise RedisAway("the lane was rebuilt or loaded just now", "lets nothing expire")
            if not reply.full or self._stop.is_set():
                return

    def _run(self) -> None:
        while not self._stop.is_set():
            self.run_once()
            self._stop.wait(TURN_S)

    def _tell(self, why: str) -> None:
        now = time.monotonic()
        if not self._told_at or now - self._told_at > TELL_AGAIN_S:
            log.warning("%s", why, extra=event("holds-stay"))
            self._told_at = now

    def _close_topics(self) -> None:
        if self._topics is not None:
            self._topics.close()
        self._topics = None

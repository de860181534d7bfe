"""The consumer: read, decide, commit. One process, one group member, one lane.

Always: an offset is committed only after the script has answered for it; it is the next offset to
read. Never: a batch dropped because a service was away. It is held and sent again, and the position
in Redis shows which part of it is new. Only the script knows what was decided.
"""

import logging
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field

from seckill import broker
from seckill.broker import Position, Slice
from seckill.consumer.batch import Batch, Known, encode
from seckill.consumer.engine import Decider, Reply, Status
from seckill.consumer.intake import Encode, Intake
from seckill.consumer.time_units import TimeUnits
from seckill.dead_letters.writer import DeadLetters
from seckill.errors import BrokerAway, RedisAway
from seckill.process.events import event
from seckill.process.shutdown import Shutdown

log = logging.getLogger(__name__)

# Seconds between two commits while there is work. A crash repeats at most this much work.
COMMIT_INTERVAL_S = 0.5
# Longest wait for messages when nothing is in flight.
POLL_S = 0.5
# Seconds until a hold is logged again. It is logged at once when it begins.
TELL_AGAIN_S = 10.0
# Seconds of the first and the longest pause between two attempts of a held batch.
FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.05, 2.0
# Seconds for the last commit of a consumer that stops.
FIRST_COMMIT_S = LAST_COMMIT_S = 5.0
# Seconds between two checks whether the lane was rebuilt. Then old offsets must be decided again,
# even if no new message arrives.
LOOK_S = 1.0
# Seconds to pause while the position of a partition is unknown.
PLACE_AGAIN_S = 1.0
# Seconds until dead letters that Kafka did not take are tried again.
LETTERS_AGAIN_S = 1.0

WAITING = "{} wait in Kafka, nothing is lost"
RECOVER = "Look at the plan of `manage.py recover`, then run it with --apply"
HOLD_REASONS = {
    Status.NOT_LOADED: (
        f"NOT_LOADED: Redis does not hold this sale (emptied, or not yet loaded). {WAITING}. A new "
        f"sale: manage.py set_stock 1001:10, which is refused after a loss. After a loss: {RECOVER}"
    ),
    Status.REWOUND: (
        "REWOUND: Redis is older than what was decided (restored, or failed over to a late copy). "
        f"The whole lane is fenced. {WAITING}. {RECOVER}"
    ),
    Status.FENCED: f"FENCED: nothing is decided. {WAITING}. {RECOVER}",
    Status.CLOCK: (
        f"CLOCK: one of two clocks is wrong, and a wrong clock would refuse buyers. "
        f"{WAITING}. Correct the clock; it goes on by itself"
    ),
}


def _reason(batch: Batch, reply: Reply, what: str) -> str:
    """Why a batch is held, in words. `what` waits."""
    reason = HOLD_REASONS[reply.status].format(what)
    if reply.status is Status.REWOUND:
        return f"{reason} (partition {batch.partition}: {reply.position} < {batch.start})"
    return f"{reason} ({reply.why})" if reply.why else reason


@dataclass
class Consumer:
    """One member of the group. `run` goes on until a stop is requested; `run_once` is one turn."""

    client: broker.Consumer
    engine: Decider
    dead_letters: DeadLetters
    shutdown: Shutdown
    find_source: Callable[[], str | None]
    batch_size: int = 4000
    # Makes a batch of the messages of a slice.
    pack: Encode = encode
    # Looks at each slice before that, for the log.
    look_at: Callable[[Slice], None] = field(default_factory=lambda: TimeUnits().look)
    # What the messages are, for people.
    what: str = "Requests"
    # Called each turn and during a hold. The function may read `decided` and `hold`.
    beat: Callable[[], None] = lambda: None

    # Requests that were answered for this consumer, without duplicates.
    decided: int = 0
    # Why nothing is decided now; "" if all is well.
    hold: str = ""
    _ready: list[Batch] = field(default_factory=list)
    _in_flight: list[Batch] = field(default_factory=list)
    _known: dict[int, Known] = field(default_factory=dict)
    _committed_at: float = 0.0
    _looked_at: float = 0.0
    # When the current hold was logged last; 0: there is none.
    _told_at: float = 0.0

    def __post_init__(self) -> None:
        self._intake = Intake(
            self.client,
            self.shutdown,
            self.find_source,
            self.engine.look,
            self.batch_size,
            self.pack,
        )

    @property
    def source(self) -> str:
        """The topic's id; "" before the first messages."""
        return self._intake.source

    @property
    def _waiting(self) -> str:
        return WAITING.format(self.what)

    def run(self) -> None:
        """Run turns until a stop is requested. Then: await answers, commit, leave, close.

        The order matters. A commit before the answers could lose requests; leaving the group before
        the commit would give the next owner more duplicates. Everything is closed however the loop
        ends. Raises BrokerAway if Kafka ended it and no stop was requested.
        """
        with ExitStack() as ends:
            ends.callback(self.engine.close)
            ends.callback(self.dead_letters.close)
            ends.callback(self._leave)
            try:
                while not self.shutdown.requested:
                    self.run_once()
            except BrokerAway as away:
                if not self.shutdown.requested:
                    # Do not wait for answers here: a hold would last until a stop.
                    raise
                log.warning("stopping while %s", away, extra=event("stopping"))
            self._settle()
            self._commit_last()

    def _leave(self) -> None:
        try:
            self.client.close()
        except BrokerAway as away:
            log.warning(
                "%s: the group notices the end of this consumer when its session expires",
                away,
                extra=event("kafka-away"),
            )

    def run_once(self) -> int:
        """One turn: polls and decodes the next messages while the previous ones are decided.

        Returns how many messages were polled.
        """
        polled = self._fill()
        self._settle()
        self._look_when_due()
        self._place()
        self._submit(self._next_group())
        while self.dead_letters.full and not self.dead_letters.flush_in_turn():
            self.hold = (
                f"Kafka accepts no dead letters, and the memory for them is full. {self._waiting}"
            )
            self.beat()
            self._intake.wait(1.0)
            if self.shutdown.requested:
                break
        self._commit_when_due()
        self.beat()
        return polled

    def _fill(self) -> int:
        """Poll and encode, unless batches are waiting already. Returns the number of messages."""
        if self._ready:
            return 0
        slices = self._intake.poll(0.0 if self._in_flight else POLL_S, self._in_flight)
        if not slices:
            return 0
        if self._intake.topic_replaced():
            self._settle()
            self._ready.clear()
            self._intake.begin_anew()
            return 0
        for part in slices:
            self.look_at(part)
            self._ready += self._intake.encode(part, self._known)
        return sum(len(part.offsets) for part in slices)

    def _next_group(self) -> list[Batch]:
        """The batches to send together: one of each partition, so none overtakes another.

        If the first of two was held and the second decided, the first would count as skipped.
        """
        group: dict[int, Batch] = {}
        for batch in self._ready:
            group.setdefault(batch.partition, batch)
        chosen = list(group.values())
        self._ready = [batch for batch in self._ready if batch not in chosen]
        return chosen

    def _submit(self, batches: list[Batch]) -> None:
        if not batches:
            return
        self._in_flight = batches
        try:
            self.engine.submit(batches)
        except RedisAway as away:
            log.debug("%s; it will be sent again", away, extra=event("redis-away"))

    def _settle(self) -> None:
        """Wait for the answers. What is not decided is held and sent again until it is.

        Returns without an answer only if a stop is requested: then the batch is not committed.
        """
        pause = FIRST_PAUSE_S
        while self._in_flight:
            try:
                if not self.engine.busy:
                    self.engine.submit(self._in_flight)
                reason = self._take(self.engine.collect())
            except RedisAway as away:
                reason = f"{away}. {self._waiting}"
            if reason is None:
                continue
            if self.shutdown.requested:
                log.warning(
                    "stopping during a hold; undecided %s stay in Kafka. %s",
                    *(self.what.lower(), reason),
                    extra=event("stopping"),
                )
                self._in_flight = []
                # No later batch may overtake it: it would count as skipped.
                self._ready.clear()
                return
            self._wait_held(reason, pause)
            pause = min(pause * 2, LONGEST_PAUSE_S)
        if pause > FIRST_PAUSE_S:
            self._go_on()

    def _wait_held(self, reason: str, pause_s: float) -> None:
        """Log why nothing is decided, at once and every TELL_AGAIN_S, and wait as a member."""
        self.hold = reason
        if not self._told_at or time.monotonic() - self._told_at > TELL_AGAIN_S:
            log.error("HOLD: %s", reason, extra=event("held"))
            self._told_at = time.monotonic()
        self.beat()
        self._intake.wait(pause_s)

    def _go_on(self) -> None:
        self.hold = ""
        if self._told_at:
            log.warning("going on: Redis decides again", extra=event("going-on"))
        self._told_at = 0.0

    def _place(self) -> None:
        """Move each partition to the lane's position. Wait if that is unknown."""
        if self._in_flight:
            return
        reason = self._intake.place()
        if reason:
            self._wait_held(f"{reason}. {self._waiting}", PLACE_AGAIN_S)
        elif self.hold:
            self._go_on()
        self._commit_first()

    def _look_when_due(self) -> None:
        """If the lane was rebuilt, go to its positions: some offsets must be decided again."""
        now = time.monotonic()
        if self._in_flight or not self._intake.placed or now - self._looked_at < LOOK_S:
            return
        self._looked_at = now
        try:
            look = self.engine.look(self.source, list(self._intake.placed))
        except RedisAway as away:
            log.debug("no look at the lane: %s", away, extra=event("redis-away"))
            return
        generation = look.claim.generation
        for partition, position in look.positions.items():
            if generation > self._intake.placed[partition].generation:
                self._moved(partition, -1 if position is None else position, generation)

    def _take(self, replies: list[Reply]) -> str | None:
        """Keep what was decided and leave the rest in flight. Returns why it is held, or None."""
        waiting, reason = [], None
        for batch, reply in zip(self._in_flight, replies, strict=True):
            self._known.update(reply.known)
            if reply.status in HOLD_REASONS:
                waiting.append(batch)
                reason = reason or _reason(batch, reply, self.what)
            elif reply.waits:
                waiting.append(batch)
                reason = reason or f"{reply.waits}. {self._waiting}"
            elif reply.status is Status.STALE:
                waiting.append(batch.whole())
            elif reply.status is Status.MOVED:
                batch.generation = reply.generation
                if not self._moved(batch.partition, reply.position, reply.generation):
                    waiting.append(batch)
            else:
                self._decided(batch, reply)
        self._in_flight = waiting
        return reason

    def _decided(self, batch: Batch, reply: Reply) -> None:
        self.dead_letters.park(batch)
        if reply.status is Status.DECIDED:
            self.decided += batch.requests - reply.outcomes.count(b".")
        placed = self._intake.placed.get(batch.partition)
        if placed is not None and batch.source == self.source:
            placed.decided = max(placed.decided, batch.end)

    def _moved(self, partition: int, position: int, generation: int) -> bool:
        """The lane was rebuilt: go to its position. False if it has none (-1) and nothing moved.

        What was decided after that position was lost, so it is read and decided again.
        """
        log.warning(
            "the lane was rebuilt (generation %d): partition %d goes on %s",
            *(generation, partition),
            "where it is" if position < 0 else f"at offset {position}",
            extra=event("lane-rebuilt", partition=partition),
        )
        self._known.clear()
        if position >= 0:
            self._ready = [batch for batch in self._ready if batch.partition != partition]
            self._intake.go_to(partition, position, generation)
            return True
        placed = self._intake.placed.get(partition)
        if placed is not None:
            placed.generation = generation
        for batch in self._ready:
            if batch.partition == partition:
                batch.generation = generation
        return False

    def _commit_first(self) -> None:
        """Commit the first position if the group has no commit yet.

        After a kill the next consumer then reads from there and parks the dead letters again.
        Tried only once: if it fails and a kill follows, nothing but such letters is lost.
        """
        positions = {
            partition: position
            for partition, position in self._positions().items()
            if self._intake.placed[partition].committed < 0
        }
        if positions and not self.client.commit_and_wait(positions, FIRST_COMMIT_S):
            log.debug("the first commit had no answer", extra=event("commit-unanswered"))
        for partition, position in positions.items():
            self._intake.placed[partition].committed = position.offset

    def _commit_when_due(self) -> None:
        now = time.monotonic()
        if now - self._committed_at < COMMIT_INTERVAL_S:
            return
        positions = self._to_commit()
        if not positions:
            return
        if not self.dead_letters.flush_in_turn():
            # Deciding goes on. The letters, and so the commit, are tried again after a pause.
            self._committed_at = time.monotonic() + LETTERS_AGAIN_S
            return
        self.client.commit(positions)
        self._committed_at = now
        for partition, position in positions.items():
            self._intake.placed[partition].committed = position.offset

    def _commit_last(self) -> None:
        positions = self._to_commit()
        if positions and not (
            self.dead_letters.flush() and self.client.commit_and_wait(positions, LAST_COMMIT_S)
        ):
            log.warning(
                "the last commit had no answer; the next consumer skips what is decided",
                extra=event("commit-unanswered"),
            )

    def _to_commit(self) -> dict[int, Position]:
        return {
            partition: position
            for partition, position in self._positions().items()
            if position.offset > self._intake.placed[partition].committed
        }

    def _positions(self) -> dict[int, Position]:
        term = self.engine.claim.term
        return {
            partition: Position(placed.decided, placed.generation, self.source, term)
            for partition, placed in self._intake.placed.items()
        }

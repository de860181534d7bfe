"""From Kafka to batches: what a consumer reads, and where it stands in each partition.

Owns the positions that this consumer holds, and the topic's identity. Decides nothing and commits
nothing. The lane's own position in Redis says where a partition goes on, whatever stands in Kafka:
anybody can commit in the group's name, or reset it. Only a commit of this lane that is further than
Redis counts for more: it proves that Redis went back, and has the script say so.
"""

import logging
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

from seckill import broker
from seckill.batch import Batch, Known, encode
from seckill.engine import Look
from seckill.errors import BrokerAway, ServiceAway
from seckill.events import event
from seckill.shutdown import Shutdown

log = logging.getLogger(__name__)
T = TypeVar("T")

# Seconds between two attempts while Kafka is away.
AGAIN_S = 1.0
# Seconds between two holes of a partition that are told where Kafka has removed nothing.
TELL_HOLES_S = 60.0
# Longest poll while held: a stop is seen after this time at the latest.
LONGEST_POLL_S = 0.25


@dataclass
class Held:
    """A partition of this consumer. `next` is the offset after the last one encoded.

    `decided` is the offset after the last one answered, `generation` the lane's, in which it came
    to hold these offsets; `committed` is the group's commit, -1 where it has none of this topic.
    """

    next: int
    decided: int
    generation: int = 0
    committed: int = -1


@dataclass
class Intake:
    """Reads for one consumer. `held` has its partitions, those that it has read from."""

    client: broker.Consumer
    shutdown: Shutdown
    find_source: Callable[[], str | None]
    # Where the lane stands in partitions of a source. Raises RedisAway.
    find_positions: Callable[[str, Sequence[int]], Look]
    batch_size: int

    source: str = ""
    held: dict[int, Held] = field(default_factory=dict)
    _stash: list[broker.Slice] = field(default_factory=list)
    _changes: int = -1
    # From when on a hole that retention did not make is told again, by partition.
    _holes_told: dict[int, float] = field(default_factory=dict)
    # Assigned partitions that the client does not read from where they stand, as far as we know.
    _unplaced: set[int] = field(default_factory=set)

    def poll(self, timeout_s: float, busy: Iterable[Batch]) -> list[broker.Slice]:
        """Messages, those that came during a hold first; the partitions of `busy` stay held."""
        if self._stash:
            slices, self._stash = self._stash, []
        else:
            slices = self._poll(timeout_s)
        self._notice_assignment({batch.partition for batch in busy})
        self._unplaced |= {part.partition for part in slices} - set(self.held)
        # What is left out comes again, once its partition has its place.
        return [part for part in slices if part.partition not in self._unplaced]

    def wait(self, seconds: float) -> None:
        """Wait while held, and stay a member. What comes all the same is kept for `poll`.

        Inside of polls: kafka-python begins a rejoin anew that ended between two of them.
        """
        deadline = time.monotonic() + seconds
        try:
            while not self.shutdown.requested and (left := deadline - time.monotonic()) > 0:
                # Each time: a rebalance may have brought partitions.
                self.client.pause()
                try:
                    self._stash += self.client.poll(min(left, LONGEST_POLL_S), self.batch_size)
                finally:
                    self.client.resume()
        except BrokerAway as away:
            log.warning("%s, while held", away, extra=event("kafka-away"))
            self.shutdown.wait(deadline - time.monotonic())

    def topic_replaced(self) -> bool:
        """Whether the topic is another one than before: `begin_anew` then.

        Asked after each poll: an id that is the same now was the same when the messages came. The
        clients go on at the old offsets, silently, where a topic was deleted and made again.
        """
        source = self._ask(self._current_source)
        before, self.source = self.source, source
        return before not in ("", source)

    def begin_anew(self) -> None:
        """Read all of the new topic, from the start. What was read of the old one is forgotten."""
        log.warning(
            "the topic was deleted and made again: source %s is new",
            self.source,
            extra=event("topic-replaced"),
        )
        self._stash.clear()
        _, partitions = self.client.assignments()
        # Nothing else stays: an offset of the old topic must not be committed for the new one.
        self.held = {partition: Held(0, 0) for partition in partitions}
        self._unplaced = set(partitions)

    def go_to(self, partition: int, position: int, generation: int) -> None:
        """Read on from there, in this generation of the lane."""
        self._stash = [part for part in self._stash if part.partition != partition]
        self.held[partition] = Held(position, position, generation)
        self._unplaced.add(partition)

    def encode(self, part: broker.Slice, known: Mapping[int, Known]) -> list[Batch]:
        """The batches of a slice, none longer than `batch_size`."""
        held = self.held[part.partition]
        # Read again from an earlier offset: a redelivery.
        start = min(held.next, part.offsets[0])
        if part.offsets[-1] - start >= len(part.offsets):
            self._tell_holes(part.partition, start, part.offsets)
        batches = []
        for low in range(0, len(part.offsets), self.batch_size):
            high = low + self.batch_size
            batch = encode(
                self.source,
                part.partition,
                start,
                part.offsets[low:high],
                part.values[low:high],
                generation=held.generation,
                known=known,
                traces=part.traces,
            )
            start = batch.end
            batches.append(batch)
        held.next = start
        return batches

    def _tell_holes(self, partition: int, start: int, offsets: Sequence[int]) -> None:
        """Offsets from `start` on that the consumer does not get to see; why, as far as is known.

        What was lost is told each time, the rest seldom: a transaction has its marker each time.
        """
        ends = [start, *(offset + 1 for offset in offsets)]
        holes = [(end, at) for end, at in zip(ends, offsets, strict=False) if at > end]
        try:
            oldest = self.client.oldest(partition)
        except BrokerAway as away:
            self._tell_hole(partition, holes[0], f"why, cannot be said now: {away}")
            return
        removed = [hole for hole in holes if hole[0] < oldest]
        for hole in removed:
            why = f"retention: Kafka keeps this partition from offset {oldest} on"
            self._tell_hole(partition, hole, why)
        now = time.monotonic()
        if not removed and now >= self._holes_told.get(partition, now):
            self._holes_told[partition] = now + TELL_HOLES_S
            why = "Kafka has removed nothing by its age: markers or aborted messages of "
            why += "transactions, compacted, or passed over by another program's commit"
            self._tell_hole(partition, holes[0], why)

    def _tell_hole(self, partition: int, hole: tuple[int, int], why: str) -> None:
        begin, end = hole
        log.warning(
            "partition %d: offsets %d to %d bring no requests (%s): %d are counted as skipped, "
            "unless they were decided before",
            *(partition, begin, end - 1, why, end - begin),
            extra=event("offsets-lost", partition=partition),
        )

    def _poll(self, timeout_s: float) -> list[broker.Slice]:
        try:
            return self.client.poll(timeout_s, self.batch_size)
        except BrokerAway as away:
            log.warning("%s; waiting for it, nothing is lost", away, extra=event("kafka-away"))
            self.shutdown.wait(AGAIN_S)
            return []

    def _notice_assignment(self, busy: set[int]) -> None:
        """After a change all is read anew: the clients go on at the group's commit, silently.

        A partition whose answers are awaited stays held: all before its `next` is sent.
        """
        changes, partitions = self.client.assignments()
        if changes == self._changes:
            return
        self._changes = changes
        log.info("assigned partitions: %s", sorted(partitions) or "none", extra=event("assigned"))
        for partition in set(self.held) - busy:
            del self.held[partition]
        self._stash.clear()
        self._unplaced = set(partitions)
        try:
            # librdkafka keeps a partition paused that was taken away in a hold, when it comes back.
            self.client.resume()
        except BrokerAway as away:
            # Taken away again: the next change is noticed too.
            log.warning("%s, while resuming", away, extra=event("kafka-away"))

    def place(self) -> str:
        """Have the client read on from where each partition stands; what cannot be, later.

        Only while no answers are awaited. Why a partition has no place yet, in words; "" all have.
        """
        for partition in sorted(self._unplaced):
            try:
                self.source = self.source or self._current_source()
                held = self.held.get(partition) or self._found(partition)
            except ServiceAway as away:
                return f"partition {partition} waits for its place: {away}"
            try:
                self.client.seek(partition, held.next)
            except BrokerAway as away:
                # Taken away just now, or the client has not begun to read it.
                log.debug("partition %d: %s", partition, away, extra=event("library"))
                continue
            self.held[partition] = held
            self._unplaced.discard(partition)
            self._stash = [part for part in self._stash if part.partition != partition]
        return ""

    def _found(self, partition: int) -> Held:
        """Where the lane stands in a partition. Raises BrokerAway, RedisAway."""
        committed = self.client.committed(partition)
        look = self.find_positions(self.source, [partition])
        begin = look.positions[partition] or 0
        generation = look.claim.generation
        if committed is None or committed.source != self.source:
            # A commit of somebody else is overwritten at once: tools that look at the group read
            # it.
            return Held(begin, begin, generation)
        if committed.generation == generation:
            # Further than Redis: the script is to find out that Redis went back.
            begin = max(begin, committed.offset)
        # Less far: who decided the rest may have been killed before its dead letters were sent.
        begin = min(begin, committed.offset)
        return Held(begin, begin, generation, committed=committed.offset)

    def _current_source(self) -> str:
        """The topic's source; the one known so far while there is no topic. Raises BrokerAway."""
        source = self.find_source() or self.source
        if not source:
            raise BrokerAway("the topic does not exist")
        return source

    def _ask(self, question: Callable[[], T]) -> T:
        """An answer of Kafka, waited for. Raises BrokerAway only when a stop is asked for."""
        while True:
            try:
                return question()
            except BrokerAway as away:
                if self.shutdown.requested:
                    raise
                log.warning("%s; asking again, nothing is lost", away, extra=event("kafka-away"))
                self.shutdown.wait(AGAIN_S)

"""From Kafka to batches: what a consumer reads, and its position in each partition.

Owns the positions of this consumer's partitions, and the topic's id. Decides and commits nothing. A
partition goes on at the lane's own position in Redis, whatever the commit in Kafka is: anybody can
commit in the group's name, or reset the group. There is one exception: a commit of this lane beyond
Redis's position. It proves that Redis went back in time, and makes the script find that out.
"""

import logging
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol, TypeVar

from seckill import broker
from seckill.consumer.batch import Batch, Known, encode
from seckill.consumer.engine import Look
from seckill.errors import BrokerAway, ServiceAway
from seckill.process.events import event
from seckill.process.shutdown import Shutdown

log = logging.getLogger(__name__)
T = TypeVar("T")

# Seconds between two attempts while Kafka is away.
AGAIN_S = 1.0
# Seconds until holes of a partition are logged again, if Kafka has removed nothing.
TELL_HOLES_S = 60.0
# The longest poll during a hold, in seconds: a stop is noticed after this time at the latest.
LONGEST_POLL_S = 0.25


class Encode(Protocol):
    """Makes a batch of messages of one partition: see `seckill.consumer.batch.encode`."""

    def __call__(
        self,
        source: str,
        partition: int,
        start: int,
        offsets: Sequence[int],
        values: Sequence[bytes | None],
        *,
        generation: int = 0,
        known: Mapping[int, Known] = ...,
        traces: Mapping[int, str] = ...,
    ) -> Batch:
        """Raises nothing for a message: what is none is INVALID."""


@dataclass
class Placed:
    """A partition of this consumer. `next` is the offset after the last one encoded.

    `decided` is the offset after the last one answered. `generation` is the lane's when the
    consumer got these offsets. `committed` is the group's commit, -1 if it has none of this topic.
    """

    next: int
    decided: int
    generation: int = 0
    committed: int = -1


@dataclass
class Intake:
    """Reads for one consumer. `placed` has the partitions that it has a position for."""

    client: broker.Consumer
    shutdown: Shutdown
    find_source: Callable[[], str | None]
    # The lane's claim and its positions in a source's partitions. Raises RedisAway.
    find_positions: Callable[[str, Sequence[int]], Look]
    batch_size: int
    pack: Encode = encode

    source: str = ""
    placed: dict[int, Placed] = field(default_factory=dict)
    _stash: list[broker.Slice] = field(default_factory=list)
    _changes: int = -1
    # When a hole that retention did not make may be logged again, by partition.
    _holes_told: dict[int, float] = field(default_factory=dict)
    # Assigned partitions that the client does not read from the lane's position yet.
    _unplaced: set[int] = field(default_factory=set)

    def poll(self, timeout_s: float, busy: Iterable[Batch]) -> list[broker.Slice]:
        """Messages, first those that came during a hold. Partitions in `busy` keep their place."""
        if self._stash:
            slices, self._stash = self._stash, []
        else:
            slices = self._poll(timeout_s)
        self._notice_assignment({batch.partition for batch in busy})
        self._unplaced |= {part.partition for part in slices} - set(self.placed)
        # What is dropped here is read again when its partition has a position.
        return [part for part in slices if part.partition not in self._unplaced]

    def wait(self, seconds: float) -> None:
        """Wait during a hold, and stay a member. Messages that arrive are kept for `poll`.

        The time is spent in polls: kafka-python restarts a rejoin that ended between two polls.
        """
        deadline = time.monotonic() + seconds
        try:
            while not self.shutdown.requested and (left := deadline - time.monotonic()) > 0:
                # In each round: a rebalance may have brought partitions.
                self.client.pause()
                try:
                    self._stash += self.client.poll(min(left, LONGEST_POLL_S), self.batch_size)
                finally:
                    self.client.resume()
        except BrokerAway as away:
            log.warning("%s, during a hold", away, extra=event("kafka-away"))
            self.shutdown.wait(deadline - time.monotonic())

    def topic_replaced(self) -> bool:
        """Whether the topic was replaced: then call `begin_anew`.

        Asked after each poll: if the id has not changed, the messages are of this topic. When a
        topic is deleted and created again, the clients silently go on at the old offsets.
        """
        source = self._ask(self._current_source)
        before, self.source = self.source, source
        return before not in ("", source)

    def begin_anew(self) -> None:
        """Read the whole new topic from its start. What was read of the old one is dropped."""
        log.warning(
            "the topic was deleted and created again: source %s is new",
            self.source,
            extra=event("topic-replaced"),
        )
        self._stash.clear()
        _, partitions = self.client.assignments()
        # Nothing else is kept: an offset of the old topic must not be committed for the new one.
        self.placed = {partition: Placed(0, 0) for partition in partitions}
        self._unplaced = set(partitions)

    def go_to(self, partition: int, position: int, generation: int) -> None:
        """Read on from there, in this generation of the lane."""
        self._stash = [part for part in self._stash if part.partition != partition]
        self.placed[partition] = Placed(position, position, generation)
        self._unplaced.add(partition)

    def encode(self, part: broker.Slice, known: Mapping[int, Known]) -> list[Batch]:
        """The batches of a slice, each of at most `batch_size` messages."""
        placed = self.placed[part.partition]
        # An earlier offset is a redelivery.
        start = min(placed.next, part.offsets[0])
        if part.offsets[-1] - start >= len(part.offsets):
            self._tell_holes(part.partition, start, part.offsets)
        batches = []
        for low in range(0, len(part.offsets), self.batch_size):
            high = low + self.batch_size
            batch = self.pack(
                self.source,
                part.partition,
                start,
                part.offsets[low:high],
                part.values[low:high],
                generation=placed.generation,
                known=known,
                traces=part.traces,
            )
            start = batch.end
            batches.append(batch)
        placed.next = start
        return batches

    def _tell_holes(self, partition: int, start: int, offsets: Sequence[int]) -> None:
        """Log offsets from `start` on that the consumer cannot see, and why, as far as is known.

        Lost requests are logged every time, the rest rarely: each transaction has a marker.
        """
        ends = [start, *(offset + 1 for offset in offsets)]
        holes = [(end, at) for end, at in zip(ends, offsets, strict=False) if at > end]
        try:
            oldest = self.client.oldest(partition)
        except BrokerAway as away:
            self._tell_hole(partition, holes[0], f"the reason is unknown now: {away}")
            return
        removed = [hole for hole in holes if hole[0] < oldest]
        for hole in removed:
            why = f"retention: Kafka keeps this partition from offset {oldest} on"
            self._tell_hole(partition, hole, why)
        now = time.monotonic()
        if not removed and now >= self._holes_told.get(partition, now):
            self._holes_told[partition] = now + TELL_HOLES_S
            why = "Kafka has removed nothing by its age: transaction markers or aborted messages, "
            why += "compacted messages, or offsets passed over by another program's commit"
            self._tell_hole(partition, holes[0], why)

    def _tell_hole(self, partition: int, hole: tuple[int, int], why: str) -> None:
        begin, end = hole
        log.warning(
            "partition %d: offsets %d to %d hold no requests (%s): %d are counted as skipped, "
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
        """After a rebalance read all again: the clients silently go on at the group's commit.

        A partition in `busy` keeps its place: everything before its `next` has been sent.
        """
        changes, partitions = self.client.assignments()
        if changes == self._changes:
            return
        self._changes = changes
        log.info("assigned partitions: %s", sorted(partitions) or "none", extra=event("assigned"))
        for partition in set(self.placed) - busy:
            del self.placed[partition]
        self._stash.clear()
        self._unplaced = set(partitions)
        try:
            # librdkafka keeps a partition paused that was reassigned during a hold and came back.
            self.client.resume()
        except BrokerAway as away:
            # Reassigned again: the next change is noticed too.
            log.warning("%s, while resuming reading", away, extra=event("kafka-away"))

    def place(self) -> str:
        """Move the client to each partition's position; partitions that fail are tried later.

        Only while no calls are in flight. Why a partition has no position yet; "" if all have one.
        """
        for partition in sorted(self._unplaced):
            try:
                self.source = self.source or self._current_source()
                placed = self.placed.get(partition) or self._found(partition)
            except ServiceAway as away:
                return f"the position of partition {partition} is not known yet: {away}"
            try:
                self.client.seek(partition, placed.next)
            except BrokerAway as away:
                # It was just reassigned, or the client has not begun to read it.
                log.debug("partition %d: %s", partition, away, extra=event("library"))
                continue
            self.placed[partition] = placed
            self._unplaced.discard(partition)
            self._stash = [part for part in self._stash if part.partition != partition]
        return ""

    def _found(self, partition: int) -> Placed:
        """The lane's position in a partition. Raises BrokerAway, RedisAway."""
        committed = self.client.committed(partition)
        look = self.find_positions(self.source, [partition])
        begin = look.positions[partition] or 0
        generation = look.claim.generation
        if committed is None or committed.source != self.source:
            # Another program's commit is overwritten at once, for tools that look at the group.
            return Placed(begin, begin, generation)
        if committed.generation == generation:
            # Beyond Redis's position: the script shall find out that Redis went back.
            begin = max(begin, committed.offset)
        # Before it: the consumer that decided the rest may have been killed before its dead letters
        # were sent.
        begin = min(begin, committed.offset)
        return Placed(begin, begin, generation, committed=committed.offset)

    def _current_source(self) -> str:
        """The topic's id; the last known one if there is no topic now. Raises BrokerAway."""
        source = self.find_source() or self.source
        if not source:
            raise BrokerAway("the topic does not exist")
        return source

    def _ask(self, question: Callable[[], T]) -> T:
        """Kafka's answer, however long it takes. Raises BrokerAway only if a stop is requested."""
        while True:
            try:
                return question()
            except BrokerAway as away:
                if self.shutdown.requested:
                    raise
                log.warning("%s; asking again, nothing is lost", away, extra=event("kafka-away"))
                self.shutdown.wait(AGAIN_S)

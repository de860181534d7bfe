"""The topic and its consumer group, in memory: the one service that the search replaces.

Only Kafka's log and its commits matter to what the search looks for, and a real rebalance takes
seconds. A `Member` is a `broker.Consumer`, so placing and re-placing are the product's own code.
What is kept of Kafka: offsets with holes that no consumer sees, read-ahead that goes on at the
group's commit after each rebalance, commits of strangers (without our metadata), and the refusal
of commits from members that the group has given up.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from seckill.broker import Position, Slice
from seckill.consumer.batch import Batch
from seckill.errors import BrokerAway
from tests.helpers.sale import now_ms


class TurnOver(BaseException):
    """A consumer that holds has nothing to wait for: everybody else waits for its turn to end."""


class _Hole:
    """An offset that holds no message: a transaction's marker, or compacted."""


HOLE: Final = _Hole()
Message = bytes | None | _Hole


@dataclass
class Topic:
    """Messages by partition, the group's commits, its members in the order of their coming."""

    source: str
    partitions: int
    log: list[list[Message]] = field(default_factory=list)
    commits: dict[int, Position] = field(default_factory=dict)
    members: list["Member"] = field(default_factory=list)
    rebalances: int = 0

    def __post_init__(self) -> None:
        self.log = [[] for _ in range(self.partitions)]

    def append(self, partition: int, message: Message) -> int:
        """The offset that it gets."""
        self.log[partition].append(message)
        return len(self.log[partition]) - 1

    def committed(self) -> dict[int, Position]:
        """As `Topics.committed`: a partition without a commit stands at 0."""
        return {p: self.commits.get(p, Position(0)) for p in range(self.partitions)}

    def commit_by_hand(self, partition: int, offset: int) -> None:
        """A commit without our metadata: of another program, which has to come into the group for
        it, or of somebody's hand, for which nobody may be there. Either way all is shared out anew.
        """
        self.commits[partition] = Position(offset)
        self.rebalances += 1

    def join(self, member: "Member") -> None:
        """A member comes, or comes back: partitions are shared out anew."""
        self.members.append(member)
        self.rebalances += 1

    def leave(self, member: "Member") -> None:
        """A member goes, or its session ends; it may not know."""
        if member in self.members:
            self.members.remove(member)
            self.rebalances += 1

    def shared_out(self, member: "Member") -> frozenset[int]:
        """The partitions of a member now."""
        place, number = self.members.index(member), len(self.members)
        return frozenset(range(place, self.partitions, number))


@dataclass(frozen=True)
class Stood:
    """A message as `TopicReader` brings it."""

    at: int
    body: bytes

    def offset(self) -> int:
        """Its place."""
        return self.at

    def value(self) -> bytes:
        """What it says."""
        return self.body

    def timestamp(self) -> tuple[int, int]:
        """(kind, ms)."""
        return 1, 0


@dataclass(frozen=True)
class Reader:
    """A `TopicReader`, as a recovery reads the topic."""

    topic: Topic

    @property
    def source(self) -> str:
        """The topic's identity."""
        return self.topic.source

    def messages(self, partition: int, end: int, first: int = 0) -> Iterator[list[Stood]]:
        """See `TopicReader`."""
        log = self.topic.log[partition][first:end]
        yield [Stood(first + at, body) for at, body in enumerate(log) if isinstance(body, bytes)]


class Member:
    """`broker.Consumer` over a `Topic`. A poll never waits: it raises TurnOver in a hold."""

    def __init__(self, topic: Topic) -> None:
        self._topic = topic
        self._assigned: frozenset[int] = frozenset()
        self._changes = 0
        self._seen = -1
        self._next: dict[int, int] = {}
        self._paused: frozenset[int] = frozenset()
        self._waiting = False
        topic.join(self)

    def poll(self, timeout_s: float, max_messages: int) -> list[Slice]:
        """See `broker.Consumer`."""
        self._notice()
        slices = []
        for partition in sorted(self._assigned - self._paused):
            part = self._read(partition, max_messages)
            if part.offsets:
                slices.append(part)
                max_messages -= len(part.offsets)
            if max_messages <= 0:
                break
        if self._waiting and not slices:
            raise TurnOver
        return slices

    def committed(self, partition: int) -> Position | None:
        """See `broker.Consumer`."""
        return self._topic.commits.get(partition)

    def commit(self, positions: Mapping[int, Position]) -> None:
        """See `broker.Consumer`. Refused, silently, where the group has gone on without it."""
        if self._seen == self._topic.rebalances:
            self._topic.commits.update(positions)

    def commit_and_wait(self, positions: Mapping[int, Position], timeout_s: float) -> bool:
        """See `broker.Consumer`."""
        self.commit(positions)
        return True

    def assignments(self) -> tuple[int, frozenset[int]]:
        """See `broker.Consumer`: as this member knows it."""
        return self._changes, self._assigned

    def pause(self) -> None:
        """See `broker.Consumer`. Only a consumer that holds asks for it."""
        self._paused, self._waiting = self._assigned, True

    def resume(self) -> None:
        """See `broker.Consumer`."""
        self._paused, self._waiting = frozenset(), False

    def seek(self, partition: int, offset: int) -> None:
        """See `broker.Consumer`."""
        if partition not in self._assigned:
            raise BrokerAway(f"partition {partition} is not assigned")
        self._next[partition] = offset

    def close(self) -> None:
        """See `broker.Consumer`."""
        self._topic.leave(self)

    def _notice(self) -> None:
        """What a poll finds out: a rebalance, or that the group has given this member up."""
        if self not in self._topic.members:
            self._topic.join(self)
        if self._seen == self._topic.rebalances:
            return
        self._seen = self._topic.rebalances
        self._changes += 1
        self._assigned = self._topic.shared_out(self)
        self._paused &= self._assigned
        committed = self._topic.committed()
        self._next = {p: committed[p].offset for p in self._assigned}

    def _read(self, partition: int, most: int) -> Slice:
        part = Slice(partition, [], [])
        log = self._topic.log[partition]
        offset = self._next[partition]
        while offset < len(log) and len(part.offsets) < most:
            message = log[offset]
            if not isinstance(message, _Hole):
                part.offsets.append(offset)
                part.values.append(message)
            offset += 1
        self._next[partition] = offset
        return part


class Letters:
    """Stands where INVALID messages are sent to: they go nowhere, and are acknowledged."""

    full = False

    def park(self, batch: Batch) -> None:
        """See `DeadLetters`."""

    def flush(self) -> bool:
        """See `DeadLetters`."""
        return True

    flush_in_turn = flush


def body(user: int, wanted: dict[int, int]) -> bytes:
    """A message, of now."""
    items = {str(item): quantity for item, quantity in wanted.items()}
    return json.dumps(
        {"user_id": user, "items": items, "request_initiation_time": now_ms()}
    ).encode()


def words(requests: Sequence[tuple[int, dict[int, int]]]) -> str:
    """Requests for the story."""
    return ", ".join(f"user {user} wants {wanted or 'nothing'}" for user, wanted in requests)

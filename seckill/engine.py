"""The engine: batches of requests to `decide_batch.lua`, and its answers back.

Owns the encoding of a batch, the one connection that scripts run on, and the decision of what a
failed call means. One group of calls can be in flight while the caller polls and decodes the next
one. Every call may be repeated: the script knows what it has decided by the stored position.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import IntEnum

import msgspec
import redis
from redis.backoff import NoBackoff
from redis.connection import AbstractConnection
from redis.retry import Retry

from seckill import scripts
from seckill.decode import decode
from seckill.errors import Poison, RedisAway
from seckill.keys import Lane, position_field
from seckill.wire import Outcome

# Seconds that a script may take before the connection counts as lost and the call is repeated.
SCRIPT_TIMEOUT_S = 30.0
# Seconds to wait for a connection.
CONNECT_TIMEOUT_S = 5.0
# What Redis says when it cannot do the work now, and may later: full, loading, read-only, no disk.
TRANSIENT_REPLIES = (
    "OOM",
    "LOADING",
    "READONLY",
    "MISCONF",
    "MASTERDOWN",
    "CLUSTERDOWN",
    "TRYAGAIN",
    "NOREPLICAS",
    "BUSY",
    "UNKILLABLE",
    "max number of clients",
)

_pack = msgspec.msgpack.Encoder().encode
_to_json = msgspec.json.encode

# A request's outcome by the byte that stands for it in the script's answer.
OUTCOME_OF_DIGIT = {
    ord("0") + (0 if outcome is Outcome.ACCEPTED else -outcome): outcome for outcome in Outcome
}


class Status(IntEnum):
    """What the script did with a batch. The script's header repeats the numbers."""

    DECIDED = 1
    DUPLICATE = 2
    REWOUND = -1
    NOT_LOADED = -2


@dataclass(frozen=True, slots=True)
class Invalid:
    """A message that is no request: to be parked with its reason."""

    offset: int
    value: bytes | None
    reason: str


@dataclass(slots=True, eq=False)
class Batch:
    """Offsets `start` to `end` - 1 of one partition, encoded for the script."""

    source: str
    partition: int
    start: int
    end: int
    blob: bytes
    activities: list[int]
    requests: int
    invalid: list[Invalid] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Reply:
    """The script's answer. `position` is the next offset to decide; `outcomes` as in its header."""

    status: Status
    position: int
    outcomes: bytes = b""
    now_ms: int = 0
    versions: tuple[int, ...] = ()

    def count(self, outcome: Outcome) -> int:
        """Requests of the batch that got this outcome now."""
        digit = 0 if outcome is Outcome.ACCEPTED else -outcome
        return self.outcomes.count(b"%d" % digit)


def encode(
    source: str,
    partition: int,
    start: int,
    offsets: Sequence[int],
    values: Sequence[bytes | None],
) -> Batch:
    """One batch from messages in the order of their offsets, the first one at `start` or later.

    Offsets that are missing between `start` and the last one become holes, which the script counts.
    """
    flat: list[int | str] = []
    invalid: list[Invalid] = []
    activities: dict[int, int] = {}
    expected = start
    for offset, value in zip(offsets, values, strict=True):
        if offset != expected:
            flat.append(expected - offset)
        expected = offset + 1
        try:
            request = decode(value)
        except Poison as poison:
            flat.append(0)
            invalid.append(Invalid(offset, value, str(poison)))
            continue
        activity = request.activity
        index = activities.get(activity)
        if index is None:
            index = activities[activity] = len(activities) + 1
        request_id = _to_json(request.request_id).decode() if request.request_id else ""
        items = request.items
        flat += (
            len(items),
            index,
            str(request.user_id),
            request.request_initiation_time,
            request_id,
        )
        for item, quantity in items.items():
            flat += (str(item), quantity)
    return Batch(
        source=source,
        partition=partition,
        start=start,
        end=expected,
        blob=_pack(flat),
        activities=list(activities),
        requests=len(values),
        invalid=invalid,
    )


def skip(source: str, partition: int, start: int, end: int) -> Batch:
    """A batch that decides nothing and moves the position: its offsets count as skipped."""
    return Batch(source, partition, start, end, _pack([start - end]), [], 0)


class Engine:
    """Runs decide_batch on one connection of its own. Not for use by several threads."""

    def __init__(self, redis_url: str, lane: Lane, default_timeout_ms: int | None = None) -> None:
        self.lane = lane
        self._timeout_ms = str(default_timeout_ms or 0)
        pool = redis.ConnectionPool.from_url(
            redis_url,
            socket_timeout=SCRIPT_TIMEOUT_S,
            socket_connect_timeout=CONNECT_TIMEOUT_S,
            retry=Retry(NoBackoff(), 0),
        )
        connection = pool.make_connection()
        assert isinstance(connection, AbstractConnection)
        self._connection = connection
        self._script = scripts.load("decide_batch")
        self._in_flight: list[Batch] = []

    @property
    def busy(self) -> bool:
        """Whether answers are to be collected."""
        return bool(self._in_flight)

    def submit(self, batches: Sequence[Batch]) -> None:
        """Send the calls, do not wait for answers. Raises RedisAway: nothing is in flight."""
        if self._in_flight:
            raise RuntimeError("the calls before have not been collected")
        try:
            self._connection.send_packed_command(
                self._connection.pack_commands([self._command(batch) for batch in batches])
            )
        except (redis.ConnectionError, redis.TimeoutError, OSError) as lost:
            self._lose(lost)
        except redis.RedisError as refused:
            self._judge(refused)
        self._in_flight = list(batches)

    def collect(self) -> list[Reply]:
        """The answers to what was submitted, in its order.

        Raises RedisAway when any of them is missing: nothing is known then, and all are to be
        submitted again.
        """
        batches, self._in_flight = self._in_flight, []
        answers: list[object] = []
        try:
            for _ in batches:
                try:
                    answers.append(self._connection.read_response())
                except redis.ResponseError as refused:
                    answers.append(refused)
        except (redis.ConnectionError, redis.TimeoutError, OSError) as lost:
            self._lose(lost)
        if any(isinstance(answer, redis.exceptions.NoScriptError) for answer in answers):
            self._register()
            self.submit(batches)
            return self.collect()
        return [self._reply(answer) for answer in answers]

    def decide(self, batches: Sequence[Batch]) -> list[Reply]:
        """Submit and collect."""
        self.submit(batches)
        return self.collect()

    def close(self) -> None:
        """Close the connection."""
        self._in_flight = []
        self._connection.disconnect()

    def _command(self, batch: Batch) -> tuple[object, ...]:
        lane = self.lane
        keys = [lane.list, lane.activities, lane.positions, lane.stats]
        for activity in batch.activities:
            names = lane.activity(activity)
            keys += [names.state, names.stock, names.stats, names.buyers]
        return (
            "EVALSHA",
            self._script.sha,
            len(keys),
            *keys,
            position_field(batch.source, batch.partition),
            batch.start,
            batch.end,
            self._timeout_ms,
            f'"source":"{batch.source}","partition":{batch.partition}',
            batch.blob,
            *batch.activities,
        )

    def _register(self) -> None:
        try:
            self._connection.send_command("SCRIPT", "LOAD", self._script.text)
            self._connection.read_response()
        except (redis.ConnectionError, redis.TimeoutError, OSError) as lost:
            self._lose(lost)
        except redis.ResponseError as refused:
            self._judge(refused)

    def _lose(self, lost: Exception) -> None:
        self._connection.disconnect()
        self._in_flight = []
        if isinstance(lost, redis.AuthenticationError):
            raise RedisAway(f"it refuses the user or password ({lost})") from None
        raise RedisAway(lost) from None

    def _judge(self, refused: Exception) -> None:
        if is_transient(refused):
            raise RedisAway(refused) from None
        raise refused

    def _reply(self, answer: object) -> Reply:
        if isinstance(answer, Exception):
            self._judge(answer)
        assert isinstance(answer, list)
        status, position, outcomes, now_ms, *activities = answer
        return Reply(
            status=Status(status),
            position=int(position),
            outcomes=bytes(outcomes),
            now_ms=int(now_ms),
            versions=tuple(int(version or 0) for version in activities[::2]),
        )


def is_transient(refused: Exception) -> bool:
    """Whether an error of Redis says: not now. Everything else that it refuses is a bug of ours."""
    if isinstance(refused, redis.ConnectionError | redis.TimeoutError | OSError):
        return True
    if isinstance(refused, redis.exceptions.OutOfMemoryError | redis.exceptions.ReadOnlyError):
        return True
    text = str(refused)
    return any(word in text for word in TRANSIENT_REPLIES)

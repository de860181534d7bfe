"""The engine: batches of requests to `decide_batch.lua`, and its answers back.

Owns the one connection that scripts run on, and the decision of what a failed call means. One
group of calls can be in flight while the caller polls and decodes the next one. Every call may be
repeated: the script knows what it has decided by the stored position.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import IntEnum

import redis
from redis.backoff import NoBackoff
from redis.connection import AbstractConnection
from redis.retry import Retry

from seckill import scripts
from seckill.batch import Batch, Known
from seckill.errors import RedisAway
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
    "MISCONF",
    "NOREPLICAS",
    "BUSY",
    "UNKILLABLE",
    "max number of clients",
)

# A request's outcome by the byte that stands for it in the script's answer.
OUTCOME_OF_DIGIT = {
    ord("0") + (0 if outcome is Outcome.ACCEPTED else -outcome): outcome for outcome in Outcome
}


# Values that the script tells of each activity.
TOLD = 3
NONE: frozenset[int] = frozenset()


class Status(IntEnum):
    """What the script did with a batch. The script's header repeats the numbers."""

    DECIDED = 1
    DUPLICATE = 2
    REWOUND = -1
    NOT_LOADED = -2
    MOVED = -3
    STALE = -4
    FENCED = -5


@dataclass(frozen=True, slots=True)
class Reply:
    """The script's answer. `position` is the next offset to decide; `outcomes` as in its header.

    `why` is the reason of FENCED. `known` has what it told of each activity of the batch.
    """

    status: Status
    position: int
    outcomes: bytes = b""
    now_ms: int = 0
    generation: int = 0
    why: str = ""
    known: Mapping[int, Known] = field(default_factory=dict)

    def count(self, outcome: Outcome) -> int:
        """Requests of the batch that got this outcome now, the counted losers left out."""
        digit = 0 if outcome is Outcome.ACCEPTED else -outcome
        return self.outcomes.count(b"%d" % digit)


class Engine:
    """Runs decide_batch on one connection of its own. Not for use by several threads."""

    def __init__(
        self,
        redis_url: str,
        lane: Lane,
        default_timeout_ms: int | None = None,
        on_connect: Callable[[], None] = lambda: None,
    ) -> None:
        """`on_connect` is called with each new connection, before it carries the first script.

        It may raise RedisAway: nothing is sent then.
        """
        self.lane = lane
        self._on_connect = on_connect
        self._connected = False
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
            if not self._connected:
                self._connection.connect()
                self._on_connect()
                self._connected = True
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
        return [self._reply(batch, answer) for batch, answer in zip(batches, answers, strict=True)]

    def decide(self, batches: Sequence[Batch]) -> list[Reply]:
        """Submit and collect."""
        self.submit(batches)
        return self.collect()

    def close(self) -> None:
        """Close the connection."""
        self._in_flight = []
        self._connected = False
        self._connection.disconnect()

    def _command(self, batch: Batch) -> tuple[object, ...]:
        lane = self.lane
        keys = [lane.list, lane.activities, lane.positions, lane.stats, lane.state]
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
            batch.generation,
            self._timeout_ms,
            f'"source":"{batch.source}","partition":{batch.partition}',
            batch.blob,
            batch.losers,
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
        self._connected = False
        self._in_flight = []
        if isinstance(lost, redis.AuthenticationError):
            raise RedisAway(f"it refuses the user or password ({lost})") from None
        raise RedisAway(lost) from None

    def _judge(self, refused: Exception) -> None:
        if is_elsewhere(refused):
            # A new connection finds the master, and is compared with what was decided.
            self._lose(refused)
        if is_transient(refused):
            raise RedisAway(refused) from None
        raise refused

    def _reply(self, batch: Batch, answer: object) -> Reply:
        if isinstance(answer, Exception):
            self._judge(answer)
        assert isinstance(answer, list)
        status, position, outcomes, now_ms, generation, *told = answer
        fenced = status == Status.FENCED
        return Reply(
            status=Status(status),
            position=int(position),
            outcomes=b"" if fenced else bytes(outcomes),
            now_ms=int(now_ms),
            generation=int(generation),
            why=bytes(outcomes).decode() if fenced else "",
            known=_known(batch, told),
        )


def _known(batch: Batch, told: Sequence[bytes]) -> dict[int, Known]:
    """What the answer tells of the batch's activities; nothing of those that it did not look at."""
    known = {}
    for index, activity in enumerate(batch.activities[: len(told) // TOLD]):
        version, over, gone = told[TOLD * index : TOLD * (index + 1)]
        if version:
            items = frozenset(map(int, gone.split(b","))) if gone else NONE
            known[activity] = Known(int(version), bool(over), items)
    return known


def is_elsewhere(refused: Exception) -> bool:
    """Whether it says that this server is not, or not now, the one to ask: a failover."""
    return isinstance(
        refused,
        redis.exceptions.ReadOnlyError
        | redis.exceptions.ClusterDownError
        | redis.exceptions.TryAgainError,
    )


def is_transient(refused: Exception) -> bool:
    """Whether an error of Redis says: not now. Everything else that it refuses is a bug of ours."""
    if isinstance(refused, redis.ConnectionError | redis.TimeoutError | OSError):
        return True
    if is_elsewhere(refused) or isinstance(refused, redis.exceptions.OutOfMemoryError):
        return True
    text = str(refused)
    return any(word in text for word in TRANSIENT_REPLIES)

"""The engine: sends batches to `decide_batch.lua` and returns its answers.

Owns the one connection for scripts, and what a failed call means. One group of calls can be in
flight while the caller polls and decodes the next one. Every call may be repeated: the stored
position tells the script what it has decided already.

With `replicas` an answer counts only when so many replicas have the batch. Redis has decided it by
then, and whoever reads its board may know.
"""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Any, NoReturn, Protocol

import redis
from redis.connection import AbstractConnection

from seckill.consumer.batch import Batch, Known
from seckill.errors import RedisAway
from seckill.formats.outcomes import Outcome, digit_of
from seckill.lane import scripts
from seckill.lane.client import is_elsewhere, judged, no_retry
from seckill.lane.keys import Lane, position_field
from seckill.lane.pools import pool
from seckill.postgres.lease import CLAIM_FIELDS, Claim, NotLeading, claim_of

# Seconds that a script may take. Then the connection counts as lost, and the call is repeated.
SCRIPT_TIMEOUT_S = 30.0
# Seconds to wait for a connection.
CONNECT_TIMEOUT_S = 5.0
# Values per activity in the script's answer.
TOLD = 4
NONE: frozenset[int] = frozenset()


class NotAcknowledged(RedisAway):
    """Transient: the batches are decided, but too few replicas have them."""

    def __init__(self, found: int, wanted: int, within_ms: int) -> None:
        super().__init__(
            f"{found} of {wanted} replicas have it within {within_ms:,} ms "
            "(redis_replicas_acknowledge)",
            "has decided what too few replicas have",
        )


class Status(IntEnum):
    """What the script did with a batch. The script's header repeats the numbers."""

    DECIDED = 1
    DUPLICATE = 2
    REWOUND = -1
    NOT_LOADED = -2
    MOVED = -3
    STALE = -4
    FENCED = -5
    CLOCK = -6
    # The lane was loaded after the guard looked. The engine has it checked, and asks again.
    UNSEEN = -7


@dataclass(frozen=True, slots=True)
class Reply:
    """The script's answer. `position` is the next offset to decide; `outcomes` as in its header.

    `why` is the reason of FENCED and CLOCK. `known` is what it reported of the batch's activities.
    `waits` says in words why a part of the batch, from `position` on, is to be sent again later.
    """

    status: Status
    position: int
    outcomes: bytes = b""
    now_ms: int = 0
    generation: int = 0
    why: str = ""
    known: Mapping[int, Known] = field(default_factory=dict)
    waits: str = ""

    def count(self, outcome: Outcome) -> int:
        """Requests of the batch that got this outcome now, without the counted losers."""
        return self.outcomes.count(digit_of(outcome))


class Gatekeeper(Protocol):
    """Decides whether a Redis may be used: see `seckill.consumer.guard`."""

    @property
    def problem(self) -> str:
        """Why nothing may be decided any more; "" if it may."""

    def admit(self, run_id: str) -> Claim:
        """Check a new connection to the server with this id. Raises RedisAway."""


# A claim that matches any lane.
ANY = Claim(identity="*")


class Open:
    """A gatekeeper that admits everything: for benchmarks and tests of the script."""

    problem = ""

    def admit(self, run_id: str) -> Claim:
        """Admit any server."""
        return ANY


@dataclass(frozen=True, slots=True)
class Look:
    """What Redis says of the lane between two batches. `positions` by partition; None: none."""

    claim: Claim
    positions: Mapping[int, int | None]


class Decider(Protocol):
    """What a consumer needs of an engine: see `Engine`. All methods but `close` raise RedisAway."""

    @property
    def claim(self) -> Claim:
        """The claim of this connection's Redis."""

    @property
    def busy(self) -> bool:
        """Whether there are answers to collect."""

    def submit(self, batches: Sequence[Batch]) -> None:
        """Send the calls. If it raises, nothing is in flight."""

    def collect(self) -> list[Reply]:
        """The answers, in the same order. If it raises, all must be submitted again."""

    def look(self, source: str, partitions: Sequence[int]) -> Look:
        """What Redis says of the lane, and the positions of these partitions."""

    def close(self) -> None:
        """Close the connection."""


class Engine:
    """Runs decide_batch on its own connection. Not thread-safe."""

    def __init__(
        self,
        redis_url: str,
        lane: Lane,
        default_timeout_ms: int | None = None,
        guard: Gatekeeper | None = None,
        *,
        replicas: int = 0,
        acknowledge_ms: int = 1000,
    ) -> None:
        """`guard` admits each new connection before the first script runs on it.

        It may raise RedisAway, and it may report a problem later: then nothing is sent. `replicas`
        must have a batch within `acknowledge_ms`; 0: none is asked.
        """
        self._replicas, self._acknowledge_ms = replicas, acknowledge_ms
        self.lane = lane
        # The claim of this connection's Redis.
        self.claim = Claim()
        self._guard = guard or Open()
        self._connected = False
        # Whether this connection has written: see `_send`.
        self._has_written = False
        self._timeout_ms = str(default_timeout_ms or 0)
        connection = pool(
            redis_url,
            socket_timeout=SCRIPT_TIMEOUT_S,
            socket_connect_timeout=CONNECT_TIMEOUT_S,
            retry=no_retry(),
        ).make_connection()
        assert isinstance(connection, AbstractConnection)
        self._connection = connection
        self._script = scripts.load("decide_batch")
        self._in_flight: list[Batch] = []
        # The answers to what follows the calls, the number of replicas last.
        self._waited: list[Any] = []

    @property
    def busy(self) -> bool:
        """Whether there are answers to collect."""
        return bool(self._in_flight)

    def submit(self, batches: Sequence[Batch]) -> None:
        """Send the calls without waiting for answers. Raises RedisAway: nothing is in flight."""
        if self._in_flight:
            raise RuntimeError("the previous calls have not been collected")
        self._send(batches)

    def _send(self, batches: Sequence[Batch]) -> None:
        try:
            self._connect()
            commands = [self._command(batch) for batch in batches]
            if self._replicas:
                if not self._has_written:
                    # WAIT waits for what its own connection has written last. A batch that comes
                    # again is written already, by a connection that was lost.
                    mark = self.lane.waited
                    commands += [("HSET", mark, "by", ""), ("HDEL", mark, "by")]
                commands.append(("WAIT", self._replicas, self._acknowledge_ms))
            self._connection.send_packed_command(self._connection.pack_commands(commands))
        except (redis.ConnectionError, redis.TimeoutError, OSError) as lost:
            self._lose(lost)
        except redis.RedisError as refused:
            self._judge(refused)
        self._in_flight = list(batches)

    def look(self, source: str, partitions: Sequence[int]) -> Look:
        """What Redis says of the lane, and the positions of these partitions. Raises RedisAway.

        Only while no calls are in flight.
        """
        if self._in_flight:
            raise RuntimeError("the previous calls have not been collected")
        commands: list[tuple[Any, ...]] = [("HMGET", self.lane.state, *CLAIM_FIELDS)]
        if partitions:
            fields = [position_field(source, partition) for partition in partitions]
            commands.append(("HMGET", self.lane.positions, *fields))
        try:
            self._connect()
            self._connection.send_packed_command(self._connection.pack_commands(commands))
            claim, *rest = [self._connection.read_response() for _ in commands]
        except (redis.ConnectionError, redis.TimeoutError, OSError) as lost:
            self._lose(lost)
        except redis.RedisError as refused:
            self._judge(refused)
        stands = rest[0] if rest else []
        seen = claim_of(claim)
        if self.claim != ANY:
            # If the lane was loaded since, the guard has not checked it.
            self._connected = seen.identity == self.claim.identity
            self.claim = seen
        return Look(
            seen,
            {p: None if at is None else int(at) for p, at in zip(partitions, stands, strict=True)},
        )

    def collect(self) -> list[Reply]:
        """The answers to the submitted calls, in the same order.

        Raises RedisAway if an answer is missing, or too few replicas have the batches. Then all
        calls must be submitted again.
        """
        batches = self._in_flight
        while True:
            answers = self._read_answers()
            if any(isinstance(answer, redis.exceptions.NoScriptError) for answer in answers):
                self._register()
            else:
                self._check_replicas()
                replies = [
                    self._reply(batch, answer)
                    for batch, answer in zip(batches, answers, strict=True)
                ]
                if all(reply.status is not Status.UNSEEN for reply in replies):
                    return replies
                # Another lane than the one that was admitted: the guard looks at it first.
                self._connected = False
            self._send(batches)

    def decide(self, batches: Sequence[Batch]) -> list[Reply]:
        """Submit and collect."""
        self.submit(batches)
        return self.collect()

    def close(self) -> None:
        """Close the connection."""
        self._in_flight = []
        self._connected = False
        self._connection.disconnect()

    def _connect(self) -> None:
        """Ensure a connection that the guard has admitted and has no problem with."""
        if not self._connected:
            self._connection.connect()
            self._connection.send_command("INFO", "server")
            info: Any = self._connection.read_response()
            try:
                self.claim = self._guard.admit(run_id_of(info))
            except RedisAway:
                # The address may lead to another server by now.
                self.close()
                raise
            self._connected, self._has_written = True, False
        elif self._guard.problem:
            self.close()
            raise NotLeading(self._guard.problem)

    def _read_answers(self) -> list[object]:
        """The answer to each submitted call, or its refusal. Nothing is in flight afterwards."""
        batches, self._in_flight = self._in_flight, []
        answers: list[object] = []
        try:
            more = (1 if self._has_written else 3) if self._replicas else 0
            for _ in range(len(batches) + more):
                try:
                    answers.append(self._connection.read_response())
                except redis.ResponseError as refused:
                    answers.append(refused)
        except (redis.ConnectionError, redis.TimeoutError, OSError) as lost:
            self._lose(lost)
        self._waited = answers[len(batches) :]
        return answers[: len(batches)]

    def _check_replicas(self) -> None:
        """Raises NotAcknowledged, or another RedisAway, unless enough replicas have the batches."""
        for answer in self._waited:
            if isinstance(answer, Exception):
                self._judge(answer)
        if self._replicas:
            self._has_written = True
            if self._waited[-1] < self._replicas:
                raise NotAcknowledged(self._waited[-1], self._replicas, self._acknowledge_ms)

    def _command(self, batch: Batch) -> tuple[object, ...]:
        lane = self.lane
        keys = [lane.list, lane.activities, lane.positions, lane.stats, lane.state]
        keys += [lane.board(batch.source, batch.partition, number) for number in batch.boards]
        for activity in batch.activities:
            names = lane.activity(activity)
            keys += [names.state, names.stock, names.stats, names.buyers, names.clicks]
            keys += [names.held, names.due]
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
            self.claim.identity,
            time.time_ns() // 1_000_000,
            ",".join(map(str, batch.boards)),
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

    def _lose(self, lost: Exception) -> NoReturn:
        self._connection.disconnect()
        self._connected = False
        self._in_flight = []
        meaning = judged(lost)
        raise meaning if isinstance(meaning, RedisAway) else RedisAway(lost) from None

    def _judge(self, refused: Exception) -> NoReturn:
        if is_elsewhere(refused):
            # A new connection finds the master and is compared with what was decided.
            self._lose(refused)
        raise judged(refused) from None

    def _reply(self, batch: Batch, answer: object) -> Reply:
        if isinstance(answer, Exception):
            self._judge(answer)
        assert isinstance(answer, list)
        status, position, outcomes, now_ms, generation, *told = answer
        told_why = status in (Status.FENCED, Status.CLOCK)
        return Reply(
            status=Status(status),
            position=int(position),
            outcomes=b"" if told_why else bytes(outcomes),
            now_ms=int(now_ms),
            generation=int(generation),
            why=bytes(outcomes).decode() if told_why else "",
            known=_known(batch, told),
        )


def run_id_of(info: bytes) -> str:
    """The id of the server's process, from INFO."""
    for line in info.splitlines():
        if line.startswith(b"run_id:"):
            return line.removeprefix(b"run_id:").decode()
    return ""


def _known(batch: Batch, told: Sequence[bytes]) -> dict[int, Known]:
    """What the answer reports of the batch's activities that the script looked at."""
    known = {}
    for index, activity in enumerate(batch.activities[: len(told) // TOLD]):
        version, epoch, over, gone = told[TOLD * index : TOLD * (index + 1)]
        if version:
            items = frozenset(map(int, gone.split(b","))) if gone else NONE
            known[activity] = Known(int(version), bool(over), items, int(epoch))
    return known

"""Lines that can be cut and held at will: to Redis, to PostgreSQL, and a log worker on its way.

Each is the product's own class with one place more where it can be stopped. Nothing here decides
when: the driver does.
"""

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Executor, Future
from dataclasses import dataclass, field
from enum import StrEnum
from queue import SimpleQueue
from typing import Any

import msgspec
import redis
from redis.connection import AbstractConnection

import seckill.log_worker.storage
from seckill.consumer.batch import COUNTED, Batch
from seckill.consumer.engine import Engine, Reply, Status
from seckill.consumer.guard import Guard
from seckill.errors import RedisAway
from seckill.formats.outcomes import OUTCOME_OF_DIGIT, Outcome
from seckill.lane import scripts
from seckill.lane.client import no_retry
from seckill.log_worker.storage import Storage, Stored
from seckill.postgres.lease import Claim
from tests.search.facts import ACCEPTED, REFUSED, SKIPPED

SCRIPT_OF_SHA = {
    script.sha: script.name
    for script in (scripts.load(path.stem) for path in scripts.FOLDER.glob("*.lua"))
}


class Fate(StrEnum):
    """What becomes of a call."""

    DONE = "done"
    # It is done, and its sender does not hear of it.
    LOST = "its answer is lost"
    # Its sender gives up, and it comes later.
    LATE = "it comes later"


class HoldAt(StrEnum):
    """Where a log worker is held."""

    READ = "with a batch that it has read"
    OPEN = "with rows in an open transaction"
    COMMITTED = "before its trim"


class Killed(BaseException):
    """The end of a thread that stands for a process which is killed."""


@dataclass
class Late:
    """A script on its way. `about` says which act it is."""

    wire: "Wire"
    name: str
    call: tuple[Any, ...]
    about: Any = None


class Wire(redis.Redis):
    """A client of which a script may be held up, or its answer lost."""

    # Asked before each script, with its name and arguments.
    fate: Callable[[str, Sequence[Any]], Fate]
    on_script: Callable[[str], None]
    late: list[Late]
    # The id of its server's process: one of which a restart is played gets another one.
    run_id: str

    def info(self, section: str | None = None, *args: Any, **kwargs: Any) -> Any:
        """As redis-py's."""
        found: Any = super().info(section, *args, **kwargs)
        if "run_id" in found:
            found["run_id"] = self.run_id
        return found

    def evalsha(self, sha: str, numkeys: int, *keys_and_args: Any) -> Any:
        """As redis-py's. All scripts are loaded before: nothing ever comes by EVAL."""
        name = SCRIPT_OF_SHA[sha]
        self.on_script(name)
        fate = self.fate(name, keys_and_args[numkeys:])
        if fate is Fate.LATE:
            self.late.append(Late(self, name, (sha, numkeys, *keys_and_args)))
            raise redis.TimeoutError("no answer")
        answer = super().evalsha(sha, numkeys, *keys_and_args)
        if fate is Fate.LOST:
            raise redis.TimeoutError("no answer")
        return answer

    def arrive(self, call: tuple[Any, ...]) -> Any:
        """What came late is done now."""
        return super().evalsha(*call)


class Gate:
    """A consumer's guard, which is told of the processes that are played."""

    def __init__(self, guard: Guard) -> None:
        self.guard = guard

    @property
    def problem(self) -> str:
        """See `Gatekeeper`."""
        return self.guard.problem

    def admit(self, run_id: str) -> Claim:
        """See `Gatekeeper`."""
        wire = self.guard._client
        assert isinstance(wire, Wire)
        return self.guard.admit(wire.run_id)

    def lead_to(self, wire: Wire) -> None:
        """Look at another server from now on."""
        self.guard._client = wire


class Line(Engine):
    """An engine whose next call is held back, or answered in vain. Tells what was decided.

    Answers are read as soon as a call is sent, since it is decided then; the consumer gets them
    when it asks.
    """

    hold_next = False
    lose_next = False
    tell: Callable[[Batch, list[tuple[int, str]]], None]
    _answers: "list[Reply] | RedisAway"
    # Whether the engine itself sends and asks.
    _inside = False

    def submit(self, batches: Sequence[Batch]) -> None:
        """See `Engine`."""
        if self._inside:
            super().submit(batches)
            return
        if self.hold_next:
            self.hold_next = False
            raise RedisAway("stopped on the way")
        self._inside = True
        try:
            super().submit(batches)
            self._answers = self._collected(batches)
        finally:
            self._inside = False
        self._in_flight = list(batches)

    def collect(self) -> list[Reply]:
        """See `Engine`."""
        if self._inside:
            return super().collect()
        self._in_flight = []
        if isinstance(self._answers, RedisAway):
            raise self._answers
        if self.lose_next:
            self.lose_next = False
            self._lose(OSError("the answer is lost"))
        return self._answers

    def lead_to(self, url: str) -> None:
        """The next connection leads to another server."""
        self.close()
        pool = redis.ConnectionPool.from_url(url, socket_timeout=10.0, retry=no_retry())
        connection = pool.make_connection()
        assert isinstance(connection, AbstractConnection)
        self._connection = connection

    def _collected(self, batches: Sequence[Batch]) -> "list[Reply] | RedisAway":
        try:
            answers = super().collect()
        except RedisAway as away:
            return away
        for batch, reply in zip(batches, answers, strict=True):
            if reply.status is Status.DECIDED:
                self.tell(batch, outcomes(batch, reply))
        return answers


def outcomes(batch: Batch, reply: Reply) -> list[tuple[int, str]]:
    """(offset, outcome) of all that was decided now, as the script's header says."""
    flat, found = msgspec.msgpack.decode(batch.blob), []
    at = answered = 0
    offset = batch.start
    while at < len(flat):
        n = flat[at]
        at += 1
        if n > COUNTED or n < 0:
            many = n - COUNTED if n > 0 else -n
            word = REFUSED if n > 0 else SKIPPED
            found += [(offset + k, word) for k in range(many)]
            offset += many
            continue
        outcome = OUTCOME_OF_DIGIT.get(reply.outcomes[answered])
        if outcome is not None:
            found.append((offset, ACCEPTED if outcome is Outcome.ACCEPTED else REFUSED))
        answered += 1
        offset += 1
        at += 4 + 2 * n if n else 0
    return found


class Inline(Executor):
    """What a thread would do beside, at once: so that steps are the same each time."""

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> "Future[Any]":
        """See `Executor`."""
        future: Future[Any] = Future()
        try:
            future.set_result(fn(*args, **kwargs))
        except Exception as wrong:  # noqa: BLE001 - handed on
            future.set_exception(wrong)
        return future


_here = threading.local()


@dataclass
class Turn:
    """One turn of a log worker on a thread of its own, held at one place until it is let go."""

    work: Callable[[], Any]
    hold_at: HoldAt | None
    answer: Any = None
    failure: BaseException | None = None
    _news: SimpleQueue[str] = field(default_factory=SimpleQueue)
    _go: SimpleQueue[bool] = field(default_factory=SimpleQueue)

    def begin(self) -> bool:
        """Whether it is held now; else it is over."""
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()
        return self._news.get(timeout=60) == "held"

    def end(self, *, killed: bool = False) -> Any:
        """Let it go, or kill it where it stands. Its answer; raises what it raised."""
        self._go.put(not killed)
        self._thread.join(60)
        assert not self._thread.is_alive()
        if self.failure is not None and not isinstance(self.failure, Killed):
            raise self.failure
        return self.answer

    def reach(self, place: HoldAt) -> None:
        """The thread comes by a place."""
        if place is self.hold_at:
            self.hold_at = None
            self._news.put("held")
            if not self._go.get():
                raise Killed

    def _run(self) -> None:
        _here.turn = self
        try:
            self.answer = self.work()
        except BaseException as failure:  # noqa: BLE001 - handed on
            self.failure = failure
        self._news.put("over")


def reach(place: HoldAt) -> None:
    """Whoever is to be held here is."""
    turn = getattr(_here, "turn", None)
    if turn is not None:
        turn.reach(place)


class HeldStorage(Storage):
    """A storage that can be held before it begins."""

    def store(self, *args: Any, **kwargs: Any) -> Stored:
        """See `Storage`."""
        reach(HoldAt.READ)
        return super().store(*args, **kwargs)


def hold_open_transactions(patch: Callable[[object, str, object], None]) -> None:
    """Have the storing transaction come by a place between its rows and its commit."""
    count = seckill.log_worker.storage._count_sold

    def counted(*args: Any) -> None:
        reach(HoldAt.OPEN)
        count(*args)

    patch(seckill.log_worker.storage, "_count_sold", counted)

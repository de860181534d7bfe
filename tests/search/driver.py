"""The product's parts of one lane, driven turn by turn in one process: all that knows how they are
made and called. Operators' acts are its other half, `operators`.

The oracle and the steps know none of it, so another version of the product needs another driver and
nothing else. What a part says when it refuses or holds is passed on as text.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec

from seckill.batch import Batch
from seckill.consumer import Consumer
from seckill.errors import Poison, PostgresAway, RedisAway
from seckill.fence import Guard
from seckill.keys import Lane
from seckill.log_worker import LogWorker
from seckill.records import parse
from seckill.shutdown import Shutdown
from tests.search.operators import Operators
from tests.search.oracle import Evidence
from tests.search.servers import Keys, Tables
from tests.search.topic import Member, Topic, TurnOver
from tests.search.wires import HeldStorage, HoldAt, Inline, Line, Turn

# Messages of a consumer's batch, and records of a log worker's: small, so that few make several.
BATCH, STORED_AT_ONCE = 6, 2


class Letters:
    """Stands where INVALID messages are sent to: they go nowhere, and are acknowledged."""

    full = False

    def park(self, batch: Batch) -> None:
        """See `DeadLetters`."""

    def flush(self) -> bool:
        """See `DeadLetters`."""
        return True

    flush_in_turn = flush


@dataclass
class Deciding:
    """A consumer, and the server that its connection leads to."""

    server: int
    member: Member
    product: Consumer
    line: Line


@dataclass
class Storing:
    """A log worker, its server, and its turn where one is held."""

    server: int
    storage: HeldStorage
    product: LogWorker
    turn: Turn | None = None
    held_at: HoldAt | None = None
    trouble: str = ""


class Driver(Operators):
    """One lane. `answered(server, partition, offset, outcome)` is told what scripts decide."""

    def __init__(self, servers: Sequence[Keys], tables: Tables, dsn: str, source: str) -> None:
        super().__init__([keys.url for keys in servers], source)
        self.servers, self.tables, self._dsn = servers, tables, dsn
        self.answered: Callable[[int, int, int, str], object] = lambda *_: None
        self.topic = Topic(source, 0)
        self.consumers: list[Deciding] = []
        self.workers: list[Storing] = []
        # Connections to PostgreSQL that are used again in the next sale.
        self._storages: list[HeldStorage] = []

    def reset(self, partitions: int) -> None:
        """A new sale: empty servers, an empty topic, one log worker."""
        self.close_parts()
        for keys in self.servers:
            keys.client.flushall()
        self.tables.put_back("empty")
        self.partitions, self.current = partitions, 0
        self.topic = Topic(self.source, partitions)
        self.late.clear()
        self.start_worker()

    def close_parts(self) -> None:
        """End all parts, whatever they do."""
        for number in range(len(self.workers)):
            self.kill_worker(number)
        for part in self.consumers:
            part.line.close()
        self._storages += [part.storage for part in self.workers]
        self.workers.clear()
        self.consumers.clear()

    def close(self) -> None:
        """End all, close all connections."""
        self.close_parts()
        for storage in self._storages:
            storage.close()

    # Consumers.

    def start_consumer(self) -> None:
        """One more member of the group, on the server that is the lane's now."""
        member = Member(self.topic)
        line = self._line(self.current)
        product = Consumer(
            client=member,
            engine=line,
            dead_letters=Letters(),
            shutdown=Shutdown(),
            find_source=lambda: self.source,
            batch_size=BATCH,
        )
        self.consumers.append(Deciding(self.current, member, product, line))

    def turn(
        self, number: int, *, hold: bool = False, lose: bool = False, commit: bool = False
    ) -> str:
        """One turn: what it read, or why it holds. `hold`: its call stays on the way."""
        part = self.consumers[number]
        part.line.hold_next, part.line.lose_next = hold, lose
        part.product._committed_at = -math.inf if commit else math.inf
        try:
            return f"reads {part.product.run_once()}"
        except TurnOver:
            return f"holds: {part.product.hold}"

    def idle(self, number: int) -> bool:
        """Whether it has nothing in its hands."""
        product = self.consumers[number].product
        return not product._in_flight and not product._ready

    def expel(self, number: int) -> None:
        """Its session ends; it does not know."""
        self.topic.leave(self.consumers[number].member)

    def kill_consumer(self, number: int) -> None:
        """It is gone, with what it had in its hands."""
        part = self.consumers.pop(number)
        part.line.close()
        part.member.close()

    def reconnect_consumer(self, number: int) -> None:
        """Its connection is lost: the next one leads to the server that is the lane's now."""
        part = self.consumers[number]
        part.line.close()
        if part.server != self.current:
            part.server = self.current
            part.line = part.product.engine = self._line(self.current)

    def pass_time(self) -> None:
        """Some seconds go by: what is looked at from time to time is due."""

    def _line(self, server: int) -> Line:
        guard = Guard(
            self.wires[server], Lane(), self._dsn, lambda: self.source, self.topic.committed
        )
        line = Line(self.servers[server].url, Lane(), on_connect=guard)
        line.tell = lambda batch, outcomes: [
            self.answered(server, batch.partition, offset, outcome) for offset, outcome in outcomes
        ]
        return line

    # Log workers.

    def start_worker(self) -> None:
        """One more log worker."""
        storage = self._storages.pop() if self._storages else HeldStorage(self._dsn)
        self.workers.append(Storing(self.current, storage, self._log_worker(self.current, storage)))

    def store(self, number: int, hold_at: HoldAt | None = None) -> str:
        """One turn of a log worker: what it stored, where it is held, or what is away."""
        part = self.workers[number]
        if part.turn is not None:
            return f"is held {part.held_at}"
        if hold_at is None:
            return self._stored(part, part.product.run_once)
        turn = Turn(part.product.run_once, hold_at)
        if turn.begin():
            part.turn, part.held_at = turn, hold_at
            return f"is held {hold_at}"
        return self._stored(part, turn.end)

    def release(self, number: int) -> str:
        """A held log worker goes on."""
        part = self.workers[number]
        turn, part.turn = part.turn, None
        return "is not held" if turn is None else self._stored(part, turn.end)

    def kill_worker(self, number: int) -> None:
        """It is killed, wherever it is, and started again."""
        part = self.workers[number]
        if part.turn is not None:
            part.turn.end(killed=True)
        part.server, part.turn, part.trouble = self.current, None, ""
        part.product = self._log_worker(self.current, part.storage)

    def reconnect_worker(self, number: int) -> None:
        """It finds the server that is the lane's now, with what it has read in its hands."""
        part = self.workers[number]
        part.server, part.product.client = self.current, self.wire

    def _log_worker(self, server: int, storage: HeldStorage) -> LogWorker:
        return LogWorker(
            self.wires[server], storage, Shutdown(), batch_size=STORED_AT_ONCE, _reader=Inline()
        )

    def _stored(self, part: Storing, turn: Callable[[], Any]) -> str:
        try:
            part.trouble = ""
            return f"reads {turn()}"
        except (RedisAway, PostgresAway) as away:
            part.trouble = str(away)
            return part.trouble

    # What is lost.

    def restart_redis(self, copy: Mapping[bytes, bytes] | None, *, lines: bool = True) -> None:
        """The lane's server comes back as a copy, or empty; `lines`: connections are lost."""
        self.servers[self.current].put_back(dict(copy or {}))
        if lines:
            for part in self.consumers:
                if part.server == self.current:
                    part.line.close()
            # Acts on a lost line do not come; who goes on to lift a fence makes a new one.
            self.late[:] = [script for script in self.late if script.name == "fence"]

    def promote(self, copy: Mapping[bytes, bytes]) -> None:
        """The other server takes over with a copy; whoever reaches the old one goes on there."""
        self.current = 1 - self.current
        self.servers[self.current].put_back(dict(copy))

    def unite(self) -> None:
        """The old master is gone; all find the new one."""
        for number in range(len(self.consumers)):
            if self.consumers[number].server != self.current:
                self.reconnect_consumer(number)
        for number, part in enumerate(self.workers):
            if part.turn is None:
                self.reconnect_worker(number)
        self.late[:] = [s for s in self.late if s.wire is self.wire]
        self.servers[1 - self.current].client.flushall()

    def restart_postgres(self) -> None:
        """PostgreSQL comes back with its saved copy: every connection and transaction ends."""
        held = [p.storage._connection for p in self.workers if p.turn and p.storage._connection]
        self.tables.end_transactions([c.info.backend_pid for c in held])
        for part in self.workers:
            if part.turn is None:
                part.storage.close()
        self.tables.put_back()

    # What is to be seen.

    def evidence(self) -> Evidence:
        """Rows, and the lines that wait or are parked on the server that is the lane's now."""
        wire, lane = self.wire, Lane()
        texts: list[bytes] = wire.lrange(lane.list, 0, -1)
        letters: list[bytes] = wire.lrange(lane.dead, 0, -1)
        texts += [msgspec.json.decode(letter)["record"].encode() for letter in letters]
        kept = set()
        for text in texts:
            try:
                record = parse(text)
            except Poison:
                continue
            kept.add((record.partition, record.offset, record.item_id))
        return Evidence(self.tables.rows(), frozenset(kept))

    def trouble(self) -> str:
        """Why the lane stands still, as it says itself; empty where it does not."""
        lane = Lane()
        pipe = self.wire.pipeline(transaction=False)
        pipe.hmget(lane.state, "fenced", "fenced_why")
        pipe.exists(lane.activities)
        (word, why), loaded = pipe.execute()
        if word:
            return f"fenced: {word.decode()}: {why.decode()}"
        if not loaded:
            return "NOT_LOADED"
        words = [part.product.hold for part in self.consumers] + [w.trouble for w in self.workers]
        return next(filter(None, words), "")

    def stands_still(self) -> bool:
        """Whether an operator has to recover it."""
        return self.trouble().startswith(("fenced", "NOT_LOADED"))

    def end_transactions(self) -> None:
        """Who holds one open is let go: it would be given up after a minute."""
        for number, part in enumerate(self.workers):
            if part.turn is not None and part.held_at is HoldAt.OPEN:
                self.release(number)

"""The product's parts of one lane, driven turn by turn in one process: all that knows how they are
made and called. Operators' acts are its other half, `operators`.

The oracle and the steps know none of it, so another version of the product needs another driver and
nothing else. What a part says when it refuses or holds is passed on as text.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import psycopg

from seckill.consumer.consumer import Consumer
from seckill.consumer.guard import Guard
from seckill.errors import PostgresAway, RedisAway
from seckill.lane.keys import Lane
from seckill.log_worker.worker import LogWorker
from seckill.postgres.lease import LEASE_S, RENEW_S
from seckill.process.shutdown import Shutdown
from tests.search.operators import Operators
from tests.search.servers import Keys, Tables
from tests.search.topic import Letters, Member, TurnOver
from tests.search.wires import Gate, HeldStorage, HoldAt, Inline, Line, Turn

# Messages of a consumer's batch, and records of a log worker's: small, so that few make several.
BATCH, STORED_AT_ONCE = 6, 2
SALES_A_CLEANING = 50


@dataclass
class Deciding:
    """A consumer, and the server that its connection leads to."""

    server: int
    member: Member
    product: Consumer
    line: Line
    gate: Gate

    def renew(self) -> None:
        """What its lease's thread does each few seconds."""
        self.gate.guard._keeper.run_once()


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
        super().__init__(servers, tables, source)
        self._dsn = dsn
        self.answered: Callable[[int, int, int, str], object] = lambda *_: None
        self.consumers: list[Deciding] = []
        self.workers: list[Storing] = []
        self._started = self._sales = 0
        # Connections to PostgreSQL that are used again in the next sale.
        self._storages: list[HeldStorage] = []
        self._connections: list[psycopg.Connection] = []

    def reset(self, partitions: int) -> None:
        """A new sale: empty servers, an empty topic, one log worker."""
        self.close_parts()
        self.begin(partitions)
        self._sales += 1
        if self._sales % SALES_A_CLEANING == 0:
            self.tables.clean()
        self.start_worker()

    def close_parts(self) -> None:
        """End all parts, whatever they do."""
        for number in range(len(self.workers)):
            self.kill_worker(number)
        while self.consumers:
            self.kill_consumer(0)
        self._storages += [part.storage for part in self.workers]
        self.workers.clear()

    def close(self) -> None:
        """End all, close all connections."""
        self.close_parts()
        for storage in self._storages:
            storage.close()
        for connection in self._connections:
            connection.close()

    # Consumers.

    def start_consumer(self) -> None:
        """One more member of the group, on the server that is the lane's now."""
        server, member = self.current, Member(self.topic)
        self._started += 1
        guard = Guard(
            self.wires[server],
            Lane(),
            self._dsn,
            lambda: self.source,
            self.topic.committed,
            f"consumer {self._started}",
        )
        if self._connections:
            guard._keeper._connection = self._connections.pop()
        gate = Gate(guard)
        line = Line(self.servers[server].url, Lane(), guard=gate)
        product = Consumer(
            client=member,
            engine=line,
            dead_letters=Letters(),
            shutdown=Shutdown(),
            find_source=lambda: self.source,
            batch_size=BATCH,
        )
        part = Deciding(server, member, product, line, gate)
        line.tell = lambda batch, outcomes: [
            self.answered(part.server, batch.partition, offset, outcome)
            for offset, outcome in outcomes
        ]
        self.consumers.append(part)

    def turn(
        self, number: int, *, hold: bool = False, lose: bool = False, due: bool = False
    ) -> str:
        """One turn: what it read, or why it holds. `hold`: its call stays on the way. `due`: what
        is done from time to time is done now.
        """
        part = self.consumers[number]
        part.line.hold_next, part.line.lose_next = hold, lose
        part.product._committed_at = part.product._looked_at = -math.inf if due else math.inf
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
        """It is gone, with what it had in its hands; nobody gives its lease up."""
        part = self.consumers.pop(number)
        part.line.close()
        part.member.close()
        connection = part.gate.guard._keeper._connection
        if connection is not None and not connection.closed:
            self._connections.append(connection)

    def reconnect_consumer(self, number: int) -> None:
        """Its connection is lost: the next one leads to the server that is the lane's now."""
        part = self.consumers[number]
        part.line.close()
        if part.server != self.current:
            part.server = self.current
            part.line.lead_to(self.servers[self.current].url)
            part.gate.lead_to(self.wire)

    def pass_time(self, stopped: int | None = None) -> None:
        """Seconds go by, until each lease has ended that nobody renews; one consumer may be
        stopped, as by SIGSTOP, and does not know.
        """
        for _ in range(math.ceil(LEASE_S / RENEW_S) + 1):
            self.tables.end_leases(RENEW_S)
            for number, part in enumerate(self.consumers):
                if number != stopped:
                    part.renew()

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
        """The lane's server comes back as a copy, or empty; `lines`: it is another process, and
        connections are lost.
        """
        self.servers[self.current].put_back(dict(copy or {}))
        if lines:
            self._new_process(self.current)
            # Acts on a lost line do not come; who goes on to lift a fence makes a new one.
            self.late[:] = [script for script in self.late if script.name == "fence"]

    def promote(self, copy: Mapping[bytes, bytes]) -> None:
        """The other server takes over with a copy; whoever reaches the old one goes on there."""
        self.current = 1 - self.current
        self.servers[self.current].put_back(dict(copy))
        self._new_process(self.current)
        self.late[:] = [script for script in self.late if script.wire is not self.wire]

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
        for deciding in self.consumers:
            connection = deciding.gate.guard._keeper._connection
            if connection is not None:
                connection.close()
        self.tables.put_back()

    def _new_process(self, server: int) -> None:
        self.name_process(server)
        for part in self.consumers:
            if part.server == server:
                part.line.close()

    # What is to be seen.

    def trouble(self) -> str:
        """Why the lane stands still, as it says itself; empty where it does not.

        A log worker that is held says nothing new: what it last said may have passed.
        """
        words = [part.product.hold for part in self.consumers]
        words += [worker.trouble for worker in self.workers if worker.turn is None]
        return self.lane_trouble() or next(filter(None, words), "")

    def stands_still(self) -> bool:
        """Whether an operator has to recover it, as it says."""
        return bool(self.lane_trouble()) or "manage.py recover" in self.trouble()

    def end_transactions(self) -> None:
        """Who holds one open is let go: it would be given up after a minute."""
        for number, part in enumerate(self.workers):
            if part.turn is not None and part.held_at is HoldAt.OPEN:
                self.release(number)

"""Workers that die at a chosen step: `python -m tests.faults.dying WORKER POINT NTH`.

The workers are the product's own. What they are built with misbehaves: at the n-th time that it
comes to the point, the process is gone, as after kill -9, and ends with code 9.
"""

import contextlib
import logging
import os
import sys
from collections.abc import Callable, Iterator
from typing import Any

import psycopg

from seckill import scripts
from seckill.broker import open_consumer
from seckill.broker.producer import open_producer
from seckill.broker.topics import Topics
from seckill.consumer import Consumer
from seckill.dead_letters import DeadLetters, dead_topic
from seckill.engine import Engine
from seckill.keys import Lane
from seckill.log_worker import LogWorker
from seckill.redis_client import connect
from seckill.shutdown import Shutdown
from seckill.storage import Storage
from seckill_project.config import LogWorker as LogWorkerSection
from seckill_project.config import Server, load

DIED = 9
CONSUMER_POINTS = (
    "after poll",
    "after sending",
    "after script",
    "before parking",
    "after parking",
    "before commit",
    "after commit",
)
LOG_WORKER_POINTS = (
    "after read",
    "in COPY",
    "after COPY",
    "before commit",
    "after commit",
    "before trim",
    "in trim",
    "after trim",
)


class Countdown:
    """Ends the process at the n-th call."""

    def __init__(self, nth: int) -> None:
        self._left = nth

    def __call__(self) -> None:
        self._left -= 1
        if self._left <= 0:
            os._exit(DIED)


def before(owner: object, name: str, reached: Callable[[], None]) -> None:
    """Reach the point before each call."""
    call = getattr(owner, name)

    def dying(*args: Any, **options: Any) -> Any:
        reached()
        return call(*args, **options)

    setattr(owner, name, dying)


def after(owner: object, name: str, reached: Callable[[], None]) -> None:
    """Reach the point after each call that had something to do."""
    call = getattr(owner, name)

    def dying(*args: Any, **options: Any) -> Any:
        answer = call(*args, **options)
        if answer or answer is None:
            reached()
        return answer

    setattr(owner, name, dying)


def log_as_a_consumer() -> None:
    """What `run_consumer` tells, and no more."""
    logging.basicConfig(level=logging.WARNING)
    logging.getLogger("seckill").setLevel(logging.INFO)
    logging.getLogger("kafka").setLevel(logging.CRITICAL)


def build(server: Server, topics: Topics, shutdown: Shutdown, engine: Engine) -> Consumer:
    """A consumer as `run_consumer` builds it, around this engine."""
    return Consumer(
        client=open_consumer(server),
        engine=engine,
        dead_letters=DeadLetters(server, lambda: open_producer(server, dead_topic(server.topic))),
        shutdown=shutdown,
        find_source=lambda: topics.source(server.topic),
        batch_size=server.batch_size,
    )


def consumer(point: str, reached: Callable[[], None]) -> None:
    """The consumer that `run_consumer` starts, but for what it is built with."""
    server = load(Server)
    with Shutdown() as shutdown, Topics(server) as topics:
        engine = Engine(server.redis_url, Lane(), server.timeout)
        worker = build(server, topics, shutdown, engine)
        client, letters = worker.client, worker.dead_letters
        if point == "after commit":
            commit = client.commit_and_wait
            client.commit = lambda positions: commit(positions, 10)  # type: ignore[method-assign, assignment, return-value]
        owner, name, when = {
            "after poll": (client, "poll", after),
            "after sending": (engine, "submit", after),
            "after script": (engine, "collect", after),
            "before parking": (letters, "flush", before),
            "after parking": (letters, "flush", after),
            "before commit": (client, "commit", before),
            "after commit": (client, "commit", after),
        }[point]
        when(owner, name, reached)
        worker.run()


class DyingStorage(Storage):
    """Comes to its point inside the transaction of a batch."""

    def __init__(self, dsn: str, point: str, reached: Callable[[], None]) -> None:
        super().__init__(dsn)
        self._point, self._reached = point, reached

    def _connect(self) -> psycopg.Connection:
        connection = super()._connect()
        point, reached = self._point, self._reached
        # Of the transactions that are open, and whether the outer one stores a batch.
        depth, copied = 0, False

        class Cursor(psycopg.Cursor):
            @contextlib.contextmanager
            def copy(self, *args: Any, **options: Any) -> Iterator[psycopg.Copy]:  # type: ignore[override]
                nonlocal copied
                copied = True
                with super().copy(*args, **options) as copy:
                    yield copy
                    if point == "in COPY":
                        reached()
                if point == "after COPY":
                    reached()

        begin = type(connection).transaction

        @contextlib.contextmanager
        def transaction() -> Iterator[None]:
            nonlocal depth, copied
            depth += 1
            try:
                with begin(connection):
                    yield
                    if depth == 1 and copied and point == "before commit":
                        reached()
            finally:
                depth -= 1
            if depth == 0 and copied:
                copied = False
                if point == "after commit":
                    reached()

        connection.cursor_factory = Cursor
        connection.transaction = transaction  # type: ignore[method-assign, assignment]
        return connection


def log_worker(point: str, reached: Callable[[], None]) -> None:
    """The worker of `run_log_worker`, but for what it is built with."""
    settings = load(LogWorkerSection)
    client = connect(settings.redis_url)
    storage = DyingStorage(settings.pg_dsn, point, reached)
    if point == "after read":
        before(storage, "store", reached)
    elif point == "before trim":
        before(client, "evalsha", reached)
    elif point == "after trim":
        after(client, "evalsha", reached)
    elif point == "in trim":

        def send_only(*command: Any) -> Any:
            line = client.connection_pool.get_connection()
            line.send_command("EVALSHA", *command)
            reached()
            return line.read_response()

        # The server knows the script: else the call would only be refused.
        client.script_load(scripts.load("trim_batch").text)
        client.evalsha = send_only  # type: ignore[method-assign]
    LogWorker(client, storage, Shutdown(), batch_size=settings.batch_size).run(drain=True)


def main() -> None:
    worker, point, nth = sys.argv[1:]
    log_as_a_consumer()
    {"consumer": consumer, "log worker": log_worker}[worker](point, Countdown(int(nth)))


if __name__ == "__main__":
    main()

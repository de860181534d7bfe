"""A child process: one consumer of a group, until SIGTERM or the parent's end.

Owns how a child is put together, what it says while it works, and its exit codes. What the consumer
does with messages is for `build` to say.
"""

import logging
import multiprocessing
import multiprocessing.connection
import os
import signal
import sys
import threading
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from seckill import broker
from seckill.broker import BrokerAway, CannotUnpack, Position
from seckill.broker.opening import open_consumer, open_producer
from seckill.broker.source import Source, open_source
from seckill.broker.topics import Topics
from seckill.config.sections import ConsumerSection, Server
from seckill.consumer.consumer import Consumer
from seckill.consumer.engine import Decider, Engine, Gatekeeper
from seckill.consumer.guard import FindPositions, Guard, of_requests
from seckill.consumer.memory import MemoryLimit
from seckill.consumer.traced_engine import TracedEngine
from seckill.dead_letters.writer import DeadLetters, dead_topic
from seckill.formats.advice import in_lane
from seckill.lane.client import connect
from seckill.lane.keys import Lane
from seckill.process import garbage
from seckill.process.events import event
from seckill.process.exit_codes import CANNOT_UNPACK, SECOND_SIGNAL, UNREACHABLE
from seckill.process.logs import configure_logging
from seckill.process.shutdown import Shutdown, leave_ctrl_c_to_the_parent
from seckill.process.streams import prepare
from seckill.telemetry.heartbeats import LETTERS_LOST, Heart, Kind, worker_id
from seckill.telemetry.tracing import open_tracing

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Parts:
    """What a child's consumer is built of."""

    client: broker.Consumer
    guard: Gatekeeper
    dead_letters: DeadLetters
    shutdown: Shutdown
    # The topic's id now; raises BrokerAway.
    find_source: Callable[[], str | None]


def consume(server: Server, lane: Lane) -> None:
    """The main function of a child of run_consumer."""

    def build(parts: Parts) -> Consumer:
        engine = Engine(
            *(server.redis_url, lane, server.timeout),
            guard=parts.guard,
            replicas=server.redis_replicas_acknowledge,
            acknowledge_ms=server.redis_acknowledge_ms,
        )
        return Consumer(
            client=parts.client,
            engine=traced(engine, "run_consumer", server),
            dead_letters=parts.dead_letters,
            shutdown=parts.shutdown,
            find_source=parts.find_source,
            batch_size=server.batch_size,
        )

    run_child(server, lane, Kind.CONSUMER, build)


def run_child(
    section: ConsumerSection,
    lane: Lane,
    kind: Kind,
    build: Callable[[Parts], Consumer],
    find_positions: FindPositions = of_requests,
) -> None:
    """Run the consumer that `build` makes. `section` names its topic and its group.

    `find_positions`: see `Guard`. Ends the process with an exit code if Kafka ended it.
    """
    leave_ctrl_c_to_the_parent()
    prepare()
    configure_logging(section.log_format, partial(in_lane, lane=lane.name))
    garbage.rarely()
    # SIGTERM may come twice: to the whole process group, and from the parent.
    with Shutdown(signal.SIGTERM, second_exits=False) as shutdown:
        threading.Thread(target=_stop_with_parent, args=(shutdown,), daemon=True).start()
        # For confluent-kafka only: kafka-python limits its memory itself and never calls `begin`.
        limit = MemoryLimit()
        client = None
        while client is None and not shutdown.requested:
            try:
                client = open_consumer(section, limit.begin)
            except BrokerAway as away:
                log.warning("%s; trying again", away, extra=event("kafka-away"))
                shutdown.wait(1.0)
        if client is None:
            return

        asker = Asker(section)
        heart = Heart(section.redis_url, lane, kind)
        guard = Guard(
            connect(section.redis_url),
            lane,
            section.pg_dsn,
            asker.source,
            asker.committed,
            worker_id(),
            find_positions,
        )
        letters = DeadLetters(section, lambda: open_producer(section, dead_topic(section.topic)))
        consumer = build(Parts(client, guard, letters, shutdown, asker.source))

        def beat() -> None:
            counts = {"decided": consumer.decided, LETTERS_LOST: consumer.dead_letters.lost}
            heart.beat(consumer.decided, consumer.hold, **counts)
            limit.renew()

        consumer.beat = beat
        try:
            consumer.run()
        except (CannotUnpack, MemoryError, SystemError) as wrong:
            # confluent-kafka turns a MemoryError into a SystemError.
            if isinstance(wrong, SystemError) and not isinstance(wrong.__cause__, MemoryError):
                raise
            log.error(
                "%s: this consumer ends; what it had not committed is read again, nothing is lost",
                wrong if isinstance(wrong, CannotUnpack) else "no memory left",
                extra=event("cannot-unpack"),
            )
            sys.exit(CANNOT_UNPACK)
        except BrokerAway as away:
            log.error(
                "%s: this consumer ends; what it had not committed is read again, nothing is lost",
                away,
                extra=event("kafka-away"),
            )
            sys.exit(UNREACHABLE)
        finally:
            heart.close()
            guard.close()
            asker.close()


def traced(engine: Decider, service: str, section: ConsumerSection) -> Decider:
    """The engine, with traces if the section asks for them. Raises ConfigError."""
    tracing = open_tracing(service, section.otlp_endpoint)
    return engine if tracing is None else TracedEngine(engine, tracing)


class Asker:
    """A consumer's questions to Kafka on one connection, opened on demand and after a failure.

    All methods raise BrokerAway.
    """

    def __init__(self, section: ConsumerSection) -> None:
        self._section = section
        self._sources: Source | None = None

    def source(self) -> str | None:
        """The topic's id now. Called after each poll."""
        try:
            self._sources = self._sources or open_source(self._section)
            return self._sources.source(self._section.topic)
        except BrokerAway:
            self.close()
            raise

    def committed(self) -> dict[int, Position]:
        """The group's commits of all partitions. Called once per connection to Redis."""
        with Topics(self._section) as topics:
            return topics.committed(self._section.group_id, self._section.topic)

    def close(self) -> None:
        """Close the connection."""
        if self._sources is not None:
            self._sources.close()
        self._sources = None


def _stop_with_parent(shutdown: Shutdown) -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        multiprocessing.connection.wait([parent.sentinel])
        if shutdown.requested:
            # Nobody is left to kill this process if it does not stop by itself.
            os._exit(SECOND_SIGNAL)
        log.warning("the parent process is gone; stopping", extra=event("parent-gone"))
        shutdown.request()

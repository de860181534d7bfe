"""Several consumers under one parent: starts them, restarts dead ones, prints the status line.

The parent holds no requests and decides nothing: killing it loses nothing, and its consumers stop
by themselves when it is gone. Children are spawned, never forked: a Kafka client has threads.
"""

import logging
import multiprocessing
import multiprocessing.connection
import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from multiprocessing.process import BaseProcess

import redis

from seckill import garbage
from seckill.batch import skip
from seckill.broker import BrokerAway, Position, open_consumer
from seckill.broker.producer import open_producer
from seckill.broker.source import Source, open_source
from seckill.broker.topics import Topics
from seckill.consumer import Consumer
from seckill.dead_letters import DeadLetters, dead_topic
from seckill.engine import Engine, Status
from seckill.errors import RedisAway, Refused
from seckill.events import event
from seckill.exit_codes import SECOND_SIGNAL, UNREACHABLE
from seckill.guard import Guard
from seckill.keys import Lane, position_field
from seckill.lag import LagWatch, Tails, read_ends
from seckill.logs import configure_logging
from seckill.redis_client import connect
from seckill.sampler import Sampler
from seckill.shutdown import Shutdown, leave_ctrl_c_to_the_parent, start_child
from seckill.stats import LaneStatus, read_lane
from seckill.status_line import status_line
from seckill.tracing import TracedEngine, open_tracing
from seckill.workers import Heart, Kind, worker_id
from seckill_project.config import Server

log = logging.getLogger(__name__)

# Seconds between two looks at the children.
LOOK_S = 0.25
# Seconds before a dead child is started again: the first time, and at most.
FIRST_RESTART_S, LONGEST_RESTART_S = 0.5, 30.0
# A child that lived for so long starts again without delay.
HEALTHY_S = 30.0
# Seconds that children have to finish their batch and leave the group.
STOP_S = 20.0
# Seconds between two looks at whether all is drained.
DRAIN_LOOK_S = 0.5


def consume(server: Server, lane: Lane) -> None:
    """What a child process does: one consumer, until SIGTERM or the parent's end."""
    leave_ctrl_c_to_the_parent()
    configure_logging(server.log_format)
    garbage.rarely()
    # SIGTERM can come twice, from whoever ends the whole group and from the parent.
    with Shutdown(signal.SIGTERM, second_exits=False) as shutdown:
        threading.Thread(target=_stop_with_parent, args=(shutdown,), daemon=True).start()
        client = None
        while client is None and not shutdown.requested:
            try:
                client = open_consumer(server)
            except BrokerAway as away:
                log.warning("%s; trying again", away, extra=event("kafka-away"))
                shutdown.wait(1.0)
        if client is None:
            return

        asker = _Asker(server)
        heart = Heart(server.redis_url, lane, Kind.CONSUMER)
        guard = Guard(
            connect(server.redis_url),
            lane,
            server.pg_dsn,
            asker.source,
            asker.committed,
            worker_id(),
        )
        consumer = Consumer(
            client=client,
            engine=_engine(server, lane, guard),
            dead_letters=DeadLetters(
                server, lambda: open_producer(server, dead_topic(server.topic))
            ),
            shutdown=shutdown,
            find_source=asker.source,
            batch_size=server.batch_size,
        )
        consumer.beat = lambda: heart.beat(
            consumer.decided, consumer.hold, decided=consumer.decided
        )
        try:
            consumer.run()
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


def _engine(server: Server, lane: Lane, guard: Guard) -> Engine:
    tracing = open_tracing("run_consumer", server.otlp_endpoint)
    how = (server.redis_url, lane, server.timeout)
    if tracing is None:
        return Engine(*how, guard=guard)
    return TracedEngine(tracing, *how, guard=guard)


class _Asker:
    """A consumer's questions to Kafka: one connection, made when needed and again where it fails.

    All raise BrokerAway.
    """

    def __init__(self, server: Server) -> None:
        self._server = server
        self._sources: Source | None = None

    def source(self) -> str | None:
        """The topic's source now. Asked after each poll."""
        try:
            self._sources = self._sources or open_source(self._server)
            return self._sources.source(self._server.topic)
        except BrokerAway:
            self.close()
            raise

    def committed(self) -> dict[int, Position]:
        """The group's commits, of all partitions. Asked once a connection to Redis."""
        with Topics(self._server) as topics:
            return topics.committed(self._server.group_id, self._server.topic)

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
            # Nobody is left who would end it if it did not end by itself.
            os._exit(SECOND_SIGNAL)
        log.warning("the parent process is gone; stopping", extra=event("parent-gone"))
        shutdown.request()


@dataclass
class _Child:
    number: int
    process: BaseProcess | None = None
    started_at: float = 0.0
    start_at: float = 0.0
    pause_s: float = FIRST_RESTART_S


@dataclass
class ConsumerGroup:
    """The parent. `run` returns when a stop was asked for, or when all is drained."""

    server: Server
    client: "redis.Redis"
    topics: Topics
    shutdown: Shutdown
    lane: Lane = field(default_factory=Lane)
    say: Callable[[str], None] = print

    _children: list[_Child] = field(default_factory=list)
    _last: tuple[float, int] | None = None
    _kafka_away: bool = False
    _restarts: int = 0
    _heart: Heart | None = None

    def __post_init__(self) -> None:
        self._tails = Tails(self.server)

    def run(self, *, drain: bool = False) -> None:
        """Keep the consumers running; the status line each `status_interval`."""
        context = multiprocessing.get_context("spawn")
        self._children = [_Child(number) for number in range(1, self.server.consumers + 1)]
        next_status = time.monotonic() + self.server.status_interval
        next_drain_look = time.monotonic() + DRAIN_LOOK_S
        heart = self._heart = Heart(self.server.redis_url, self.lane, Kind.PARENT)
        sampler = Sampler(
            self.client,
            self.lane,
            LagWatch(self.server.topic, lambda: Topics(self.server), Tails(self.server)),
        )
        sampler.start()
        try:
            while not self.shutdown.wait(LOOK_S):
                for child in self._children:
                    self._keep_alive(child, context)
                heart.beat(
                    sampler.written,
                    consumers=self._alive(),
                    samples=sampler.written,
                    restarts=self._restarts,
                )
                now = time.monotonic()
                if now >= next_status:
                    self.say(self.describe())
                    next_status = now + self.server.status_interval
                if drain and now >= next_drain_look:
                    if self.drained():
                        break
                    next_drain_look = now + DRAIN_LOOK_S
            if self.shutdown.requested:
                self.say("stopping: batches in flight are finished and committed first")
        finally:
            self._stop()
            sampler.close()
            heart.close()
        self.say(self.describe())
        self._tails.close()

    def skip_to_end(self) -> dict[int, int]:
        """Put every partition at its end, unread, and count it. {partition: requests skipped}.

        Raises Refused where Redis has no sale to skip them for, or is fenced.
        """
        source = self.topics.source(self.server.topic)
        ends = self.topics.end_offsets(self.server.topic)
        starts = self.topics.start_offsets(self.server.topic)
        lane = read_lane(self.client, self.lane)
        skipped = {}
        engine = Engine(self.server.redis_url, self.lane)
        for partition, end in ends.items():
            start = lane.positions.get(position_field(str(source), partition), 0)
            if end > start:
                passed = skip(str(source), partition, start, end, lane.generation)
                status = engine.decide([passed])[0].status
                if status not in (Status.DECIDED, Status.DUPLICATE):
                    raise Refused(
                        f"--reset-offset: Redis answers {status.name}, so nothing can be skipped. "
                        "Load a sale first (--stock 1001:10), or look at manage.py status"
                    )
            skipped[partition] = max(0, end - max(start, starts.get(partition, 0)))
        engine.close()
        positions = {
            p: Position(end, lane.generation, str(source), lane.term) for p, end in ends.items()
        }
        refused = self.topics.move_group(self.server.group_id, self.server.topic, positions)
        if refused:
            log.warning(
                "the group's offsets stay (%s); the positions in Redis have moved",
                refused,
                extra=event("commit-refused"),
            )
        return skipped

    def drained(self) -> bool:
        """Whether all that the topic holds now is decided; False when that cannot be known."""
        try:
            return self.lag(read_lane(self.client, self.lane)) == 0
        except (BrokerAway, RedisAway):
            return False

    def lag(self, lane: LaneStatus) -> int:
        """Requests in the topic that are not decided. Raises BrokerAway."""
        ends = self._tails.look(read_ends(self.topics, self.server.topic), lane.positions)
        return sum(ends.lag(lane.positions).values())

    def describe(self) -> str:
        """The status line: stock, outcomes, rate, lag, consumers; or what cannot be reached."""
        alive = self._alive()
        try:
            lane = read_lane(self.client, self.lane)
        except RedisAway as away:
            return f"[status] {away} | consumers {alive}"
        try:
            lag: int | None = self.lag(lane)
            if self._kafka_away:
                log.warning("going on: Kafka answers again", extra=event("going-on"))
            self._kafka_away = False
        except BrokerAway as away:
            lag = None
            if not self._kafka_away:
                log.error(
                    "%s. The sale waits for it, nothing is lost", away, extra=event("kafka-away")
                )
            self._kafka_away = True
        now = time.monotonic()
        rate = 0.0
        if self._last is not None and now > self._last[0]:
            rate = max(0.0, (lane.decided - self._last[1]) / (now - self._last[0]))
        self._last = (now, lane.decided)
        return status_line(lane, rate=rate, lag=lag, consumers=alive)

    def _alive(self) -> int:
        return sum(1 for child in self._children if child.process and child.process.is_alive())

    def _keep_alive(self, child: _Child, context: multiprocessing.context.SpawnContext) -> None:
        now = time.monotonic()
        if child.process is not None:
            if child.process.is_alive():
                return
            code = child.process.exitcode
            if now - child.started_at > HEALTHY_S:
                child.pause_s = FIRST_RESTART_S
            pause_s = child.pause_s
            if self.server.consumers > 1:
                # A member that comes while the dead one's session lasts has the whole group wait
                # for it; the others go on meanwhile if it comes after that.
                pause_s = max(pause_s, self.server.session_timeout / 1000)
            log.error(
                "consumer %d ended with code %s; nothing is lost, starting it again in %.1f s",
                child.number,
                code,
                pause_s,
                extra=event("child-ended", consumer=child.number, code=code),
            )
            self._restarts += 1
            if self._heart is not None and child.process.pid is not None:
                self._heart.forget(child.process.pid)
            child.process.close()
            child.process = None
            child.start_at = now + pause_s
            child.pause_s = min(child.pause_s * 2, LONGEST_RESTART_S)
        if now >= child.start_at:
            child.process = context.Process(
                target=consume,
                args=(self.server, self.lane),
                name=f"consumer-{child.number}",
                daemon=True,
            )
            start_child(child.process)
            child.started_at = now

    def _stop(self) -> None:
        running = [child.process for child in self._children if child.process is not None]
        for process in running:
            process.terminate()
        deadline = time.monotonic() + STOP_S
        for process in running:
            process.join(max(0.1, deadline - time.monotonic()))
            if process.is_alive():
                log.error(
                    "a consumer did not stop within %.0f s; ending it",
                    STOP_S,
                    extra=event("child-killed"),
                )
                process.kill()
                process.join()
        for child in self._children:
            child.process = None

"""Several consumers under one parent: what a child does, the status line, the end of a drain.

The parent holds no requests and decides nothing, so killing it loses nothing. Its consumers stop by
themselves when it is gone.
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

import redis

from seckill.broker import BrokerAway, CannotUnpack, Position
from seckill.broker.opening import open_consumer, open_producer
from seckill.broker.source import Source, open_source
from seckill.broker.strangers import Strangers
from seckill.broker.topics import Topics
from seckill.config.sections import Server
from seckill.consumer.batch import skip
from seckill.consumer.children import Children
from seckill.consumer.consumer import Consumer
from seckill.consumer.engine import Engine, Status
from seckill.consumer.guard import Guard
from seckill.consumer.memory import MemoryLimit
from seckill.consumer.status_line import status_line
from seckill.consumer.traced_engine import TracedEngine
from seckill.dead_letters.writer import DeadLetters, dead_topic
from seckill.errors import RedisAway, Refused
from seckill.lane.client import connect
from seckill.lane.keys import Lane, position_field
from seckill.lane.status import LaneStatus, read_lane
from seckill.process import garbage
from seckill.process.events import event
from seckill.process.exit_codes import CANNOT_UNPACK, SECOND_SIGNAL, UNREACHABLE
from seckill.process.logs import configure_logging
from seckill.process.shutdown import Shutdown, leave_ctrl_c_to_the_parent
from seckill.telemetry.blocked import in_words
from seckill.telemetry.heartbeats import LETTERS_LOST, Heart, Kind, worker_id
from seckill.telemetry.lag import Ends, LagWatch, Tails, read_ends
from seckill.telemetry.sampler import Sampler
from seckill.telemetry.tracing import open_tracing

log = logging.getLogger(__name__)

# Seconds between two looks at the children.
LOOK_S = 0.25
# Seconds between two checks whether all is drained, and between reports of what is waited for.
DRAIN_LOOK_S, DRAIN_TELL_S = 0.5, 10.0
# Seconds that the end waits for a thread that talks to Kafka.
THREAD_STOP_S = 2.0


def consume(server: Server, lane: Lane) -> None:
    """The main function of a child process: one consumer, until SIGTERM or the parent's end."""
    leave_ctrl_c_to_the_parent()
    configure_logging(server.log_format)
    garbage.rarely()
    # SIGTERM may come twice: to the whole process group, and from the parent.
    with Shutdown(signal.SIGTERM, second_exits=False) as shutdown:
        threading.Thread(target=_stop_with_parent, args=(shutdown,), daemon=True).start()
        # For confluent-kafka only: kafka-python limits its memory itself and never calls `begin`.
        limit = MemoryLimit()
        client = None
        while client is None and not shutdown.requested:
            try:
                client = open_consumer(server, limit.begin)
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


def _engine(server: Server, lane: Lane, guard: Guard) -> Engine:
    tracing = open_tracing("run_consumer", server.otlp_endpoint)
    how = (server.redis_url, lane, server.timeout)
    if tracing is None:
        return Engine(*how, guard=guard)
    return TracedEngine(tracing, *how, guard=guard)


class _Asker:
    """A consumer's questions to Kafka on one connection, opened on demand and after a failure.

    All methods raise BrokerAway.
    """

    def __init__(self, server: Server) -> None:
        self._server = server
        self._sources: Source | None = None

    def source(self) -> str | None:
        """The topic's id now. Called after each poll."""
        try:
            self._sources = self._sources or open_source(self._server)
            return self._sources.source(self._server.topic)
        except BrokerAway:
            self.close()
            raise

    def committed(self) -> dict[int, Position]:
        """The group's commits of all partitions. Called once per connection to Redis."""
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
            # Nobody is left to kill this process if it does not stop by itself.
            os._exit(SECOND_SIGNAL)
        log.warning("the parent process is gone; stopping", extra=event("parent-gone"))
        shutdown.request()


@dataclass
class ConsumerGroup:
    """The parent. `run` returns when a stop was requested, or when all is drained."""

    server: Server
    client: "redis.Redis"
    topics: Topics
    shutdown: Shutdown
    lane: Lane = field(default_factory=Lane)
    say: Callable[[str], None] = print

    _children: Children | None = None
    _last: tuple[float, int] | None = None
    _kafka_away: bool = False
    _ends: Ends | None = None

    def __post_init__(self) -> None:
        self._tails = Tails(self.server)
        self.strangers = Strangers(self.server)

    def run(self, *, drain: bool = False, drain_limit_s: float | None = None) -> bool:
        """Keep the consumers running, and print the status line every `status_interval` seconds.

        With `drain`, until all is decided (True) or the limit is over (False).
        """
        begun = time.monotonic()
        next_status = begun + self.server.status_interval
        next_drain_look, next_drain_tell = begun + DRAIN_LOOK_S, begun + DRAIN_TELL_S
        heart = Heart(self.server.redis_url, self.lane, Kind.PARENT)
        children = self._children = Children(self.server, self.lane, consume, heart.forget)
        sampler = Sampler(
            self.client,
            self.lane,
            LagWatch(self.server.topic, lambda: Topics(self.server), Tails(self.server)),
        )
        sampler.start()
        watch = threading.Thread(target=self.strangers.run, name="strangers", daemon=True)
        watch.start()
        in_time = True
        try:
            while in_time and not self.shutdown.wait(LOOK_S):
                children.keep_alive()
                heart.beat(
                    sampler.written,
                    consumers=children.alive,
                    samples=sampler.written,
                    restarts=children.restarts,
                )
                now = time.monotonic()
                if now >= next_status:
                    self.say(self.describe())
                    next_status = now + self.server.status_interval
                if drain and now >= next_drain_look:
                    if self.drained():
                        break
                    in_time = drain_limit_s is None or now - begun < drain_limit_s
                    next_drain_look = now + DRAIN_LOOK_S
                    if now >= next_drain_tell or not in_time:
                        self.say(f"--drain waits: {self.waits_for()}")
                        next_drain_tell = now + DRAIN_TELL_S
            if self.shutdown.requested:
                self.say("stopping: batches in flight are finished and committed first")
        finally:
            children.stop()
            self.strangers.stop()
            sampler.close()
            heart.close()
            watch.join(THREAD_STOP_S)
        self.say(self.describe())
        self.close()
        return in_time

    def close(self) -> None:
        """Close what the lag's readers opened. `run` calls it at its end."""
        self._tails.close()

    def skip_to_end(self) -> dict[int, int]:
        """Move every partition to its end, and count what is skipped as {partition: requests}.

        Raises Refused if Redis has no sale to count it for, or is fenced.
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
        """Whether all that the topic holds now is decided. False if that is unknown."""
        try:
            return self.lag(read_lane(self.client, self.lane)) == 0
        except (BrokerAway, RedisAway):
            return False

    def waits_for(self) -> str:
        """What is not decided yet and why, in words."""
        try:
            lane = read_lane(self.client, self.lane)
            lag = self.lag(lane)
        except (BrokerAway, RedisAway) as away:
            return str(away)
        reasons = [f"{lag:,} requests are not decided yet"]
        if not lane.loaded:
            reasons.append("nothing is on sale (NOT_LOADED)")
        if lane.fence is not None:
            reasons.append(f"the lane is fenced ({lane.fence.word})")
        if self._ends is not None and self._ends.blocked:
            reasons.append(in_words(self._ends.blocked))
        if self.strangers.found:
            reasons.append(self.strangers.in_words())
        return "; ".join(reasons)

    def lag(self, lane: LaneStatus) -> int:
        """Undecided requests in the topic. Raises BrokerAway."""
        self._ends = None
        ends = read_ends(self.topics, self.server.topic)
        self._ends = self._tails.look(self.topics, ends, lane.positions)
        return sum(self._ends.lag(lane.positions).values())

    def describe(self) -> str:
        """The status line: stock, outcomes, rate, lag, consumers; or what cannot be reached."""
        alive = self._children.alive if self._children else 0
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
        blocked = in_words(self._ends.blocked) if self._ends else ""
        return status_line(lane, rate=rate, lag=lag, blocked=blocked, consumers=alive)

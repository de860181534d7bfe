"""Runs one door process on uvicorn: our socket, our signals, our stop.

Order of a stop: no new clicks; those who wait are told "waiting" at once; answers in flight are
sent; what was handed to Kafka is flushed; the process ends.
"""

import asyncio
import contextlib
import logging
import math
import resource
import socket
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import uvicorn
import uvloop

from seckill.broker.opening import open_outbox
from seckill.broker.outbox import Outbox
from seckill.broker.source import Source, open_source
from seckill.config.addresses import origins
from seckill.config.sections import Door as Section
from seckill.errors import BrokerAway
from seckill.formats.settle import settle_topic
from seckill.lane.keys import Lane
from seckill.process import garbage
from seckill.process.events import event
from seckill.process.shutdown import Shutdown
from seckill.process.startup import wait_for
from seckill.telemetry.heartbeats import Heart, Kind
from seckill.telemetry.traced_outbox import traced_outbox
from seckill.web.door.app import Door
from seckill.web.door.clicks import Clicks
from seckill.web.door.counts import Counts
from seckill.web.door.holds import Holds
from seckill.web.door.keys import Keys
from seckill.web.door.limits import Limits
from seckill.web.door.mirror import Mirror
from seckill.web.door.ordering import Ordering
from seckill.web.door.orders import Orders
from seckill.web.door.page.page import Page
from seckill.web.door.plain.calls import Plain
from seckill.web.door.protocol import IDLE_S, LimitedProtocol
from seckill.web.door.reader import Reader
from seckill.web.door.settling import Settling
from seckill.web.door.topic import Topic
from seckill.web.door.trust import Trust
from seckill.web.sockets import BACKLOG

log = logging.getLogger(__name__)

# Seconds between two checks for a stop, between two looks for the settle topic, and for the last
# answers.
LOOK_S, TOPIC_S, GRACE_S = 0.1, 5.0, 5.0
# Seconds before a task that goes on is cancelled again.
ASK_AGAIN_S = 1.0
# Open files below this number leave no room for a crowd.
FEW_FILES = 4096


class _Server(uvicorn.Server):
    """uvicorn without its own signal handlers: `Shutdown` has ours."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """See uvicorn."""
        yield


@dataclass(frozen=True)
class _Opened:
    """The connections of a door to Kafka, and the topic's id."""

    reader: Source
    source: str
    outbox: Outbox
    settling: Settling


def raise_file_limit() -> int:
    """Allow as many open files as the system lets this process have; returns how many."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return hard


def serve(
    section: Section,
    lane: Lane,
    keys: Keys,
    bound: socket.socket,
    shutdown: Shutdown,
    say: Callable[[str], None],
) -> None:
    """Serve until a stop is requested. If the topic is made again, everything is opened anew.

    Raises BrokerAway if Kafka does not answer at the start.
    """
    # Clicks and tokens that are remembered are many objects, and none of them is part of a cycle.
    garbage.rarely()
    limit_s = section.connect_timeout
    while not shutdown.requested:
        opened = wait_for(lambda: _open(section), limit_s, shutdown, say)
        limit_s = math.inf
        heart = Heart(section.redis_url, lane, Kind.DOOR)
        try:
            uvloop.run(_serve(section, lane, keys, bound, shutdown, opened, heart))
        finally:
            left = opened.outbox.flush(GRACE_S) + opened.settling.flush(GRACE_S)
            if left:
                say(f"{left:,} requests were not acknowledged: Kafka may or may not have them")
            opened.outbox.close()
            opened.settling.close()
            opened.reader.close()
            heart.close()
        if not shutdown.requested:
            say(f"topic {section.topic} was made again: this door opens anew")


def _open(section: Section) -> _Opened:
    with contextlib.ExitStack() as ends:
        reader = ends.enter_context(contextlib.closing(open_source(section)))
        source = reader.source(section.topic)
        if source is None:
            raise BrokerAway(f"there is no topic {section.topic}; manage.py run_consumer makes it")
        outbox = traced_outbox(open_outbox(section, section.topic), section)
        ends.callback(outbox.close)
        opened = _Opened(reader, source, outbox, Settling(settle_topic(section.topic)))
        _open_settling(section, reader, opened.settling)
        # Nobody needs them if one cannot be opened; else they stay open.
        ends.pop_all()
        return opened


def _open_settling(section: Section, reader: Source, settling: Settling) -> None:
    """Open the settle topic if it is there. Raises BrokerAway."""
    if not settling.is_open and reader.source(settling.topic) is not None:
        settling.open(open_outbox(section, settling.topic))


def _look_for_settling(section: Section, settling: Settling) -> None:
    """The same with a reader of its own: that of the requests has a thread of its own."""
    with contextlib.closing(open_source(section)) as reader:
        _open_settling(section, reader, settling)


async def _serve(
    section: Section,
    lane: Lane,
    keys: Keys,
    bound: socket.socket,
    shutdown: Shutdown,
    opened: _Opened,
    heart: Heart,
) -> None:
    source, outbox = opened.source, opened.outbox
    topic = Topic(opened.reader, section.topic, source)
    trust = Trust(Reader(section.pg_dsn, connections=1), lane, source)
    mirror = Mirror(section.redis_url, lane, source, outbox.partitions, trust)
    limits, counts = Limits.of(section), Counts()
    pay_url = section.pay_url or ""
    ordering = Ordering(
        tokens=keys.tokens,
        tickets=keys.tickets,
        limits=limits,
        clicks=Clicks(outbox, topic),
        mirror=mirror,
        counts=counts,
    )
    orders, allowed = Orders(section.pg_dsn), origins(section.cors_origins)
    door = Door(
        ordering=ordering,
        holds=Holds(opened.settling, keys.payers, mirror, limits, counts, pay_url),
        orders=orders,
        page=Page(section),
        plain=Plain(ordering, orders, allowed, section.buyer_cookie, section.login_url, pay_url),
        origins=allowed,
    )
    config = uvicorn.Config(
        door,
        loop="none",
        http=LimitedProtocol,
        lifespan="off",
        log_config=None,
        access_log=False,
        server_header=False,
        timeout_keep_alive=IDLE_S,
        timeout_graceful_shutdown=int(GRACE_S),
        proxy_headers=False,
        backlog=BACKLOG,
    )
    server = _Server(config)
    threads = ThreadPoolExecutor(1, "door")
    loop = asyncio.get_running_loop()
    work = [
        asyncio.create_task(task, name=name)
        for name, task in (
            ("mirror", mirror.run()),
            ("trust", trust.run()),
            ("clicks", ordering.clicks.run()),
            ("tickets", ordering.clicks.prove()),
            ("settling", _settle(section, opened, loop, threads)),
            ("heart", _beat(door, heart, loop, threads)),
            ("topic", topic.until_another()),
            ("stop", _wait_for_stop(shutdown)),
        )
    ]
    serving = asyncio.create_task(server.serve(sockets=[bound.dup()]), name="http")
    try:
        done, _ = await asyncio.wait([*work, serving], return_when=asyncio.FIRST_COMPLETED)
        ordering.stopping = True
        mirror.release_all()
        server.should_exit = True
        await serving
        for task in done:
            # A bug in one of them ends the process loudly.
            task.result()
    finally:
        await end(work)
        await door.orders.close()
        await trust.close()
        threads.shutdown()
        topic.close()


async def end(tasks: Sequence["asyncio.Task[None]"]) -> None:
    """Cancel tasks until they have ended.

    redis-py sends with asyncio.wait_for, which before Python 3.12 loses a cancellation that comes
    as the send ends. Asked once, the mirror would then go on, and the process would never end.
    """
    left = set(tasks)
    while left:
        for task in left:
            task.cancel()
        _, left = await asyncio.wait(left, timeout=ASK_AGAIN_S)


async def _wait_for_stop(shutdown: Shutdown) -> None:
    while not shutdown.requested:
        await asyncio.sleep(LOOK_S)


async def _beat(
    door: Door, heart: Heart, loop: asyncio.AbstractEventLoop, threads: ThreadPoolExecutor
) -> None:
    while True:
        counts = door.heartbeat()
        detail = door.ordering.mirror.away
        await loop.run_in_executor(
            threads,
            lambda: heart.beat(door.ordering.counts.done, detail, **counts),  # noqa: B023
        )
        await asyncio.sleep(1.0)


async def _settle(
    section: Section,
    opened: _Opened,
    loop: asyncio.AbstractEventLoop,
    threads: ThreadPoolExecutor,
) -> None:
    """Send settlements, as soon as their topic is there."""
    while not opened.settling.is_open:
        await asyncio.sleep(TOPIC_S)
        try:
            await loop.run_in_executor(threads, _look_for_settling, section, opened.settling)
        except BrokerAway as away:
            log.debug("the settle topic: %s", away, extra=event("door-topic"))
    await opened.settling.run()

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
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import uvicorn
import uvloop

from seckill.config.addresses import origins
from seckill.config.sections import Door as Section
from seckill.errors import BrokerAway
from seckill.formats.lanes import MAIN
from seckill.lane.keys import Lane
from seckill.process import garbage
from seckill.process.events import event
from seckill.process.shutdown import Shutdown
from seckill.process.startup import wait_for
from seckill.telemetry.heartbeats import Heart, Kind
from seckill.web.door.app import Door
from seckill.web.door.clicks import Clicks
from seckill.web.door.door_lane import DoorLane
from seckill.web.door.holds import Holds
from seckill.web.door.keys import Keys
from seckill.web.door.limits import Limits
from seckill.web.door.mirror import Mirror
from seckill.web.door.opened import Opened, can_open, look_for_settling, open_all
from seckill.web.door.ordering import Ordering
from seckill.web.door.orders import Orders
from seckill.web.door.page.page import Page
from seckill.web.door.plain.calls import Plain
from seckill.web.door.protocol import IDLE_S, LimitedProtocol
from seckill.web.door.reader import Reader
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


def raise_file_limit() -> int:
    """Allow as many open files as the system lets this process have; returns how many."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return hard


def serve(
    sections: Mapping[str, Section],
    keys: Keys,
    bound: socket.socket,
    shutdown: Shutdown,
    say: Callable[[str], None],
) -> None:
    """Serve until a stop is requested. If a topic is made again, everything is opened anew.

    `sections` are {lane: its section}. Raises BrokerAway if Kafka does not answer at the start.
    """
    # Clicks and tokens that are remembered are many objects, and none of them is part of a cycle.
    garbage.rarely()
    limit_s = next(iter(sections.values())).connect_timeout
    while not shutdown.requested:
        opened, closed = wait_for(lambda: open_all(sections, say), limit_s, shutdown, say)
        limit_s = math.inf
        hearts = {
            name: Heart(sections[name].redis_url, Lane.named(name), Kind.DOOR) for name in opened
        }
        why = ""
        try:
            why = uvloop.run(_serve(sections, opened, closed, keys, bound, shutdown, hearts))
        finally:
            until = time.monotonic() + GRACE_S
            left = sum(each.flush_until(until) for each in opened.values())
            if left:
                say(f"{left:,} requests were not acknowledged: Kafka may or may not have them")
            for each in opened.values():
                each.close()
            for heart in hearts.values():
                heart.close()
        if not shutdown.requested:
            say(f"{why}: this door opens anew")


@dataclass(frozen=True)
class _Running:
    """A lane that is served, with what has to be closed at the end."""

    lane: DoorLane
    trust: Trust
    topic: Topic


def _lane(name: str, section: Section, opened: Opened, limits: Limits, only: str) -> _Running:
    lane = Lane.named(name)
    topic = Topic(opened.reader, section.topic, opened.source)
    trust = Trust(Reader(section.pg_dsn, connections=1), lane, opened.source)
    mirror = Mirror(section.redis_url, lane, opened.source, opened.outbox.partitions, trust)
    clicks = Clicks(opened.outbox, topic)
    return _Running(DoorLane(clicks, mirror, opened.settling, limits, only), trust, topic)


async def _serve(
    sections: Mapping[str, Section],
    opened: Mapping[str, Opened],
    closed: Mapping[str, str],
    keys: Keys,
    bound: socket.socket,
    shutdown: Shutdown,
    hearts: Mapping[str, Heart],
) -> str:
    """Serve; returns why it has to open anew, in words."""
    section = next(iter(sections.values()))
    limits = Limits.of(section)
    only = _only(list(sections))
    running = {
        name: _lane(name, sections[name], each, limits, only) for name, each in opened.items()
    }
    orders, allowed = Orders(section.pg_dsn), origins(section.cors_origins)
    pay_url = section.pay_url or ""
    ordering = Ordering(
        tokens=keys.tokens,
        tickets=keys.tickets,
        limits=limits,
        orders=orders,
        lanes=[each.lane for each in running.values()],
        closed=closed,
    )
    door = Door(
        ordering=ordering,
        holds=Holds(ordering, keys.payers, pay_url),
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
    threads = ThreadPoolExecutor(len(sections), "door")
    loop = asyncio.get_running_loop()
    work = [
        asyncio.create_task(task, name=f"{what} {name}")
        for name, each in running.items()
        for what, task in (
            ("mirror", each.lane.mirror.run()),
            ("trust", each.trust.run()),
            ("clicks", each.lane.clicks.run()),
            ("tickets", each.lane.clicks.prove()),
            ("settling", _settle(sections[name], opened[name], loop, threads)),
            ("heart", _beat(each.lane, hearts[name], loop, threads)),
            ("topic", _until_another(each.topic, sections[name])),
        )
    ]
    work += [
        asyncio.create_task(_until_open(name, sections[name], loop, threads), name=f"open {name}")
        for name in closed
    ]
    if len(sections) > 1 or only:
        work.append(asyncio.create_task(ordering.routing.learn(), name="routes"))
    work.append(asyncio.create_task(_wait_for_stop(shutdown), name="stop"))
    serving = asyncio.create_task(server.serve(sockets=[bound.dup()]), name="http")
    try:
        done, _ = await asyncio.wait([*work, serving], return_when=asyncio.FIRST_COMPLETED)
        ordering.stop()
        server.should_exit = True
        await serving
        # A bug in one of them ends the process loudly.
        return ", ".join(filter(None, [task.result() for task in done]))
    finally:
        await end(work)
        await orders.close()
        for each in running.values():
            await each.trust.close()
        threads.shutdown()
        for each in running.values():
            each.topic.close()


def _only(lanes: Sequence[str]) -> str:
    """Which lanes a door serves, for whoever asks for an activity of another one."""
    if len(lanes) > 1:
        return f" in lanes {', '.join(lanes)}, the only ones that this door serves"
    return "" if lanes == [MAIN] else f" in lane {lanes[0]}, the only one that this door serves"


async def end(tasks: Sequence["asyncio.Task[Any]"]) -> None:
    """Cancel tasks until they have ended.

    redis-py sends with asyncio.wait_for, which before Python 3.12 loses a cancellation that comes
    as the send ends. Asked once, the mirror would then go on, and the process would never end.
    """
    left = set(tasks)
    while left:
        for task in left:
            task.cancel()
        _, left = await asyncio.wait(left, timeout=ASK_AGAIN_S)


async def _wait_for_stop(shutdown: Shutdown) -> str:
    while not shutdown.requested:
        await asyncio.sleep(LOOK_S)
    return ""


async def _until_another(topic: Topic, section: Section) -> str:
    await topic.until_another()
    return f"topic {section.topic} was made again"


async def _until_open(
    name: str, section: Section, loop: asyncio.AbstractEventLoop, threads: ThreadPoolExecutor
) -> str:
    while True:
        await asyncio.sleep(TOPIC_S)
        if await loop.run_in_executor(threads, can_open, section):
            return f"lane {name} can be opened"


async def _beat(
    lane: DoorLane, heart: Heart, loop: asyncio.AbstractEventLoop, threads: ThreadPoolExecutor
) -> None:
    while True:
        counts, detail, done = lane.heartbeat(), lane.mirror.away, lane.counts.done
        await loop.run_in_executor(threads, lambda: heart.beat(done, detail, **counts))  # noqa: B023
        await asyncio.sleep(1.0)


async def _settle(
    section: Section,
    opened: Opened,
    loop: asyncio.AbstractEventLoop,
    threads: ThreadPoolExecutor,
) -> None:
    """Send settlements, as soon as their topic is there."""
    while not opened.settling.is_open:
        await asyncio.sleep(TOPIC_S)
        try:
            await loop.run_in_executor(threads, look_for_settling, section, opened.settling)
        except BrokerAway as away:
            log.debug("the settle topic: %s", away, extra=event("door-topic"))
    await opened.settling.run()

"""The buyers' door: clicks acknowledged, click to decided answer, answers read, buyers who wait.

Beside it, in the same run, a plain Django view that decides and stores each click by itself.
"""

import asyncio
import json
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from os import getloadavg, kill

import psutil
import uvloop

from bench.crowd import Crowd
from bench.figures import Figure
from bench.flow import wait_for_members
from bench.rig import CLIENTS, LOOK_S, UNLIMITED, Rig
from devstack.endpoints import DevstackError
from devstack.state import free_port, listens
from seckill.config.layers import BASE_DIR
from seckill.lane.keys import Lane
from seckill.web.door.buyer_keys import HS256
from seckill.web.door.token_maker import TokenMaker

SECRET = "only for the bench: 32 characters and more"
# What the doors of a measurement sign with.
DOOR_SECRETS = {
    "SECKILL_BUYER_KEYS": f"bench:{SECRET}",
    "SECKILL_TICKET_SECRET": "a secret of the bench",
}
TOKENS = TokenMaker("bench", HS256, SECRET.encode())
# Connections of clicks, of answers; clicks/s at which the time to the answer is measured.
CLICKING, READING, OFFERED = 256, 64, 2_000
CONNECTIONS = 2_000
PORT = re.compile(r"http://127\.0\.0\.1:(\d+)/v1/requests")
WAIT = "Prefer: wait=25\r\n"


@dataclass
class _Door:
    """A door of this run."""

    rig: Rig
    port: int
    process: psutil.Process
    users: int = 0
    # One for all, so that a user's token is the same each time.
    tokens_end_at: int = field(default_factory=lambda: int(time.time()) + 24 * 3600)

    def clicks(self, count: int, *, wait: bool, known: bool = False) -> list[bytes]:
        """Clicks of so many users: new ones, or with `known` the latest ones once more."""
        if not known:
            self.users += count
        made = time.monotonic_ns()
        return [
            _click(user, TOKENS.make(user, self.tokens_end_at), f"bench-{made}-{user}", wait)
            for user in range(self.users - count + 1, self.users + 1)
        ]

    @contextmanager
    def cpu(self) -> Iterator[list[float]]:
        """Its CPU seconds in the block, as the only element afterwards."""
        before, used = self.process.cpu_times(), list[float]()
        yield used
        after = self.process.cpu_times()
        used.append(after.user + after.system - before.user - before.system)


def door(rig: Rig) -> list[Figure]:
    """All of it, on one door process."""
    values: dict[str, list[float]] = {}
    note = ""
    for repeat in range(1, rig.size.repeats + 1):
        rig.say(f"door: repeat {repeat} of {rig.size.repeats}, load {getloadavg()[0]:.1f}")
        found, note = _once(rig)
        for name, value in found.items():
            values.setdefault(name, []).append(value)
    note = f"load {getloadavg()[0]:.1f} at the end. {note}"

    def figure(name: str, unit: str, goal: float | None = None, most: bool = True) -> Figure:
        return Figure("door", name, values[name], unit, goal, most, note=note)

    many = f"{rig.size.waiting:,} buyers wait"
    return [
        figure("clicks acknowledged", "/s", 8_000, most=False),
        figure("door's CPU a click, token seen first", "us", 90),
        figure("door's CPU a click, token known", "us"),
        figure("click to decided answer at 2,000/s, p50", "ms", 25),
        figure("click to decided answer at 2,000/s, p99", "ms", 80),
        figure("decided answers", "/s"),
        figure("answers of a plain Django view", "/s"),
        figure("decided answers of the plain view's", "x", 10, most=False),
        figure("the plain view's CPU a click", "us"),
        figure("door's CPU an answer that is read", "us", 50),
        figure("commands of Redis an answer that is read", "", 1),
        figure(f"{many}: memory", "MB", 260),
        figure(f"{many}: memory of each", "kB"),
        figure(f"{many}: all told after the decision", "s", 1.5),
    ]


def _once(rig: Rig) -> tuple[dict[str, float], str]:
    found: dict[str, float] = {}
    topic = f"bench-door-{time.monotonic_ns()}"
    rig.topics.ensure(topic)
    rig.clean(UNLIMITED)
    opened = _open(rig, topic)
    clicks = rig.size.clicks

    # The first clicks find connections, tables and caches that are cold.
    Crowd(opened.clicks(1_000, wait=False), CLICKING).run(opened.port)
    asked = opened.clicks(clicks, wait=False)
    with opened.cpu() as used:
        done = _all_are(202, Crowd(asked, CLICKING).run(opened.port))
    found["clicks acknowledged"] = clicks / done.seconds
    found["door's CPU a click, token seen first"] = used[0] / clicks * 1e6
    asked = opened.clicks(clicks, wait=False, known=True)
    with opened.cpu() as used:
        _all_are(202, Crowd(asked, CLICKING).run(opened.port))
    found["door's CPU a click, token known"] = used[0] / clicks * 1e6

    section = rig.section(topic, CLIENTS[0])
    rig.start_consumer(section)
    rig.crew.start("run_log_worker", "run_log_worker")
    wait_for_members(rig, section.group_id)
    _await_decided(rig, topic)
    total = int(OFFERED * rig.size.latency_s)
    timed = Crowd(
        opened.clicks(total, wait=True), CONNECTIONS, [n / OFFERED for n in range(total)]
    ).run(opened.port)
    found["click to decided answer at 2,000/s, p50"] = timed.percentile_ms(0.5)
    found["click to decided answer at 2,000/s, p99"] = timed.percentile_ms(0.99)
    decided = _all_are(200, Crowd(opened.clicks(clicks, wait=True), CLICKING).run(opened.port))
    found["decided answers"] = clicks / decided.seconds

    tickets = [json.loads(body)["ticket"] for body in decided.bodies]
    before = rig.client.info("stats")["total_commands_processed"]
    with opened.cpu() as used:
        _all_are(200, Crowd([_ask(ticket) for ticket in tickets], READING).run(opened.port))
    commands = rig.client.info("stats")["total_commands_processed"] - before
    found["door's CPU an answer that is read"] = used[0] / clicks * 1e6
    found["commands of Redis an answer that is read"] = commands / clicks

    memory, each_kb, told_s = _tell_all(rig, opened, topic)
    found[f"{rig.size.waiting:,} buyers wait: memory"] = memory
    found[f"{rig.size.waiting:,} buyers wait: memory of each"] = each_kb
    found[f"{rig.size.waiting:,} buyers wait: all told after the decision"] = told_s
    _await_decided(rig, topic)
    rig.crew.stop()
    rig.audit()

    rate, cpu = _plain_view(rig, opened)
    found["answers of a plain Django view"] = rate
    found["the plain view's CPU a click"] = cpu * 1e6
    found["decided answers of the plain view's"] = found["decided answers"] / rate
    not_decided = sum(n for status, n in timed.statuses.items() if status != 200)
    return found, f"{not_decided:,} clicks had no decision at 2,000/s" if not_decided else ""


def _open(rig: Rig, topic: str) -> _Door:
    rig.crew.log("run_door").unlink(missing_ok=True)
    rig.crew.start(
        "run_door",
        *("run_door", "--port", "0", "--topic", topic, "--brokers", rig.server.brokers),
        *("--user-rate", "0", "--address-rate", "0"),
        *("--waiting-per-user", "0", "--waiting-per-address", "0"),
    )
    began = time.monotonic()
    while True:
        found = PORT.search(rig.crew.log("run_door").read_text(encoding="utf-8"))
        if found and listens(int(found[1])):
            return _Door(rig, int(found[1]), psutil.Process(rig.crew.pid("run_door")))
        rig.check_time(began, "run_door")
        time.sleep(LOOK_S)


def _tell_all(rig: Rig, opened: _Door, topic: str) -> tuple[float, float, float]:
    """(MB of the door while so many wait, kB of each of them, seconds from the decision until all
    of them are told).
    """
    _stop_consumer(rig)
    many, alone = rig.size.waiting, opened.process.memory_info().rss
    taken = _all_are(202, Crowd(opened.clicks(many, wait=False), CLICKING).run(opened.port))
    asked = [_ask(json.loads(body)["ticket"], wait=True) for body in taken.bodies]
    crowd = Crowd(asked, many, again=lambda body: b'"waiting"' in body)
    memory = decided_at = 0.0

    async def play() -> None:
        nonlocal memory, decided_at
        sent = asyncio.Event()
        playing = asyncio.create_task(crowd.play(opened.port, sent.set))
        await asyncio.wait(
            [playing, asyncio.create_task(sent.wait())], return_when=asyncio.FIRST_COMPLETED
        )
        await asyncio.sleep(1.0)
        memory = opened.process.memory_info().rss / 1e6
        rig.start_consumer(rig.section(topic, CLIENTS[0]))
        while not _all_decided(rig, topic) and not playing.done():
            await asyncio.sleep(LOOK_S / 10)
        decided_at = time.perf_counter()
        await playing

    uvloop.run(play())
    each_kb = (memory * 1e6 - alone) / many / 1e3
    return memory, each_kb, max(max(crowd.told_at) - decided_at, 0.0)


def _stop_consumer(rig: Rig) -> None:
    kill(rig.crew.pid("run_consumer"), signal.SIGTERM)
    rig.await_end("run_consumer")


def _all_decided(rig: Rig, topic: str) -> bool:
    source = f"{rig.topics.source(topic)}:".encode()
    stored: dict[bytes, bytes] = rig.client.hgetall(Lane().positions)  # type: ignore[assignment]
    done = sum(int(n) for name, n in stored.items() if name.startswith(source))
    return done >= sum(rig.topics.end_offsets(topic).values())


def _await_decided(rig: Rig, topic: str) -> None:
    began = time.monotonic()
    while not _all_decided(rig, topic):
        rig.check_time(began, "run_consumer")
        time.sleep(LOOK_S)


def _plain_view(rig: Rig, opened: _Door) -> tuple[float, float]:
    """(answers/s, CPU seconds an answer) of the view."""
    port = free_port(())
    process = subprocess.Popen(
        [
            *(sys.executable, "-m", "bench.plain_view", str(port)),
            *(rig.server.redis_url, rig.server.pg_dsn, SECRET),
        ],
        cwd=BASE_DIR,
    )
    try:
        began = time.monotonic()
        while not listens(port):
            rig.check_time(began, "run_door")
            if process.poll() is not None:
                raise DevstackError("the plain view ended")
            time.sleep(LOOK_S)
        clicks = max(rig.size.clicks // 10, 1_000)
        Crowd(opened.clicks(200, wait=True), CLICKING).run(port)
        asked, watched = opened.clicks(clicks, wait=True), psutil.Process(process.pid)
        before = watched.cpu_times()
        done = _all_are(200, Crowd(asked, CLICKING).run(port))
        after = watched.cpu_times()
        used = after.user + after.system - before.user - before.system
        return clicks / done.seconds, used / clicks
    finally:
        process.terminate()
        process.wait()


def _all_are(status: int, crowd: Crowd) -> Crowd:
    if set(crowd.statuses) != {status}:
        raise DevstackError(f"not every answer is {status}: {dict(crowd.statuses)}")
    return crowd


def _click(user: int, token: str, key: str, wait: bool) -> bytes:
    body = '{"activity_id":1,"items":{"1001":1}}'
    return (
        f"POST /v1/requests HTTP/1.1\r\nHost: bench\r\nAuthorization: Bearer {token}\r\n"
        f"Idempotency-Key: {key}\r\nContent-Type: application/json\r\n{WAIT if wait else ''}"
        f"Content-Length: {len(body)}\r\n\r\n{body}"
    ).encode()


def _ask(ticket: str, *, wait: bool = False) -> bytes:
    return (
        f"GET /v1/tickets/{ticket} HTTP/1.1\r\nHost: bench\r\n{WAIT if wait else ''}\r\n"
    ).encode()

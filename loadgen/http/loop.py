"""The open loop at a door: sends what is due, whatever happened to earlier clicks.

Owns the clock of a run and its connections. A click whose time has come waits for a free connection
if all are taken; it keeps its intended time, and its answer counts from there.
"""

import asyncio
import contextlib
import time
from collections.abc import Callable
from dataclasses import dataclass, field

import aiohttp

from loadgen.buyers import Kind
from loadgen.http.answers import Answers
from loadgen.http.buyer import ANSWER_S, UNANSWERED, WAIT_S, Buyer, Told
from loadgen.http.clicks import Click, Clicks
from loadgen.http.report import Report, Tally, report_of
from loadgen.plan import Load
from loadgen.report import Lateness
from loadgen.sender import FLUSH_STOPPED_S, LONGEST_S, PROGRESS_S, SHORTEST_S, Progress, Stop
from seckill.errors import ServiceAway
from seckill.web.door.token_maker import TokenMaker

# Clicks between two looks at the clock.
CHUNK = 64
# Seconds for a connection to the door, and that an idle one is kept: less than the door's 75.
CONNECT_S, IDLE_S = 10.0, 60.0


class DoorAway(ServiceAway):
    """Transient: no door answers at the address."""

    def __init__(self, reason: object) -> None:
        super().__init__("the door", reason)


async def greet(door: str) -> None:
    """Return if a door answers at this address. Raises DoorAway."""
    limits = aiohttp.ClientTimeout(total=CONNECT_S)
    try:
        async with (
            aiohttp.ClientSession(timeout=limits) as session,
            session.get(f"{door}/healthz") as answer,
        ):
            if answer.status != 200:
                raise DoorAway(f"{door}/healthz answers {answer.status}")
    except (aiohttp.ClientError, TimeoutError, OSError) as away:
        raise DoorAway(str(away) or type(away).__name__) from None


@dataclass
class Run:
    """One run. `door` is the door's address; `connections` the most at one time."""

    load: Load
    door: str
    tokens: TokenMaker
    connections: int
    shutdown: Stop
    on_progress: Callable[[Progress], None]
    answers: Answers | None = None

    tally: Tally = field(default_factory=Tally)
    lateness: Lateness = field(default_factory=Lateness)
    _busy: set["asyncio.Task[None]"] = field(default_factory=set)
    _freed: asyncio.Event = field(default_factory=asyncio.Event)
    _bug: BaseException | None = None
    _began: float = 0.0
    _told_at: float = 0.0

    async def run(self) -> Report:
        """Send the load, and wait for its answers; after a stop, for FLUSH_STOPPED_S at most."""
        connector = aiohttp.TCPConnector(limit=0, keepalive_timeout=IDLE_S)
        limits = aiohttp.ClientTimeout(
            total=None, sock_connect=CONNECT_S, sock_read=WAIT_S + ANSWER_S
        )
        async with aiohttp.ClientSession(
            connector=connector,
            timeout=limits,
            cookie_jar=aiohttp.DummyCookieJar(),
            headers={"User-Agent": "seckill-loadgen"},
        ) as session:
            return await self._play(session)

    async def _play(self, session: aiohttp.ClientSession) -> Report:
        clicks, buyer = Clicks(self.load), Buyer(session, self.door, self.tokens)
        pacer, total = self.load.pacer, self.load.requests
        sent, blocked_s = 0, 0.0
        self._began = self._told_at = time.perf_counter()
        while sent < total and not self.shutdown.requested:
            now = self._now()
            waiting, room = pacer.due(now) - sent, self.connections - len(self._busy)
            if waiting <= 0:
                pause = min(max(pacer.intended(sent) - now, SHORTEST_S), LONGEST_S)
                await asyncio.sleep(pause)
            elif room <= 0:
                self._freed.clear()
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(self._freed.wait(), LONGEST_S)
                blocked_s += self._now() - now
            else:
                due = pacer.times(sent, min(waiting, room, CHUNK))
                for click, due_s in zip(clicks.draw(len(due)), due, strict=True):
                    self.lateness.add((self._now() - due_s) * 1000, 1)
                    task = asyncio.create_task(self._click(buyer, click, due_s))
                    self._busy.add(task)
                    task.add_done_callback(self._ended)
                sent += len(due)
                # Calls and answers have their turn.
                await asyncio.sleep(0)
            self._tell(sent, buyer, blocked=waiting > 0 >= room)
            if self._bug is not None:
                raise self._bug
        seconds = self._now()
        await self._await_answers(sent, buyer)
        return report_of(
            self.load,
            self.door,
            self.connections,
            self.tally,
            buyer.trouble,
            self.lateness,
            seconds=seconds,
            blocked_s=blocked_s,
            kinds={kind.name.lower(): clicks.buyers.counts[kind] for kind in Kind},
            stopped=self.shutdown.requested,
        )

    async def _await_answers(self, sent: int, buyer: Buyer) -> None:
        """Each buyer gives up by itself; a stop ends the others too."""
        deadline = float("inf")
        while self._busy and time.perf_counter() < deadline:
            await asyncio.wait(self._busy, timeout=PROGRESS_S)
            self._tell(sent, buyer, blocked=False)
            if self.shutdown.requested and deadline == float("inf"):
                deadline = time.perf_counter() + FLUSH_STOPPED_S
        left = list(self._busy)
        for task in left:
            task.cancel()
        await asyncio.gather(*left, return_exceptions=True)
        if self._bug is not None:
            raise self._bug

    def _ended(self, task: "asyncio.Task[None]") -> None:
        self._busy.discard(task)
        self._freed.set()
        if not task.cancelled() and task.exception() is not None:
            self._bug = task.exception()

    async def _click(self, buyer: Buyer, click: Click, due_s: float) -> None:
        told = Told(UNANSWERED)
        try:
            told = await buyer.until_told(click)
        finally:
            self.tally.add(click.request_id, told, self._now() - due_s)
            if self.answers is not None:
                self.answers.add(click, told)

    def _now(self) -> float:
        return time.perf_counter() - self._began

    def _tell(self, sent: int, buyer: Buyer, *, blocked: bool) -> None:
        now = time.perf_counter()
        if now - self._told_at < PROGRESS_S:
            return
        self._told_at = now
        self.on_progress(
            Progress(
                elapsed_s=now - self._began,
                total=self.load.requests,
                due=self.load.pacer.due(now - self._began),
                sent=sent,
                delivered=self.tally.answers.total(),
                failed=self.tally.unanswered + self.tally.turned_away.total(),
                blocked=blocked,
                last_error=next(iter(buyer.trouble.errors), ""),
            )
        )

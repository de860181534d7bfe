"""One webhook: from the topic of events to one address of the shop.

Always: an event is committed in Kafka when the receiver has taken it, or when it is a dead letter.
So a worker that is killed posts again what it had not committed, with the same ids.
Always: one event of a user at a time. Others of him wait behind one that fails.
A consumer group of its own for each address: one that is down holds up no other.
"""

import asyncio
import logging
import time
from collections import defaultdict, deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

import aiohttp

from seckill.broker import Consumer, Position, Slice
from seckill.errors import BrokerAway, Poison
from seckill.events.letters import DeadEvents, Letter
from seckill.events.post import pause_s, post
from seckill.events.targets import Target
from seckill.process.events import event

log = logging.getLogger(__name__)

T = TypeVar("T")
# Events in memory; beyond it nothing more is read.
MOST = 1_000
# Seconds of one wait for Kafka, between two commits, for the last one, and after Kafka failed.
POLL_S, COMMIT_S, LAST_COMMIT_S, AWAY_S = 0.2, 1.0, 5.0, 1.0


class Hook:
    """Posts to one address until it is stopped, or the address answers 410.

    `read` turns a message into a letter: None if there is nothing to post; it raises Poison.
    """

    def __init__(
        self,
        target: Target,
        open_consumer: Callable[[], Consumer],
        read: Callable[[bytes | None], Letter | None],
        dead_events: DeadEvents,
        *,
        post_limit_s: float,
        give_up_s: float,
        concurrency: int,
    ) -> None:
        self.target = target
        self.delivered = self.failed = self.dead = 0
        self.gone = False
        # Why nothing is read, and why nothing is posted; "": it is.
        self._unread = self._hold = ""
        self._open_consumer, self._read, self._dead_events = open_consumer, read, dead_events
        self._post_limit_s, self._give_up_s = post_limit_s, give_up_s
        self._posting = asyncio.Semaphore(concurrency)
        self._stop = asyncio.Event()
        # A consumer is used by one thread at a time.
        self._thread = ThreadPoolExecutor(1, f"hook-{target.name}")
        self._consumer: Consumer | None = None
        self._changes = -1
        self._paused = False
        # By partition: what is read and not done, and the offset to read next.
        self._open: dict[int, dict[int, None]] = {}
        self._next: dict[int, int] = {}
        self._committed: dict[int, int] = {}
        self._commit_at = 0.0
        self._queues: dict[str, deque[tuple[int, int, Letter]]] = defaultdict(deque)
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def hold(self) -> str:
        """Why events wait, or ""."""
        if self.gone:
            return (
                f"webhook {self.target.name} answered 410 (gone): nothing is posted there until "
                "manage.py run_webhooks is started again; its events wait in Kafka"
            )
        return self._unread or self._hold

    @property
    def waiting(self) -> int:
        """Events in memory that are not done."""
        return sum(map(len, self._open.values()))

    def stop(self) -> None:
        """Ask it to end after the posts that are on their way."""
        self._stop.set()

    async def run(self, session: aiohttp.ClientSession) -> None:
        """Read, post, commit, until a stop or a 410."""
        self._session = session
        try:
            while not self._stop.is_set():
                try:
                    await self._turn()
                except BrokerAway as away:
                    self._unread = str(away)
                    await self._stopped_within(AWAY_S)
        finally:
            await self._end()

    async def _turn(self) -> None:
        if self._consumer is None:
            self._consumer = await self._call(self._open_consumer)
        full = self.waiting >= MOST
        if full != self._paused:
            await self._call(self._consumer.pause if full else self._consumer.resume)
            self._paused = full
        changes, partitions, slices = await self._call(self._poll)
        self._unread = ""
        if changes != self._changes:
            await self._reassigned(partitions)
            self._changes = changes
            return
        for part in slices:
            for offset, value in zip(part.offsets, part.values, strict=True):
                await self._take(part.partition, offset, value)
        for task in [task for task in self._tasks if task.done()]:
            self._tasks.remove(task)
            # A fault of ours ends the process, loudly.
            task.result()
        await self._commit()

    def _poll(self) -> tuple[int, frozenset[int], list[Slice]]:
        assert self._consumer is not None
        slices = self._consumer.poll(POLL_S, max(1, MOST - self.waiting))
        return *self._consumer.assignments(), slices

    async def _reassigned(self, partitions: frozenset[int]) -> None:
        """Begin where the group has committed. What was in memory comes again, or to another."""
        await self._drop()
        consumer = self._consumer
        assert consumer is not None
        for partition in partitions:
            found = await self._call(consumer.committed, partition)
            begin = await self._call(consumer.oldest, partition) if found is None else found.offset
            await self._call(consumer.seek, partition, begin)
            self._open[partition], self._next[partition] = {}, begin
        self._paused = False

    async def _take(self, partition: int, offset: int, value: bytes | None) -> None:
        if partition not in self._open:
            return
        self._next[partition] = offset + 1
        try:
            letter = self._read(value)
        except Poison as poison:
            # Not ours, but somebody wrote it there: it must not stand in the way.
            self._open[partition][offset] = None
            if await self._park(value, str(poison)):
                del self._open[partition][offset]
            return
        if letter is None:
            return
        self._open[partition][offset] = None
        queue = self._queues[letter.user]
        queue.append((partition, offset, letter))
        if len(queue) == 1:
            self._tasks.add(asyncio.create_task(self._serve(letter.user)))

    async def _serve(self, user: str) -> None:
        """Post the events of a user, one after the other."""
        queue = self._queues[user]
        while queue:
            partition, offset, letter = queue[0]
            if not await self._deliver(letter):
                return
            queue.popleft()
            del self._open[partition][offset]
        del self._queues[user]

    async def _deliver(self, letter: Letter) -> bool:
        """Post it until it is taken, or park it. False: a stop came first."""
        began, attempts = time.monotonic(), 0
        while not self._stop.is_set():
            async with self._posting:
                if self._stop.is_set():
                    return False
                answer = await post(
                    self._session, self.target, letter.id, letter.body, self._post_limit_s
                )
            attempts += 1
            if not answer.why:
                self.delivered += 1
                self._hold = ""
                return True
            self.failed += 1
            self._hold = f"webhook {self.target.name}: {answer.why}"
            if answer.gone:
                self._end_for_ever()
                return False
            left = began + self._give_up_s - time.monotonic()
            if left <= 0:
                reason = f"{answer.why}, after {attempts} attempts in {self._give_up_s:g} s"
                return await self._park(letter.body, reason)
            await self._stopped_within(min(max(pause_s(attempts), answer.retry_after_s), left))
        return False

    def _end_for_ever(self) -> None:
        if self.gone:
            return
        self.gone = True
        log.error("%s", self.hold, extra=event("webhook-gone", webhook=self.target.name))
        self._stop.set()

    async def _park(self, value: bytes | None, reason: str) -> bool:
        """Make it a dead letter. False: a stop came before Kafka had it."""
        while True:
            try:
                await self._dead_events.park(self.target.name, reason, value)
            except BrokerAway as away:
                self._hold = str(away)
                if await self._stopped_within(AWAY_S):
                    return False
                continue
            self.dead += 1
            self._hold = ""
            log.error(
                "an event is given up by webhook %s (%s): it is a dead letter in %s; manage.py "
                "run_webhooks --dead-letters posts those again",
                *(self.target.name, reason, self._dead_events.topic),
                extra=event("event-parked", webhook=self.target.name),
            )
            return True

    def _positions(self) -> dict[int, Position]:
        """Up to where all is done, of partitions where that has moved."""
        done = {p: min(self._open[p], default=end) for p, end in self._next.items()}
        return {p: Position(end) for p, end in done.items() if self._committed.get(p) != end}

    async def _commit(self) -> None:
        if time.monotonic() < self._commit_at or self._consumer is None:
            return
        positions = self._positions()
        if positions:
            await self._call(self._consumer.commit, positions)
            self._committed |= {p: position.offset for p, position in positions.items()}
        self._commit_at = time.monotonic() + COMMIT_S

    async def _end(self) -> None:
        """Let the posts on their way end, commit, leave the group."""
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=self._post_limit_s + 1)
        consumer, positions = self._consumer, self._positions()
        if consumer is not None:
            await self._call(consumer.commit_and_wait, positions, LAST_COMMIT_S)
            try:
                await self._call(consumer.close)
            except BrokerAway as away:
                log.warning("%s", away, extra=event("kafka-away"))
        await self._drop()
        self._thread.shutdown(wait=False)

    async def _drop(self) -> None:
        """Forget what is in memory."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._tasks.clear()
        for each in (self._queues, self._open, self._next, self._committed):
            each.clear()

    async def _stopped_within(self, seconds: float) -> bool:
        try:
            async with asyncio.timeout(seconds):
                await self._stop.wait()
        except TimeoutError:
            return False
        return True

    async def _call(self, do: Callable[..., T], *arguments: Any) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._thread, do, *arguments)

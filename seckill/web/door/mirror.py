"""The lane as a door sees it: one read a tick answers everybody who asks.

Owns the door's one connection to Redis. A tick reads positions, state and stock of the activities
that buyers asked for, then the bytes of the requests that were decided since, then their clicks. So
a thousand waiting buyers cost Redis what one costs. It keeps nothing but the last look, and what is
read of another lane than the look is not told. While there is a doubt (`trust`), all wait.

An accepted request may be settled later: it is read anew for everybody who asks.
"""

import asyncio
import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass

import redis.asyncio
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from seckill.errors import RedisAway, RedisRefuses
from seckill.lane.clicks import click_field
from seckill.lane.client import judged
from seckill.lane.keys import Lane
from seckill.lane.pools import async_pool, end
from seckill.process.events import event
from seckill.web.door.answering import Changed, read_answers
from seckill.web.door.answers import Answer, State, waiting
from seckill.web.door.look import Look, read_look
from seckill.web.door.showcase import Showcase
from seckill.web.door.tickets import Ticket
from seckill.web.door.trust import Trust
from seckill.web.door.waiters import Ask, Waiters

log = logging.getLogger(__name__)

# Seconds between two looks while somebody waits, and while nobody does.
TICK_S, IDLE_S = 0.01, 0.2
# Seconds for an answer of Redis. After that the connection counts as lost.
TIMEOUT_S = 2.0
# Seconds that an activity is looked at after somebody has asked for it.
INTEREST_S = 5.0
# Activities that are looked at.
MOST_ACTIVITIES = 1_000
# Seconds between two log lines about a Redis that is away.
TELL_AGAIN_S = 10.0


@dataclass(eq=False, slots=True)
class _ClickAsk:
    activity_id: int
    field_name: str
    future: "asyncio.Future[Answer | None]"


class Mirror:
    """Answers for one source. Everything runs on one event loop."""

    def __init__(
        self, redis_url: str, lane: Lane, source: str, partitions: int, trust: Trust
    ) -> None:
        self.look = Look()
        self._begun_at = time.monotonic()
        # Why nothing of the last look is told; "" if it is.
        self.doubt = ""
        self._trust = trust
        self.source, self.partitions = source, partitions
        self.lane = lane
        self._pool = async_pool(
            redis_url,
            socket_timeout=TIMEOUT_S,
            socket_connect_timeout=TIMEOUT_S,
            retry=Retry(NoBackoff(), 0),
        )
        # Each read takes the one connection from the pool, which finds a new master.
        self._redis = redis.asyncio.Redis(connection_pool=self._pool)
        self._waiters = Waiters()
        # Those who take the answer of the next look, whatever it is.
        self._asking: list[Ask] = []
        self._clicks: list[_ClickAsk] = []
        self._interest: dict[int, float] = {}
        self._wake = asyncio.Event()
        self._looked: asyncio.Future[None] | None = None
        self._told_at = -TELL_AGAIN_S
        self.away = ""

    @property
    def blind_s(self) -> float:
        """Seconds since the last look; since the start if there was none yet."""
        return min(self.look.age_s, time.monotonic() - self._begun_at)

    def delayed(self) -> bool:
        """Whether nothing can be decided now, as far as this door knows."""
        return bool(self.away or self.doubt)

    async def ask(self, ticket: Ticket) -> Answer:
        """The answer as of the next look."""
        ask = Ask(ticket, asyncio.get_running_loop().create_future())
        self._asking.append(ask)
        self._wake.set()
        return await ask.future

    async def wait(self, ticket: Ticket, seconds: float) -> Answer:
        """The answer as soon as it is decided, or what is known after so many seconds."""
        loop = asyncio.get_running_loop()
        ask = Ask(ticket, loop.create_future())
        self._waiters.add(ask)
        self._wake.set()
        # Not asyncio.timeout, which costs several times as much.
        limit = loop.call_later(seconds, self._tell_ahead, ask)
        try:
            return await ask.future
        finally:
            limit.cancel()

    async def wait_settled(self, ticket: Ticket, seconds: float) -> Answer:
        """The answer as soon as it is another than held, or what it is after so many seconds."""
        loop = asyncio.get_running_loop()
        ask = Ask(ticket, loop.create_future(), settled=True)
        self._asking.append(ask)
        self._wake.set()
        limit = loop.call_later(seconds, self._tell_ahead, ask)
        try:
            return await ask.future
        finally:
            limit.cancel()

    def ahead(self, ticket: Ticket) -> Answer:
        """What is known now of a request that is not decided."""
        position = self.look.positions.get(ticket.partition)
        ahead = None if position is None else max(0, ticket.offset - position)
        return waiting(ahead, delayed=self.delayed())

    async def clicked(self, activity_id: int, user_id: int, click: str) -> Answer | None:
        """The answer to a click that was accepted, as of the next look. Raises RedisAway."""
        ask = _ClickAsk(
            activity_id, click_field(user_id, click), asyncio.get_running_loop().create_future()
        )
        self._clicks.append(ask)
        self._wake.set()
        return await ask.future

    async def showcase(self, activity_id: int, within_s: float) -> Showcase | None:
        """An activity as it was at most so long ago; None: not on sale. Raises RedisAway."""
        new = activity_id not in self._interest
        if new and len(self._interest) >= MOST_ACTIVITIES:
            raise RedisAway("too many activities are asked for")
        self._interest[activity_id] = time.monotonic()
        if not new and activity_id in self.look.activities and self.look.age_s < within_s:
            return self.look.activities[activity_id]
        while True:
            self._wake.set()
            if self._looked is None:
                self._looked = asyncio.get_running_loop().create_future()
            await asyncio.shield(self._looked)
            if self.away:
                raise RedisAway(self.away)
            if activity_id in self.look.activities:
                return self.look.activities[activity_id]

    def release_all(self) -> None:
        """Answer everybody who waits with what is known: the door stops."""
        for ask in self._waiters.pop_all():
            self._tell_ahead(ask)

    def _tell_ahead(self, ask: Ask) -> None:
        """Tell what is known without a read."""
        if ask.future.done():
            return
        if ask.last is None or self.delayed() or not ask.is_decided(self.look.positions):
            ask.future.set_result(self.ahead(ask.ticket))
        else:
            ask.future.set_result(ask.last)

    async def run(self) -> None:
        """Look until cancelled."""
        try:
            while True:
                await self._turn()
                busy = self._waiters.any_undecided or self._asking or self._clicks
                if busy:
                    await asyncio.sleep(TICK_S)
                    continue
                self._wake.clear()
                try:
                    async with asyncio.timeout(IDLE_S):
                        await self._wake.wait()
                except TimeoutError:
                    continue
        finally:
            await end(self._pool)

    async def _turn(self) -> None:
        asking, self._asking = self._asking, []
        clicks, self._clicks = self._clicks, []
        looked, self._looked = self._looked, None
        try:
            now = time.monotonic()
            self._interest = {n: t for n, t in self._interest.items() if now - t < INTEREST_S}
            self.look = look = await read_look(
                self._redis, self.lane, self.source, self.partitions, list(self._interest)
            )
            self.away = ""
            self.doubt = self._trust.doubt(
                fenced=look.fenced,
                loaded=look.loaded,
                claim=look.claim,
                positions=look.positions,
            )
            if self.doubt:
                _refuse(clicks, self.doubt)
            else:
                asked = asking + self._waiters.due_held()
                ready = [ask for ask in asked if ask.is_decided(look.positions)]
                ready += self._waiters.pop_decided(look.positions)
                if ready or clicks:
                    await self._answer(ready, clicks)
        except Changed:
            self.doubt = "the lane was fenced, emptied or rebuilt between two reads"
            _refuse(clicks, self.doubt)
        except (redis.RedisError, OSError) as error:
            meaning = judged(error)
            if not isinstance(meaning, RedisAway | RedisRefuses):
                raise
            self._lose(str(meaning), clicks)
        for ask in asking:
            # Who waits for the end of a hold is read again.
            if ask.last is None:
                self._tell_ahead(ask)
        if looked is not None:
            looked.set_result(None)

    def _lose(self, why: str, clicks: Sequence[_ClickAsk]) -> None:
        self.away = why
        now = time.monotonic()
        if now - self._told_at > TELL_AGAIN_S:
            self._told_at = now
            log.warning(
                "no answers can be read: %s. Requests are taken, buyers wait", why,
                extra=event("door-no-answers"),
            )  # fmt: skip
        _refuse(clicks, why)

    async def _answer(self, ready: Sequence[Ask], clicks: Sequence[_ClickAsk]) -> None:
        """Tell what is decided, and what became of clicks that were accepted."""
        try:
            found = await read_answers(
                self._redis,
                self.lane,
                self.source,
                self.look,
                [ask.ticket for ask in ready],
                [(ask.activity_id, ask.field_name) for ask in clicks],
            )
        except (redis.RedisError, OSError, Changed):
            for ask in ready:
                if ask.last is None:
                    # Not answered: they wait for the next look.
                    self._waiters.add(ask)
            raise
        for ask, answer in zip(ready, found, strict=False):
            assert answer is not None
            if answer.state is State.HELD and ask.settled:
                if ask.last is None:
                    self._waiters.add_held(ask)
                ask.last = answer
            elif not ask.future.done():
                ask.future.set_result(answer)
        for click, accepted in zip(clicks, found[len(ready) :], strict=True):
            if not click.future.done():
                click.future.set_result(accepted)


def _refuse(clicks: Sequence[_ClickAsk], why: str) -> None:
    for ask in clicks:
        if not ask.future.done():
            ask.future.set_exception(RedisAway(why))

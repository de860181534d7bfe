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
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from heapq import heappop, heappush
from itertools import count
from typing import Any

import redis.asyncio
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from seckill.errors import RedisAway, RedisRefuses
from seckill.lane.board import WINNERS
from seckill.lane.clicks import Place, click_field, place_of
from seckill.lane.client import judged
from seckill.lane.keys import Lane
from seckill.process.events import event
from seckill.web.door.answers import Answer, State, Winner, lost, waiting, won
from seckill.web.door.look import Bytes, Look, Pipeline, Winners, ask_proof, proof_of, read_look
from seckill.web.door.showcase import Showcase
from seckill.web.door.tickets import Ticket
from seckill.web.door.trust import Trust

log = logging.getLogger(__name__)

# Seconds between two looks while somebody waits, and while nobody does.
TICK_S, IDLE_S = 0.01, 0.2
# Seconds between two reads of holds whose end somebody waits for.
HELD_S = 0.2
# Seconds for an answer of Redis. After that the connection counts as lost.
TIMEOUT_S = 2.0
# Seconds that an activity is looked at after somebody has asked for it.
INTEREST_S = 5.0
# Activities that are looked at.
MOST_ACTIVITIES = 1_000
# Seconds between two log lines about a Redis that is away.
TELL_AGAIN_S = 10.0


@dataclass(eq=False, slots=True)
class _Ask:
    ticket: Ticket
    future: "asyncio.Future[Answer]"
    # Whether it waits until its hold is settled.
    settled: bool = False
    # What a hold was when it was read last.
    last: Answer | None = None


@dataclass(eq=False, slots=True)
class _ClickAsk:
    activity_id: int
    field_name: str
    future: "asyncio.Future[Answer | None]"


class _Changed(Exception):
    """Transient: what was read since the look is not of the same lane. The next look says more."""


class Mirror:
    """Answers for one source. Everything runs on one event loop."""

    def __init__(
        self, redis_url: str, lane: Lane, source: str, partitions: int, trust: Trust
    ) -> None:
        self.look = Look()
        # Why nothing of the last look is told; "" if it is.
        self.doubt = ""
        self._trust = trust
        self.source, self.partitions = source, partitions
        self._lane = lane
        self._redis = redis.asyncio.Redis.from_url(
            redis_url,
            socket_timeout=TIMEOUT_S,
            socket_connect_timeout=TIMEOUT_S,
            retry=Retry(NoBackoff(), 0),
            single_connection_client=True,
        )
        self._order = count()
        # Those who wait for a decision, by partition, the lowest offset first.
        self._waiting: dict[int, list[tuple[int, int, _Ask]]] = defaultdict(list)
        # Those who take the answer of the next look, whatever it is.
        self._asking: list[_Ask] = []
        self._clicks: list[_ClickAsk] = []
        # Those who wait until a hold is settled, and when these were read last.
        self._held: list[_Ask] = []
        self._held_at = 0.0
        self._interest: dict[int, float] = {}
        self._wake = asyncio.Event()
        self._looked: asyncio.Future[None] | None = None
        self._told_at = -TELL_AGAIN_S
        self.away = ""

    def delayed(self) -> bool:
        """Whether nothing can be decided now, as far as this door knows."""
        return bool(self.away or self.doubt)

    async def ask(self, ticket: Ticket) -> Answer:
        """The answer as of the next look."""
        ask = _Ask(ticket, asyncio.get_running_loop().create_future())
        self._asking.append(ask)
        self._wake.set()
        return await ask.future

    async def wait(self, ticket: Ticket, seconds: float) -> Answer:
        """The answer as soon as it is decided, or what is known after so many seconds."""
        ask = _Ask(ticket, asyncio.get_running_loop().create_future())
        heappush(self._waiting[ticket.partition], (ticket.offset, next(self._order), ask))
        self._wake.set()
        try:
            async with asyncio.timeout(seconds):
                return await ask.future
        except TimeoutError:
            return self.ahead(ticket)

    async def wait_settled(self, ticket: Ticket, seconds: float) -> Answer:
        """The answer as soon as it is another than held, or what it is after so many seconds."""
        ask = _Ask(ticket, asyncio.get_running_loop().create_future(), settled=True)
        self._asking.append(ask)
        self._wake.set()
        try:
            async with asyncio.timeout(seconds):
                return await ask.future
        except TimeoutError:
            return self._known(ask)

    def _known(self, ask: _Ask) -> Answer:
        """What may be told without a read."""
        if ask.last is None or self.delayed() or not self._is_decided(ask):
            return self.ahead(ask.ticket)
        return ask.last

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
        for asks in self._waiting.values():
            for _offset, _order, ask in asks:
                if not ask.future.done():
                    ask.future.set_result(self.ahead(ask.ticket))
        self._waiting.clear()
        for ask in self._held:
            if not ask.future.done():
                ask.future.set_result(self._known(ask))
        self._held.clear()

    async def run(self) -> None:
        """Look until cancelled."""
        try:
            while True:
                await self._turn()
                busy = any(self._waiting.values()) or self._asking or self._clicks
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
            await self._redis.aclose()

    async def _turn(self) -> None:
        asking, self._asking = self._asking, []
        clicks, self._clicks = self._clicks, []
        looked, self._looked = self._looked, None
        try:
            now = time.monotonic()
            self._interest = {n: t for n, t in self._interest.items() if now - t < INTEREST_S}
            self.look = look = await read_look(
                self._redis, self._lane, self.source, self.partitions, list(self._interest)
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
                asked = asking + self._due_held()
                ready = [ask for ask in asked if self._is_decided(ask)] + self._pop_decided()
                if ready or clicks:
                    await self._answer(ready, clicks)
        except _Changed:
            self.doubt = "the lane was fenced, emptied or rebuilt between two reads"
            _refuse(clicks, self.doubt)
        except (redis.RedisError, OSError) as error:
            meaning = judged(error)
            if not isinstance(meaning, RedisAway | RedisRefuses):
                raise
            self._lose(str(meaning), clicks)
        for ask in asking:
            if ask.last is None and not ask.future.done():
                ask.future.set_result(self.ahead(ask.ticket))
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

    def _is_decided(self, ask: _Ask) -> bool:
        return ask.ticket.offset < self.look.positions.get(ask.ticket.partition, 0)

    def _pop_decided(self) -> list[_Ask]:
        ready = []
        for partition, asks in self._waiting.items():
            position = self.look.positions.get(partition, 0)
            while asks and asks[0][0] < position:
                ask = heappop(asks)[2]
                if not ask.future.done():
                    ready.append(ask)
        return ready

    def _due_held(self) -> list[_Ask]:
        """Those who wait for a settlement, if it is time to read their holds again."""
        now = time.monotonic()
        if now - self._held_at < HELD_S:
            return []
        self._held_at = now
        self._held = [ask for ask in self._held if not ask.future.done()]
        return self._held

    async def _answer(self, ready: Sequence[_Ask], clicks: Sequence[_ClickAsk]) -> None:
        """Read the bytes of what is decided, then winners anew, and the clicks of all others."""
        try:
            own = [self._place(ask.ticket) for ask in ready]
            [codes] = await self._read(Bytes(self._lane, own))
            winners = Winners(
                self._lane,
                [
                    (ask.ticket.activity_id, place)
                    for ask, place, byte in zip(ready, own, codes, strict=True)
                    if byte in WINNERS
                ],
            )
            asked = [
                (a.ticket.activity_id, click_field(a.ticket.user_id, a.ticket.click))
                for a, byte in zip(ready, codes, strict=True)
                if byte not in WINNERS
            ] + [(ask.activity_id, ask.field_name) for ask in clicks]
            stand, places = await self._read(winners, _Clicks(self._lane, asked), last=True)
            twins = [
                (activity_id, place)
                for (activity_id, _), place in zip(asked, places, strict=True)
                if place is not None
            ]
            if twins:
                [elsewhere] = await self._read(Winners(self._lane, twins), last=True)
            else:
                elsewhere = []
        except (redis.RedisError, OSError, _Changed):
            for ask in ready:
                if ask.last is None:
                    # Not answered: they wait for the next look.
                    entry = (ask.ticket.offset, next(self._order), ask)
                    heappush(self._waiting[ask.ticket.partition], entry)
            raise
        stood, twin = iter(stand), iter(elsewhere)
        found = iter([None if place is None else self._won(next(twin)) for place in places])
        for ask, byte in zip(ready, codes, strict=True):
            answer = self._won(next(stood)) if byte in WINNERS else next(found) or lost(byte)
            if answer.state is State.HELD and ask.settled:
                if ask.last is None:
                    self._held.append(ask)
                ask.last = answer
            elif not ask.future.done():
                ask.future.set_result(answer)
        for click in clicks:
            accepted = next(found)
            if not click.future.done():
                click.future.set_result(accepted)

    async def _read(self, *parts: Any, last: bool = False) -> list[Any]:
        """What each part takes from one pipeline. The last read proves the ones before."""
        pipe = self._redis.pipeline(transaction=False)
        for part in parts:
            part.ask(pipe)
        if last:
            ask_proof(pipe, self._lane)
        answers = iter(await pipe.execute())
        found = [part.take(answers) for part in parts]
        if last and proof_of(next(answers), next(answers)) != self.look.proof:
            raise _Changed
        return found

    def _place(self, ticket: Ticket) -> Place:
        return Place(self.source, ticket.partition, ticket.offset)

    def _won(self, winner: Winner) -> Answer:
        return won(winner, self.look.now_ms, stored=self._is_stored(winner.place))

    def _is_stored(self, place: Place) -> bool:
        return place.source == self.source and place.offset < self.look.stored.get(
            place.partition, 0
        )


class _Clicks:
    """Where clicks were accepted; None: nowhere."""

    def __init__(self, lane: Lane, asked: Sequence[tuple[int, str]]) -> None:
        """`asked`: activity and field of each."""
        self._lane, self._asked = lane, asked
        self._fields: dict[int, list[str]] = defaultdict(list)
        for activity_id, field_name in asked:
            self._fields[activity_id].append(field_name)

    def ask(self, pipe: Pipeline) -> None:
        """Add the questions."""
        for activity_id, fields in self._fields.items():
            pipe.hmget(self._lane.activity(activity_id).clicks, fields)

    def take(self, answers: Iterator[Any]) -> list[Place | None]:
        """The places, from the answers to `ask`."""
        found = {activity_id: iter(next(answers)) for activity_id in self._fields}
        return [place_of(next(found[activity_id])) for activity_id, _ in self._asked]


def _refuse(clicks: Sequence[_ClickAsk], why: str) -> None:
    for ask in clicks:
        if not ask.future.done():
            ask.future.set_exception(RedisAway(why))

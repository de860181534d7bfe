"""Takes a click: into Kafka, acknowledged, with a ticket. Owns the double clicks of this process.

A click that is sent twice within CLICK_S gets the same ticket from one message. Whatever else sends
it twice (another door, a lost answer, the client library itself) becomes a second message, and the
script says REPEATED.

An acknowledgement says at which offset a click is, and not of which topic. So a ticket is given
only once the topic is known to be the one that it names: see `topic`. Else it would get the answer
of another buyer, who had that offset there. Its answer may be looked for meanwhile.
"""

import asyncio
import time
import zlib
from collections import OrderedDict, deque
from dataclasses import dataclass, field
from functools import partial

import msgspec

from seckill.broker.outbox import Outbox
from seckill.web.door.outgoing import ACKNOWLEDGE_S, NotTaken, Outgoing, Unknown
from seckill.web.door.tickets import Ticket, short_source
from seckill.web.door.topic import Topic

# Seconds that a click is remembered here, and how many are.
CLICK_S, MOST_CLICKS = 5.0, 100_000

_to_json = msgspec.json.Encoder().encode


class AnotherBody(Exception):
    """The same key came with another order."""


class Order(msgspec.Struct, frozen=True):
    """What a buyer asks for, checked. `click` is its request id in Kafka: see `click_of`."""

    user_id: int
    activity_id: int
    items: dict[int, int]
    click: str


@dataclass(eq=False, slots=True)
class _Caller:
    """One who waits: for the acknowledgement, then for why the ticket is not good ("": it is)."""

    acknowledged: "asyncio.Future[Ticket]"
    proven: "asyncio.Future[str]"


@dataclass(eq=False, slots=True)
class _Taking:
    order: Order
    at: float
    ticket: Ticket | None = None
    # Whether the ticket is good, and why it is not known whether Kafka has it.
    proven: bool = False
    why: str = ""
    waiting: list[_Caller] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Acknowledged:
    """Kafka has the click. The ticket must not be given before `proof` has ended."""

    ticket: Ticket
    _proven: "asyncio.Future[str] | None"

    async def proof(self) -> None:
        """Wait until the ticket is known to be good. Raises Unknown if it is not."""
        if self._proven is not None and (why := await self._proven):
            raise Unknown(why)


class Clicks:
    """The way into Kafka. Everything runs on one event loop."""

    def __init__(self, outbox: Outbox, topic: Topic) -> None:
        # As tickets have it.
        self.source = short_source(topic.source)
        self._outgoing, self._topic = Outgoing(outbox), topic
        self._known: OrderedDict[str, _Taking] = OrderedDict()
        # What Kafka has, in a topic that is not proven yet.
        self._acknowledged: list[_Taking] = []
        # Those who wait, with the time at which they are told that it is not known. All wait
        # equally long, so that this queue needs no timer for each.
        self._late_at: deque[tuple[float, _Caller]] = deque()
        self._prove = asyncio.Event()

    @property
    def partitions(self) -> int:
        """The topic's partitions."""
        return self._outgoing.partitions

    async def take(self, order: Order, at_ms: int) -> Acknowledged:
        """Hand a click to Kafka. `at_ms` is the door's clock when the request came.

        Raises NotTaken, Unknown, AnotherBody.
        """
        now = time.monotonic()
        self._forget(now)
        taking = self._known.get(order.click)
        if taking is None:
            taking = self._send(order, at_ms, now)
        elif taking.order != order:
            raise AnotherBody
        if taking.ticket is not None and taking.proven:
            return Acknowledged(taking.ticket, None)
        if taking.why:
            raise Unknown(taking.why)
        loop = asyncio.get_running_loop()
        caller = _Caller(loop.create_future(), loop.create_future())
        if taking.ticket is not None:
            caller.acknowledged.set_result(taking.ticket)
        taking.waiting.append(caller)
        if not self._late_at:
            loop.call_later(ACKNOWLEDGE_S, self._tell_late)
        self._late_at.append((now + ACKNOWLEDGE_S, caller))
        return Acknowledged(await caller.acknowledged, caller.proven)

    def _send(self, order: Order, at_ms: int, now: float) -> _Taking:
        taking = _Taking(order, now)
        partition = zlib.crc32(b"%d" % order.user_id) % self._outgoing.partitions
        value = _to_json(
            {
                "user_id": order.user_id,
                "items": order.items,
                "request_initiation_time": at_ms,
                "activity_id": order.activity_id,
                "request_id": order.click,
            }
        )
        self._known[order.click] = taking
        try:
            self._outgoing.hand_over(value, partition, partial(self._done, taking, partition))
        except NotTaken:
            del self._known[order.click]
            raise
        return taking

    def _done(self, taking: _Taking, partition: int, offset: int, error: str) -> None:
        if error or offset < 0:
            self._fail(taking, error or "Kafka gave no offset")
            return
        order = taking.order
        taking.ticket = ticket = Ticket(
            self.source, partition, offset, order.activity_id, order.user_id, order.click
        )
        for caller in taking.waiting:
            if not caller.acknowledged.done():
                caller.acknowledged.set_result(ticket)
        self._acknowledged.append(taking)
        self._prove.set()

    def _fail(self, taking: _Taking, why: str) -> None:
        """Tell all who wait why it is not known whether Kafka has it."""
        taking.why = why
        self._known.pop(taking.order.click, None)
        for caller in taking.waiting:
            _tell_unknown(caller, why)
        taking.waiting.clear()

    def _forget(self, now: float) -> None:
        while self._known:
            click, oldest = next(iter(self._known.items()))
            over = len(self._known) > MOST_CLICKS
            if not over and (now - oldest.at < CLICK_S or not oldest.proven):
                return
            del self._known[click]

    async def run(self) -> None:
        """Hand results to those who wait, until cancelled."""
        await self._outgoing.run()

    async def prove(self) -> None:
        """Tell whose ticket is good, until cancelled.

        One question serves all that was acknowledged before it, so also what comes in its pause.
        """
        while True:
            await self._prove.wait()
            await self._topic.pause()
            self._prove.clear()
            asked, self._acknowledged = self._acknowledged, []
            why = await self._topic.doubt()
            for taking in asked:
                if why:
                    self._fail(taking, why)
                    continue
                taking.proven = True
                for caller in taking.waiting:
                    if not caller.proven.done():
                        caller.proven.set_result("")
                taking.waiting.clear()

    def _tell_late(self) -> None:
        now = time.monotonic()
        while self._late_at and (self._late_at[0][0] <= now or self._late_at[0][1].proven.done()):
            _tell_unknown(self._late_at.popleft()[1], "Kafka has not acknowledged it in time")
        if self._late_at:
            wait_s = self._late_at[0][0] - now
            asyncio.get_running_loop().call_later(wait_s, self._tell_late)


def _tell_unknown(caller: _Caller, why: str) -> None:
    if not caller.acknowledged.done():
        caller.acknowledged.set_exception(Unknown(why))
    if not caller.proven.done():
        caller.proven.set_result(why)

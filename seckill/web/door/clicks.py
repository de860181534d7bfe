"""Takes a click: into Kafka, acknowledged, with a ticket. Owns the double clicks of this process.

A click that is sent twice within CLICK_S gets the same ticket from one message. Whatever else sends
it twice (another door, a lost answer, the client library itself) becomes a second message, and the
script says REPEATED.

A ticket is made of an acknowledgement only once the topic is known to be the one that the ticket
names: see `topic`. Else it would get the answer of another buyer, who had that offset there.
"""

import asyncio
import time
import zlib
from collections import OrderedDict, deque
from dataclasses import dataclass, field
from functools import partial

import msgspec

from seckill.broker.outbox import Outbox
from seckill.web.door.outgoing import ACKNOWLEDGE_S, POLL_S, NotTaken, Unknown
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
class _Taking:
    order: Order
    at: float
    # What came of it: a ticket, or why it is not known whether Kafka has it.
    ticket: Ticket | None = None
    why: str = ""
    waiting: "list[asyncio.Future[Ticket]]" = field(default_factory=list)


class Clicks:
    """The way into Kafka. Everything runs on one event loop."""

    def __init__(self, outbox: Outbox, topic: Topic) -> None:
        # As tickets have it.
        self.source = short_source(topic.source)
        self._outbox, self._topic = outbox, topic
        self._known: OrderedDict[str, _Taking] = OrderedDict()
        # What Kafka has, in a topic that is not proven yet.
        self._acknowledged: list[tuple[_Taking, Ticket]] = []
        # Those who wait, with the time at which they are told that it is not known. All wait
        # equally long, so that this queue needs no timer for each.
        self._late_at: deque[tuple[float, asyncio.Future[Ticket]]] = deque()
        self._wake, self._prove = asyncio.Event(), asyncio.Event()
        # When Kafka was heard last, or the first record without a result was sent; None: none is
        # without a result.
        self._silent_since: float | None = None
        self._heard = False

    @property
    def partitions(self) -> int:
        """The topic's partitions."""
        return self._outbox.partitions

    async def take(self, order: Order, at_ms: int) -> Ticket:
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
        if taking.ticket is not None:
            return taking.ticket
        if taking.why:
            raise Unknown(taking.why)
        future: asyncio.Future[Ticket] = asyncio.get_running_loop().create_future()
        taking.waiting.append(future)
        self._late_at.append((now + ACKNOWLEDGE_S, future))
        return await future

    def _send(self, order: Order, at_ms: int, now: float) -> _Taking:
        if self._silent_since is not None and now - self._silent_since > ACKNOWLEDGE_S:
            # Do not queue behind what Kafka does not take: tell at once.
            raise NotTaken("Kafka does not answer")
        taking = _Taking(order, now)
        partition = zlib.crc32(b"%d" % order.user_id) % self._outbox.partitions
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
        if not self._outbox.send(value, partition, partial(self._done, taking, partition)):
            del self._known[order.click]
            raise NotTaken("too many requests wait for Kafka")
        if self._silent_since is None:
            self._silent_since = now
        self._wake.set()
        return taking

    def _done(self, taking: _Taking, partition: int, offset: int, error: str) -> None:
        self._heard = True
        if error or offset < 0:
            self._tell(taking, None, error or "Kafka gave no offset")
            return
        order = taking.order
        ticket = Ticket(
            self.source, partition, offset, order.activity_id, order.user_id, order.click
        )
        self._acknowledged.append((taking, ticket))
        self._prove.set()

    def _tell(self, taking: _Taking, ticket: Ticket | None, why: str) -> None:
        """Give the ticket to all who wait for it; without one, say why it is not known."""
        taking.ticket, taking.why = ticket, why
        if ticket is None:
            self._known.pop(taking.order.click, None)
        for future in taking.waiting:
            if future.done():
                continue
            if ticket is None:
                future.set_exception(Unknown(why))
            else:
                future.set_result(ticket)
        taking.waiting.clear()

    def _forget(self, now: float) -> None:
        while self._known:
            click, oldest = next(iter(self._known.items()))
            over = len(self._known) > MOST_CLICKS
            if not over and (now - oldest.at < CLICK_S or oldest.ticket is None):
                return
            del self._known[click]

    async def run(self) -> None:
        """Hand results to those who wait, until cancelled."""
        while True:
            self._outbox.poll()
            now = time.monotonic()
            if self._heard:
                self._heard, self._silent_since = False, now
            self._tell_late(now)
            if self._outbox.waiting or self._acknowledged:
                await asyncio.sleep(POLL_S)
                continue
            self._silent_since = None
            self._wake.clear()
            await self._wake.wait()

    async def prove(self) -> None:
        """Give tickets for what is acknowledged in our topic, until cancelled.

        One question serves all that was acknowledged before it.
        """
        while True:
            await self._prove.wait()
            self._prove.clear()
            asked = len(self._acknowledged)
            why = await self._topic.doubt()
            for taking, ticket in self._acknowledged[:asked]:
                self._tell(taking, None if why else ticket, why)
            del self._acknowledged[:asked]

    def _tell_late(self, now: float) -> None:
        while self._late_at:
            late_at, future = self._late_at[0]
            if not future.done():
                if late_at > now:
                    return
                future.set_exception(Unknown("Kafka has not acknowledged it in time"))
            self._late_at.popleft()

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
from collections import OrderedDict
from dataclasses import dataclass

import msgspec

from seckill.broker.outbox import Outbox
from seckill.web.door.tickets import Ticket, click_of, short_source
from seckill.web.door.topic import Topic

# Seconds that a buyer waits for Kafka's acknowledgement. After that it is not known.
ACKNOWLEDGE_S = 2.0
# Seconds that a click is remembered here, and how many are.
CLICK_S, MOST_CLICKS = 5.0, 100_000
# Seconds between two looks for acknowledgements while some are missing.
POLL_S = 0.001

_to_json = msgspec.json.Encoder().encode


class NotTaken(Exception):
    """Nothing was handed to Kafka. The message says why."""


class Unknown(Exception):
    """It was handed to Kafka, and no acknowledgement came: Kafka has it, or it does not."""


class AnotherBody(Exception):
    """The same key came with another order."""


@dataclass(frozen=True, slots=True)
class Order:
    """What a buyer asks for, checked."""

    user_id: int
    activity_id: int
    items: dict[int, int]
    key: str

    @property
    def click(self) -> str:
        """The request id of this click in Kafka."""
        return click_of(self.user_id, self.key)


@dataclass(eq=False, slots=True)
class _Taking:
    items: dict[int, int]
    activity_id: int
    at: float
    future: "asyncio.Future[Ticket]"


@dataclass(eq=False, slots=True)
class _Acknowledged:
    """Kafka has it, in a topic that is not proven yet."""

    ticket: Ticket
    future: "asyncio.Future[Ticket]"


class Clicks:
    """The way into Kafka. Everything runs on one event loop."""

    def __init__(self, outbox: Outbox, topic: Topic) -> None:
        # As tickets have it.
        self.source = short_source(topic.source)
        self._outbox, self._topic = outbox, topic
        self._known: OrderedDict[str, _Taking] = OrderedDict()
        self._acknowledged: list[_Acknowledged] = []
        self._wake, self._prove = asyncio.Event(), asyncio.Event()
        # When the oldest record without a result was sent; None: there is none.
        self._silent_since: float | None = None

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
        if taking is not None:
            if (taking.items, taking.activity_id) != (order.items, order.activity_id):
                raise AnotherBody
        else:
            taking = self._send(order, at_ms, now)
        try:
            async with asyncio.timeout(ACKNOWLEDGE_S):
                return await asyncio.shield(taking.future)
        except TimeoutError:
            raise Unknown("Kafka has not acknowledged it in time") from None

    def _send(self, order: Order, at_ms: int, now: float) -> _Taking:
        if self._silent_since is not None and now - self._silent_since > ACKNOWLEDGE_S:
            # Do not queue behind what Kafka does not take: tell at once.
            raise NotTaken("Kafka does not answer")
        click = order.click
        partition = zlib.crc32(b"%d" % order.user_id) % self._outbox.partitions
        future: asyncio.Future[Ticket] = asyncio.get_running_loop().create_future()
        taking = _Taking(order.items, order.activity_id, now, future)
        value = _to_json(
            {
                "user_id": order.user_id,
                "items": order.items,
                "request_initiation_time": at_ms,
                "activity_id": order.activity_id,
                "request_id": click,
            }
        )

        def done(offset: int, error: str) -> None:
            self._silent_since = time.monotonic() if self._outbox.waiting else None
            if future.done():
                return
            if error or offset < 0:
                self._fail(click, future, error or "Kafka gave no offset")
                return
            ticket = Ticket(self.source, partition, offset, order.activity_id, order.user_id, click)
            self._acknowledged.append(_Acknowledged(ticket, future))
            self._prove.set()

        if not self._outbox.send(value, partition, done):
            raise NotTaken("too many requests wait for Kafka")
        self._known[click] = taking
        if self._silent_since is None:
            self._silent_since = now
        self._wake.set()
        return taking

    def _fail(self, click: str, future: "asyncio.Future[Ticket]", why: str) -> None:
        self._known.pop(click, None)
        future.set_exception(Unknown(why))
        # Its buyer may have left: then nobody asks for this exception.
        future.exception()

    def _forget(self, now: float) -> None:
        while self._known:
            click, oldest = next(iter(self._known.items()))
            over = len(self._known) > MOST_CLICKS
            if not over and (now - oldest.at < CLICK_S or not oldest.future.done()):
                return
            del self._known[click]

    async def run(self) -> None:
        """Hand results to those who wait, until cancelled."""
        while True:
            self._outbox.poll()
            if self._outbox.waiting:
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
            proven, self._acknowledged = self._acknowledged, []
            why = await self._topic.doubt()
            for each in proven:
                if each.future.done():
                    continue
                if why:
                    self._fail(each.ticket.click, each.future, why)
                else:
                    each.future.set_result(each.ticket)

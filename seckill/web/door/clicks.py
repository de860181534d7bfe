"""Takes a click: into Kafka, acknowledged, with a ticket. Owns the double clicks of this process.

A click that is sent twice within CLICK_S gets the same ticket from one message. Whatever else sends
it twice (another door, a lost answer, the client library itself) becomes a second message, and the
script says REPEATED.
"""

import asyncio
import time
import zlib
from collections import OrderedDict
from dataclasses import dataclass

import msgspec

from seckill.web.door.outgoing import ACKNOWLEDGE_S, Outgoing, Unknown
from seckill.web.door.tickets import Ticket, click_of

# Seconds that a click is remembered here, and how many are.
CLICK_S, MOST_CLICKS = 5.0, 100_000

_to_json = msgspec.json.Encoder().encode


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


class Clicks:
    """The way into Kafka. Everything runs on one event loop."""

    def __init__(self, outgoing: Outgoing, source: bytes) -> None:
        """`source` as tickets have it; change `source` when the topic is another one."""
        self.source = source
        self._outgoing = outgoing
        self._known: OrderedDict[str, _Taking] = OrderedDict()
        # The highest offset that Kafka gave, by partition.
        self._last: dict[int, int] = {}

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
        click = order.click
        partition = zlib.crc32(b"%d" % order.user_id) % self._outgoing.partitions
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
            if future.done():
                return
            why = error or self._no_ticket(partition, offset)
            if why:
                self._known.pop(click, None)
                future.set_exception(Unknown(why))
                # Its buyer may have left: then nobody asks for this exception.
                future.exception()
            else:
                future.set_result(
                    Ticket(self.source, partition, offset, order.activity_id, order.user_id, click)
                )

        self._outgoing.hand_over(value, partition, done)
        self._known[click] = taking
        return taking

    def _no_ticket(self, partition: int, offset: int) -> str:
        """Why this offset makes no ticket; "" if it does."""
        if offset < 0:
            return "Kafka gave no offset"
        last = self._last.get(partition, -1)
        if offset > last:
            self._last[partition] = offset
            return ""
        # The clients go on silently in a topic that was made again. A ticket for this offset would
        # get the answer of another buyer, who had it in the old topic.
        return "the topic was made again"

    def _forget(self, now: float) -> None:
        while self._known:
            click, oldest = next(iter(self._known.items()))
            over = len(self._known) > MOST_CLICKS
            if not over and (now - oldest.at < CLICK_S or not oldest.future.done()):
                return
            del self._known[click]

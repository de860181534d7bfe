"""Where an order is placed and its answer is asked, whatever the buyer's form: JSON or a page.

Owns what the lanes of a door have in common: who asks and how often, which lane a ticket is of, and
how a sale over several lanes is shown. Where a click goes says `routing`; its steps are its lane's
(`door_lane`). What is refused is a Problem. Formats are its callers'.
"""

import asyncio
import dataclasses
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from msgspec import structs

from seckill.web.door.answers import Answer
from seckill.web.door.clicks import Order
from seckill.web.door.counts import Counts
from seckill.web.door.door_lane import FRESH_S, RETRY_S, Bought, DoorLane, Shed, Taken, not_on_sale
from seckill.web.door.http import Problem
from seckill.web.door.limits import Limits
from seckill.web.door.orders import Orders
from seckill.web.door.routing import Routing
from seckill.web.door.showcase import Showcase, whole_of
from seckill.web.door.tickets import Forged, Ticket, Tickets
from seckill.web.door.tokens import BadToken, BuyerTokens


@dataclass
class Ordering:
    """One door process. `stopping` refuses new clicks. What is counted of no lane is counted in the
    first one. `closed` are lanes whose topics are not there: {name: why}.
    """

    tokens: BuyerTokens
    tickets: Tickets
    limits: Limits
    orders: Orders
    lanes: Sequence[DoorLane]
    closed: Mapping[str, str] = field(default_factory=dict)
    stopping: bool = False

    def __post_init__(self) -> None:
        self.counts: Counts = self.lanes[0].counts
        self._by_source = {lane.clicks.source: lane for lane in self.lanes}
        assert len(self._by_source) == len(self.lanes), "two topics have one short id"
        self.routing = Routing(self.lanes, self.closed, self.orders)

    def buyer(self, token: str) -> int:
        """The user of a token, whose call is counted. Raises Problem: 401, 429."""
        try:
            user_id = self.tokens.verify(token, time.time())
        except BadToken as bad:
            raise Problem(401, str(bad)) from None
        self.limit(self.limits.of_user(user_id), "this buyer")
        return user_id

    def limit(self, wait_s: float, who: str) -> None:
        """Raises Problem 429 if `who` has to wait."""
        if wait_s > 0:
            self.counts.limited += 1
            raise Problem(429, f"too many requests of {who}", retry_after_s=wait_s)

    def must_be_open(self) -> None:
        """Raises Problem 503 if this door takes no more clicks."""
        if self.stopping:
            raise Problem(503, "this door is closing; ask again", retry_after_s=1, taken="no")

    @property
    def away(self) -> str:
        """Why no lane can be read now, in words; "" if one can."""
        away = [lane.mirror.away for lane in self.lanes]
        return away[0] if all(away) else ""

    def stop(self) -> None:
        """No new clicks, and nobody waits any more."""
        self.stopping = True
        for lane in self.lanes:
            lane.stop()

    async def place(self, order: Order, at_ms: int) -> Taken | Shed | Bought:
        """An order into Kafka, unless its answer is known. `at_ms`: the door's clock at its click.

        An order of a split sale becomes one of the part that serves its buyer, whichever was named.
        Raises Problem: 404, 422, 503.
        """
        lane, activity_id, parts = await self.routing.of_user(
            order.activity_id, order.user_id, FRESH_S
        )
        if len(parts) == 1:
            return await lane.place(order, at_ms)
        try:
            placed = await lane.place(structs.replace(order, activity_id=activity_id), at_ms)
        except Problem as problem:
            if problem.status != 404:
                raise
            # It is being split, or its lane is repaired: nobody is turned away for that.
            raise Problem(
                503,
                f"activity {activity_id}, which serves this buyer, is not on sale in lane "
                f"{lane.name} yet",
                retry_after_s=RETRY_S,
                taken="no",
            ) from None
        if isinstance(placed, Shed):
            # The version of the sale, as everybody sees it, when this part had nothing to sell.
            own, served = placed.seen, self.routing.served(parts)
            others = await self._seen([each for each in served if each[0] is not lane])
            whole = whole_of(order.activity_id, [own, *others])
            return Shed(placed.outcome, dataclasses.replace(whole, now_ms=own.now_ms))
        return placed

    async def on_sale(self, activity_id: int) -> Showcase:
        """An activity as it was a second ago or less; a split sale as a whole, as far as this door
        serves it. Raises Problem: 404, 503.
        """
        if not activity_id:
            raise not_on_sale(activity_id, self.lanes[0].only)
        parts = await self.routing.parts_of(activity_id, 1.0)
        served = self.routing.served(parts)
        if len(parts) == 1 and served:
            return await served[0][0].on_sale(activity_id)
        if not served:
            why = self.routing.why_closed(parts)
            if why:
                raise Problem(503, why, retry_after_s=RETRY_S)
            raise not_on_sale(activity_id, self.lanes[0].only)
        seen = await self._seen(served)
        if not seen or (len(seen) < len(served) and all(part.sells_nothing for part in seen)):
            # One that was never seen may have units.
            raise Problem(503, "the sale cannot be shown now", retry_after_s=RETRY_S)
        return whole_of(activity_id, seen)

    async def _seen(self, served: Sequence[tuple[DoorLane, int]]) -> list[Showcase]:
        """What is known of these activities in their lanes, as it was when Redis was last there."""
        seen = await asyncio.gather(*(lane.last_seen(number) for lane, number in served))
        return [each for each in seen if each is not None]

    def ticket(self, text: str, **problem: Any) -> Ticket:
        """The ticket in a text. Raises Problem: 404, 410, and 503 with `problem`."""
        try:
            ticket = self.tickets.read(text)
        except Forged as forged:
            raise Problem(404, str(forged)) from None
        if ticket.source not in self._by_source:
            for why in self.closed.values():
                why = f"the answer cannot be told now: {why}"
                raise Problem(503, why, retry_after_s=RETRY_S, **problem)
            raise Problem(410, "the sale of this ticket has ended: its topic was made again")
        return ticket

    def lane_of(self, ticket: Ticket) -> DoorLane:
        """The lane of a ticket that `ticket` has read."""
        return self._by_source[ticket.source]

    async def prove(self, taken: Taken) -> Ticket:
        """See `DoorLane.prove`."""
        return await self.lane_of(taken.click.ticket).prove(taken)

    async def answer_click(self, taken: Taken, wait_s: float, caller: str) -> Answer:
        """See `DoorLane.answer_click`."""
        return await self.lane_of(taken.click.ticket).answer_click(taken, wait_s, caller)

    async def answer(
        self, ticket: Ticket, wait_s: float, caller: str, *, until_settled: bool = False
    ) -> Answer:
        """See `DoorLane.answer`."""
        lane = self.lane_of(ticket)
        return await lane.answer(ticket, wait_s, caller, until_settled=until_settled)

"""Where an order is placed and its answer is asked, whatever the buyer's form: JSON or a page.

Owns what the lanes of a door have in common: who asks and how often, and which lane an activity or
a ticket is of. The steps of a click are its lane's (`door_lane`). What is refused is a Problem.
Formats are its callers'.
"""

import asyncio
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from seckill.errors import PostgresAway
from seckill.formats.lanes import MAIN
from seckill.web.door.answers import Answer
from seckill.web.door.clicks import Order
from seckill.web.door.counts import Counts
from seckill.web.door.door_lane import RETRY_S, Bought, DoorLane, Shed, Taken, not_on_sale
from seckill.web.door.http import Problem
from seckill.web.door.limits import Limits
from seckill.web.door.orders import Orders
from seckill.web.door.showcase import Showcase
from seckill.web.door.tickets import Forged, Ticket, Tickets
from seckill.web.door.tokens import BadToken, BuyerTokens

# Activities whose lanes are remembered.
MOST_KNOWN = 100_000


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
        self._alone = None if self.closed or len(self.lanes) > 1 else self.lanes[0]
        # An activity is in one lane for good.
        self._by_activity: dict[int, DoorLane] = {}

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

        Raises Problem: 404, 422, 503.
        """
        lane = self._known(order.activity_id) or await self._find(order.activity_id, taken="no")
        return await lane.place(order, at_ms)

    async def on_sale(self, activity_id: int) -> Showcase:
        """An activity as it was a second ago or less. Raises Problem: 404, 503."""
        if not activity_id:
            raise not_on_sale(activity_id, self.lanes[0].only)
        lane = self._known(activity_id) or await self._find(activity_id)
        return await lane.on_sale(activity_id)

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

    def _known(self, activity_id: int) -> DoorLane | None:
        return self._alone or self._by_activity.get(activity_id)

    async def _find(self, activity_id: int, **problem: Any) -> DoorLane:
        """The lane of an activity that no click has asked for yet. Raises Problem: 404, 503.

        The lane whose Redis sells it; PostgreSQL is asked only if that is not known, so a sale
        needs it no more than with one lane.
        """
        said = await asyncio.gather(*(lane.sells(activity_id) for lane in self.lanes))
        if said.count(True) == 1:
            if len(self._by_activity) >= MOST_KNOWN:
                self._by_activity.clear()
            found = self._by_activity[activity_id] = self.lanes[said.index(True)]
            return found
        if not any(said) and None not in said and not self.closed:
            raise not_on_sale(activity_id, self.lanes[0].only)
        try:
            name = await self.orders.lane_of(activity_id) or MAIN
        except PostgresAway:
            raise Problem(
                503, f"it is not known now which lane activity {activity_id} is of",
                retry_after_s=RETRY_S, **problem,
            ) from None  # fmt: skip
        if name in self.closed:
            raise Problem(503, self.closed[name], retry_after_s=RETRY_S, **problem)
        for lane in self.lanes:
            if lane.name == name:
                return lane
        raise not_on_sale(activity_id, self.lanes[0].only)

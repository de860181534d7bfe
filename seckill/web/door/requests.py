"""What becomes of a click at the door: it is handed to Kafka, refused at once, or known already."""

from dataclasses import dataclass

from seckill.errors import RedisAway
from seckill.formats.outcomes import Outcome
from seckill.lane.phase import Phase
from seckill.web.door.answers import Answer, State, shown_answer
from seckill.web.door.clicks import AnotherBody, Clicks, Order
from seckill.web.door.counts import Counts
from seckill.web.door.http import Problem, Response, json_response
from seckill.web.door.mirror import Mirror
from seckill.web.door.outgoing import NotTaken, Unknown
from seckill.web.door.tickets import Ticket, Tickets

# Seconds that knowledge of an activity may be old where a request is refused on it.
FRESH_S = 0.25
# Seconds until a buyer should ask again.
RETRY_S = 2.0


@dataclass
class Requests:
    """The clicks of one door. `pay_url`: where a hold is paid, with {ticket}; "" for nowhere."""

    clicks: Clicks
    mirror: Mirror
    tickets: Tickets
    counts: Counts
    pay_url: str = ""

    async def shed(self, order: Order) -> Response | None:
        """The answer to a certain loser, who never reaches Kafka; None if it must be decided."""
        try:
            seen = await self.mirror.showcase(order.activity_id, FRESH_S)
            if seen is None:
                if not self.mirror.look.loaded:
                    # A Redis that lost everything: it will be recovered, and decide this.
                    return None
                raise Problem(404, f"activity {order.activity_id} is not on sale")
            if not seen.sells_nothing or self.mirror.delayed():
                return None
            # A buyer who has bought must never hear no, and may have asked again.
            bought = await self.mirror.clicked(order.activity_id, order.user_id, order.click)
        except RedisAway:
            return None
        if bought is not None:
            return self._bought_before(order, bought)
        self.counts.shed += 1
        outcome = Outcome.SOLD_OUT if seen.phase is Phase.SOLD_OUT else Outcome.OVER
        return json_response(
            200,
            {
                "state": State.REFUSED,
                "outcome": outcome.name,
                "at_door": True,
                "as_of": seen.now_ms,
                "epoch": seen.epoch,
                "version": seen.version,
            },
        )

    def _bought_before(self, order: Order, answer: Answer) -> Response:
        self.counts.repeated += 1
        place = answer.place
        assert place is not None
        ticket = Ticket(
            self.clicks.source,
            place.partition,
            place.offset,
            order.activity_id,
            order.user_id,
            order.click,
        )
        content = shown_answer(self.tickets.sign(ticket), answer, self.pay_url)
        if place.source != self.mirror.source:
            # No ticket is good for a topic that is gone.
            content = shown_answer("", answer)
            del content["ticket"]
        return json_response(200, content)

    async def take(self, order: Order, at_ms: int) -> Ticket:
        """Hand it to Kafka. `at_ms` is the door's clock when it came. Raises Problem."""
        try:
            return await self.clicks.take(order, at_ms)
        except NotTaken as refused:
            self.counts.not_taken += 1
            raise Problem(
                503, f"nothing was ordered: {refused}", retry_after_s=RETRY_S, taken="no"
            ) from None
        except Unknown as unknown:
            self.counts.unknown += 1
            raise Problem(
                503,
                f"it is not known whether this was taken: {unknown}. Ask again with the same "
                "Idempotency-Key: it can never buy twice",
                retry_after_s=RETRY_S,
                taken="unknown",
            ) from None
        except AnotherBody:
            raise Problem(
                422, "this Idempotency-Key was used for another order a moment ago"
            ) from None

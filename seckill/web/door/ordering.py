"""Where an order is placed and its answer is asked, whatever the buyer's form: JSON or a page.

Owns the steps of a click: who asks and how often, whether it is a certain loser, the way into
Kafka, and the look at what became of it. What is refused is a Problem. Formats are its callers'.
"""

import time
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from typing import Any

from seckill.errors import RedisAway
from seckill.formats.lanes import MAIN
from seckill.formats.outcomes import Outcome
from seckill.lane.phase import Phase
from seckill.web.door.answers import Answer
from seckill.web.door.clicks import Acknowledged, AnotherBody, Clicks, Order
from seckill.web.door.counts import Counts
from seckill.web.door.http import Problem
from seckill.web.door.limits import Limits
from seckill.web.door.mirror import Mirror
from seckill.web.door.outgoing import NotTaken, Unknown
from seckill.web.door.showcase import Showcase
from seckill.web.door.tickets import Forged, Ticket, Tickets
from seckill.web.door.tokens import BadToken, BuyerTokens

# Seconds that knowledge of an activity may be old where a request is refused on it.
FRESH_S = 0.25
# Seconds until a buyer should ask again.
RETRY_S = 2.0
# A wait for the answer to a ticket, of so many seconds at most.
Wait = Callable[[Ticket, float], Coroutine[Any, Any, Answer]]


@dataclass(frozen=True, slots=True)
class Taken:
    """Kafka has it, `took_s` after it was handed over at `began` on the monotonic clock.

    Its ticket must be proven before anybody gets it.
    """

    click: Acknowledged
    began: float
    took_s: float


@dataclass(frozen=True, slots=True)
class Shed:
    """A certain loser, refused without a message: `seen` sells nothing."""

    outcome: Outcome
    seen: Showcase


@dataclass(frozen=True, slots=True)
class Bought:
    """This very click was accepted before; `answer` is how that stands now. No ticket, if it was
    in a topic of before.
    """

    ticket: Ticket | None
    answer: Answer


@dataclass
class Ordering:
    """One door process. `stopping` refuses new clicks, and nobody waits any more."""

    tokens: BuyerTokens
    tickets: Tickets
    limits: Limits
    clicks: Clicks
    mirror: Mirror
    counts: Counts = field(default_factory=Counts)
    stopping: bool = False

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

    async def place(self, order: Order, at_ms: int) -> Taken | Shed | Bought:
        """An order into Kafka, unless its answer is known. `at_ms`: the door's clock at its click.

        Raises Problem: 404, 422, 503.
        """
        known = await self._known(order)
        if known is not None:
            return known
        began = time.monotonic()
        try:
            click = await self.clicks.take(order, at_ms)
        except NotTaken as refused:
            self.counts.not_taken += 1
            raise Problem(
                503, f"nothing was ordered: {refused}", retry_after_s=RETRY_S, taken="no"
            ) from None
        except Unknown as unknown:
            raise self._unknown(unknown) from None
        except AnotherBody:
            raise Problem(
                422, "this Idempotency-Key was used for another order a moment ago"
            ) from None
        return Taken(click, began, time.monotonic() - began)

    async def prove(self, taken: Taken) -> Ticket:
        """The ticket of a click, once it is known to be good. Raises Problem: 503."""
        try:
            await taken.click.proof()
        except Unknown as unknown:
            raise self._unknown(unknown) from None
        self.counts.taken(taken.took_s)
        return taken.click.ticket

    def _unknown(self, why: Unknown) -> Problem:
        self.counts.unknown += 1
        return Problem(
            503,
            f"it is not known whether this was taken: {why}. Ask again with the same "
            "Idempotency-Key: it can never buy twice",
            retry_after_s=RETRY_S,
            taken="unknown",
        )

    async def _known(self, order: Order) -> Shed | Bought | None:
        """The answer to who never has to reach Kafka; None if it must be decided."""
        try:
            seen = await self.mirror.showcase(order.activity_id, FRESH_S)
            if seen is None:
                if not self.mirror.look.loaded:
                    # A Redis that lost everything: it will be recovered, and decide this.
                    return None
                raise self._not_on_sale(order.activity_id)
            if not seen.sells_nothing or self.mirror.delayed():
                return None
            # A buyer who has bought must never hear no, and may have asked again.
            bought = await self.mirror.clicked(order.activity_id, order.user_id, order.click)
        except RedisAway:
            return None
        if bought is not None:
            self.counts.repeated += 1
            return Bought(self._ticket_at(order, bought), bought)
        self.counts.shed += 1
        return Shed(Outcome.SOLD_OUT if seen.phase is Phase.SOLD_OUT else Outcome.OVER, seen)

    def _ticket_at(self, order: Order, bought: Answer) -> Ticket | None:
        place = bought.place
        assert place is not None
        if place.source != self.mirror.source:
            return None
        return Ticket(
            self.clicks.source,
            place.partition,
            place.offset,
            order.activity_id,
            order.user_id,
            order.click,
        )

    async def on_sale(self, activity_id: int) -> Showcase:
        """An activity as it was a second ago or less. Raises Problem: 404, 503."""
        try:
            seen = await self.mirror.showcase(activity_id, 1.0) if activity_id else None
        except RedisAway as away:
            raise Problem(
                503, f"the sale cannot be shown now: {away}", retry_after_s=RETRY_S
            ) from None
        if seen is None:
            raise self._not_on_sale(activity_id)
        return seen

    def _not_on_sale(self, activity_id: int) -> Problem:
        lane = self.mirror.lane.name
        where = "" if lane == MAIN else f" in lane {lane}, the only one that this door serves"
        return Problem(404, f"activity {activity_id} is not on sale{where}")

    def ticket(self, text: str) -> Ticket:
        """The ticket in a text. Raises Problem: 404, 410."""
        try:
            ticket = self.tickets.read(text)
        except Forged as forged:
            raise Problem(404, str(forged)) from None
        if ticket.source != self.clicks.source:
            raise Problem(410, "the sale of this ticket has ended: its topic was made again")
        return ticket

    async def answer_click(self, taken: Taken, wait_s: float, caller: str) -> Answer:
        """The answer to a click within `wait_s`, and without a wait what is known of it now.

        It is looked for while the ticket is proven, which takes a moment too. Raises Problem: 503.
        """
        waits = bool(wait_s) and not self.stopping
        ticket = taken.click.ticket
        answer = await self._wait(ticket, wait_s, caller, self.mirror.wait) if waits else None
        await self.prove(taken)
        answer = answer or self.mirror.ahead(ticket)
        if answer.is_decided:
            self.counts.told(answer.state, time.monotonic() - taken.began)
        return answer

    async def answer(
        self, ticket: Ticket, wait_s: float, caller: str, *, until_settled: bool = False
    ) -> Answer:
        """The answer within `wait_s`, or after one look without a wait.

        `until_settled`: a hold is waited for until something becomes of it.
        """
        if wait_s and not self.stopping:
            wait = self.mirror.wait_settled if until_settled else self.mirror.wait
            answer = await self._wait(ticket, wait_s, caller, wait)
        else:
            answer = await self.mirror.ask(ticket)
        if answer.is_decided:
            self.counts.told(answer.state, None)
        return answer

    async def _wait(self, ticket: Ticket, wait_s: float, caller: str, wait: Wait) -> Answer:
        if not self.limits.enter(ticket.user_id, caller):
            self.counts.crowded += 1
            return self.mirror.ahead(ticket)
        try:
            return await wait(ticket, wait_s)
        finally:
            self.limits.leave(ticket.user_id, caller)

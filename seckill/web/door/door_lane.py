"""One lane as a door serves it: the way into its topics, and what its Redis says.

Owns the steps of a click: whether it is a certain loser, the way into Kafka, and the look at what
became of it. A lane that is fenced or away holds its own buyers alone. What is refused is a
Problem.
"""

import contextlib
import time
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from typing import Any

from seckill.errors import RedisAway
from seckill.formats.outcomes import Outcome
from seckill.lane.phase import Phase
from seckill.telemetry.door_counts import BOARD_AGE_MS, WAITING
from seckill.web.door.answers import Answer
from seckill.web.door.clicks import Acknowledged, AnotherBody, Clicks, Order
from seckill.web.door.counts import Counts
from seckill.web.door.http import Problem
from seckill.web.door.limits import Limits
from seckill.web.door.mirror import Mirror
from seckill.web.door.outgoing import NotTaken, Unknown
from seckill.web.door.settling import Settling
from seckill.web.door.showcase import Showcase
from seckill.web.door.tickets import Ticket

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
class DoorLane:
    """One lane of one door process. After `stop` nobody waits any more. `only` says in words which
    lanes the door serves; "" if no buyer needs to know.
    """

    clicks: Clicks
    mirror: Mirror
    settling: Settling
    limits: Limits
    only: str = ""
    counts: Counts = field(default_factory=Counts)
    _stopping: bool = False
    _waiting: int = 0

    @property
    def name(self) -> str:
        """The lane's name."""
        return self.mirror.lane.name

    def heartbeat(self) -> dict[str, int]:
        """What is counted and measured, for the heartbeat."""
        return {
            **self.counts.named(),
            WAITING: self._waiting,
            BOARD_AGE_MS: round(self.mirror.blind_s * 1000),
        }

    def stop(self) -> None:
        """Tell everybody who waits what is known."""
        self._stopping = True
        self.mirror.release_all()

    async def sells(self, activity_id: int) -> bool | None:
        """Whether the activity is on sale in this lane; None if that is not known."""
        if self.mirror.away:
            return None
        try:
            seen = await self.mirror.showcase(activity_id, 1.0)
        except RedisAway:
            return None
        return seen is not None or (False if self.mirror.look.loaded else None)

    async def last_seen(self, activity_id: int, within_s: float = 1.0) -> Showcase | None:
        """An activity as it was at most so long ago, or when Redis was last there; None: not on
        sale, or not known.
        """
        if not self.mirror.away:
            with contextlib.suppress(RedisAway):
                return await self.mirror.showcase(activity_id, within_s)
        return self.mirror.look.activities.get(activity_id)

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
                raise not_on_sale(order.activity_id, self.only)
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
            seen = await self.mirror.showcase(activity_id, 1.0)
        except RedisAway as away:
            raise Problem(
                503, f"the sale cannot be shown now: {away}", retry_after_s=RETRY_S
            ) from None
        if seen is None:
            raise not_on_sale(activity_id, self.only)
        return seen

    async def answer_click(self, taken: Taken, wait_s: float, caller: str) -> Answer:
        """The answer to a click within `wait_s`, and without a wait what is known of it now.

        It is looked for while the ticket is proven, which takes a moment too. Raises Problem: 503.
        """
        waits = bool(wait_s) and not self._stopping
        ticket = taken.click.ticket
        answer = await self.wait(ticket, wait_s, caller, self.mirror.wait) if waits else None
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
        if wait_s and not self._stopping:
            wait = self.mirror.wait_settled if until_settled else self.mirror.wait
            answer = await self.wait(ticket, wait_s, caller, wait)
        else:
            answer = await self.mirror.ask(ticket)
        if answer.is_decided:
            self.counts.told(answer.state, None)
        return answer

    async def wait(self, ticket: Ticket, wait_s: float, caller: str, wait: Wait) -> Answer:
        """What `wait` brings; at once what is known, for whoever waits too often already."""
        if not self.limits.enter(ticket.user_id, caller):
            self.counts.crowded += 1
            return self.mirror.ahead(ticket)
        self._waiting += 1
        try:
            return await wait(ticket, wait_s)
        finally:
            self._waiting -= 1
            self.limits.leave(ticket.user_id, caller)


def not_on_sale(activity_id: int, only: str) -> Problem:
    """404. `only`: see `DoorLane`."""
    return Problem(404, f"activity {activity_id} is not on sale{only}")

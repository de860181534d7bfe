"""What a buyer is told about a request: pure functions from the board's byte to an answer."""

from enum import StrEnum
from typing import Any

import msgspec

from seckill.formats.outcomes import OUTCOME_OF_DIGIT, Outcome, digit_of
from seckill.lane.board import (
    ACCEPTED,
    CANCELLED,
    EXPIRED,
    LOSER,
    PAID,
    REFUSED_UNKNOWN,
)
from seckill.lane.clicks import Place

NOT_DECIDED = 0
# The board's byte of a request whose activity was not there, or serves other buyers.
NOWHERE = digit_of(Outcome.NO_SUCH_ACTIVITY)


class State(StrEnum):
    """Where a request stands."""

    WAITING = "waiting"
    ACCEPTED = "accepted"
    # Accepted by an activity that wants to be paid in time, and not settled yet.
    HELD = "held"
    PAID = "paid"
    EXPIRED = "expired"
    # Given back by the buyer, or the payment failed.
    CANCELLED = "cancelled"
    REFUSED = "refused"
    # Kafka has lost the message, it holds no request, or it came to the wrong part of a split sale:
    # click again.
    VOID = "void"


# The board's bytes of settled holds. Nothing changes them again.
SETTLED = {PAID: State.PAID, EXPIRED: State.EXPIRED, CANCELLED: State.CANCELLED}
# All that a request can be which was accepted.
YES = frozenset((State.ACCEPTED, State.HELD, *SETTLED.values()))


class Winner(msgspec.Struct, frozen=True):
    """An accepted request as it stands now. `due`: until when its hold is to be paid, in ms of
    Redis's clock; None: it holds nothing. `byte` is the board's, read after `due`.
    """

    place: Place
    byte: int = ACCEPTED
    due: int | None = None

    @property
    def state(self) -> State:
        """What became of it. A settled byte says more than a hold that was read before it."""
        unsettled = State.ACCEPTED if self.due is None else State.HELD
        return SETTLED.get(self.byte, unsettled)


class Answer(msgspec.Struct, frozen=True):
    """`outcome` is the outcome's name, or "" where it is not known. `ahead`: requests that are
    decided before this one. `stored`: the order is in PostgreSQL. `delayed`: nothing is decided
    now. `place`: where an accepted request was decided. `pay_until`: when its hold ends, and `now`,
    both in ms of Redis's clock.
    """

    state: State
    outcome: str = ""
    ahead: int | None = None
    stored: bool = False
    delayed: bool = False
    place: Place | None = None
    pay_until: int = 0
    now: int = 0

    @property
    def is_decided(self) -> bool:
        """Whether it waits no more."""
        return self.state is not State.WAITING


def waiting(ahead: int | None, *, delayed: bool) -> Answer:
    """Not decided yet."""
    return Answer(State.WAITING, ahead=ahead, delayed=delayed)


def won(winner: Winner, now_ms: int, *, stored: bool) -> Answer:
    """The answer for an accepted request. `now_ms` is Redis's clock."""
    state = winner.state
    due, now = (winner.due or 0, now_ms) if state is State.HELD else (0, 0)
    return Answer(
        state, Outcome.ACCEPTED.name, stored=stored, place=winner.place, pay_until=due, now=now
    )


def lost(byte: int, *, served: bool = True) -> Answer:
    """The answer for a request below its partition's position that was not accepted, and whose
    click was not accepted elsewhere.

    `served`: whether the activity serves this buyer. Another part of the sale does, if it was split
    after the click: that is no answer to the click, and the same one goes to the right part.
    """
    if byte in (NOT_DECIDED, NOWHERE) or not served:
        return Answer(State.VOID)
    if byte in (LOSER, REFUSED_UNKNOWN):
        return Answer(State.REFUSED)
    return Answer(State.REFUSED, OUTCOME_OF_DIGIT[byte].name)


def shown_answer(ticket: str, answer: Answer, pay_url: str = "") -> dict[str, Any]:
    """An answer in JSON. `pay_url` is where a hold is paid, with {ticket}; "" for nowhere."""
    content: dict[str, Any] = {"ticket": ticket, "state": answer.state}
    if answer.outcome:
        content["outcome"] = answer.outcome
    if answer.state is State.WAITING:
        content |= {"ahead": answer.ahead, "delayed": answer.delayed}
    if answer.state in YES:
        content["stored"] = answer.stored
    if answer.state is State.HELD:
        left = max(0, answer.pay_until - answer.now)
        content |= {"pay_until": answer.pay_until, "remaining_ms": left}
        if pay_url:
            content["pay_url"] = pay_url.replace("{ticket}", ticket)
    return content

"""What a buyer is told about a request: pure functions from the board's byte to an answer."""

from enum import StrEnum
from typing import Any

import msgspec

from seckill.formats.outcomes import OUTCOME_OF_DIGIT, Outcome
from seckill.lane.board import ACCEPTED, LOSER, REFUSED_UNKNOWN
from seckill.lane.clicks import Place

NOT_DECIDED = 0


class State(StrEnum):
    """Where a request stands."""

    WAITING = "waiting"
    ACCEPTED = "accepted"
    REFUSED = "refused"
    # Kafka has lost the message, or it holds no request: click again.
    VOID = "void"


class Answer(msgspec.Struct, frozen=True):
    """`outcome` is the outcome's name, or "" where it is not known. `ahead`: requests that are
    decided before this one. `stored`: the order is in PostgreSQL. `delayed`: nothing is decided
    now.
    """

    state: State
    outcome: str = ""
    ahead: int | None = None
    stored: bool = False
    delayed: bool = False

    @property
    def final(self) -> bool:
        """Whether it can change no more."""
        return self.state is not State.WAITING


def waiting(ahead: int | None, *, delayed: bool) -> Answer:
    """Not decided yet."""
    return Answer(State.WAITING, ahead=ahead, delayed=delayed)


def decided(byte: int, accepted_at: Place | None, *, stored: bool) -> Answer:
    """The answer for a request below its partition's position.

    `accepted_at` is where the same click was accepted, if it was: then the answer is yes, whatever
    the byte says, since a repeat that was decided after the last unit reads SOLD_OUT. `stored` is
    about the place where it was accepted.
    """
    if byte == ACCEPTED or accepted_at is not None:
        return Answer(State.ACCEPTED, Outcome.ACCEPTED.name, stored=stored)
    if byte == NOT_DECIDED:
        return Answer(State.VOID)
    if byte in (LOSER, REFUSED_UNKNOWN):
        return Answer(State.REFUSED)
    return Answer(State.REFUSED, OUTCOME_OF_DIGIT[byte].name)


def shown_answer(ticket: str, answer: Answer) -> dict[str, Any]:
    """An answer in JSON."""
    content: dict[str, Any] = {"ticket": ticket, "state": answer.state}
    if answer.outcome:
        content["outcome"] = answer.outcome
    if answer.state is State.WAITING:
        content |= {"ahead": answer.ahead, "delayed": answer.delayed}
    if answer.state is State.ACCEPTED:
        content["stored"] = answer.stored
    return content

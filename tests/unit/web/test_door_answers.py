"""From the board's byte to what a buyer is told: never no to who has a row."""

import pytest

from seckill.formats.outcomes import Outcome
from seckill.lane.board import WINNERS
from seckill.lane.clicks import Place
from seckill.web.door.answers import (
    Answer,
    State,
    Winner,
    lost,
    shown_answer,
    waiting,
    won,
)

PLACE = Place("topic", 0, 1)
NOW, DUE = 1_000, 61_000


@pytest.mark.parametrize(
    ("byte", "answer"),
    [
        ("1", Answer(State.REFUSED, "OVER")),
        ("2", Answer(State.REFUSED, "SOLD_OUT")),
        ("8", Answer(State.REFUSED, "INVALID")),
        ("L", Answer(State.REFUSED)),
        ("R", Answer(State.REFUSED)),
        ("\0", Answer(State.VOID)),
    ],
)
def test_each_byte_of_who_lost(byte: str, answer: Answer) -> None:
    assert ord(byte) not in WINNERS
    assert lost(ord(byte)) == answer
    assert answer.is_decided


@pytest.mark.parametrize(
    ("byte", "due", "state"),
    [
        ("0", None, State.ACCEPTED),
        ("0", DUE, State.HELD),
        ("P", None, State.PAID),
        ("X", None, State.EXPIRED),
        ("C", None, State.CANCELLED),
        # Settled between the read of the hold and that of the byte.
        ("P", DUE, State.PAID),
    ],
)
def test_each_byte_of_who_won(byte: str, due: int | None, state: State) -> None:
    assert ord(byte) in WINNERS
    answer = won(Winner(PLACE, ord(byte), due), NOW, stored=True)
    assert (answer.state, answer.outcome, answer.place, answer.stored) == (
        state, "ACCEPTED", PLACE, True,
    )  # fmt: skip
    assert answer.is_decided


def test_a_hold_is_told_with_its_time_and_where_it_is_paid() -> None:
    answer = won(Winner(PLACE, ord("0"), DUE), NOW, stored=False)
    assert shown_answer("T", answer, "https://shop/pay/T") == {
        "ticket": "T",
        "state": "held",
        "outcome": "ACCEPTED",
        "stored": False,
        "pay_until": DUE,
        "remaining_ms": DUE - NOW,
        "pay_url": "https://shop/pay/T",
    }
    late = won(Winner(PLACE, ord("0"), DUE), DUE + 5, stored=False)
    assert shown_answer("T", late)["remaining_ms"] == 0
    assert "pay_until" not in shown_answer("T", won(Winner(PLACE, ord("P"), DUE), NOW, stored=True))


def test_every_outcome_has_an_answer() -> None:
    no_answers = (Outcome.ACCEPTED, Outcome.NO_SUCH_ACTIVITY)
    refusals = [outcome for outcome in Outcome if outcome not in no_answers]
    answers = [lost(ord("0") - outcome) for outcome in refusals]
    assert [answer.outcome for answer in answers] == [outcome.name for outcome in refusals]


def test_the_wrong_part_of_a_sale_is_no_answer() -> None:
    assert lost(ord("0") - Outcome.NO_SUCH_ACTIVITY) == Answer(State.VOID)
    # It was split after the click: the same one goes to the right part.
    assert lost(ord("0") - Outcome.NOT_OPEN, served=False) == Answer(State.VOID)


def test_who_waits_may_be_told_something_else_later() -> None:
    assert not waiting(3, delayed=False).is_decided

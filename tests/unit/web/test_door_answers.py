"""From the board's byte to what a buyer is told: never no to who has a row."""

import pytest

from seckill.formats.outcomes import Outcome
from seckill.lane.clicks import Place
from seckill.web.door.answers import Answer, State, decided, waiting

PLACE = Place("topic", 0, 1)


@pytest.mark.parametrize(
    ("byte", "answer"),
    [
        ("0", Answer(State.ACCEPTED, "ACCEPTED")),
        ("1", Answer(State.REFUSED, "OVER")),
        ("2", Answer(State.REFUSED, "SOLD_OUT")),
        ("8", Answer(State.REFUSED, "INVALID")),
        ("L", Answer(State.REFUSED)),
        ("R", Answer(State.REFUSED)),
        ("\0", Answer(State.VOID)),
    ],
)
def test_each_byte(byte: str, answer: Answer) -> None:
    assert decided(ord(byte), None, stored=False) == answer
    assert answer.final


@pytest.mark.parametrize("byte", ["1", "2", "4", "9", "L", "R", "\0"])
def test_a_click_that_was_accepted_is_never_told_no(byte: str) -> None:
    assert decided(ord(byte), PLACE, stored=True) == Answer(State.ACCEPTED, "ACCEPTED", stored=True)


def test_every_outcome_has_an_answer() -> None:
    digits = [0 if outcome is Outcome.ACCEPTED else -outcome for outcome in Outcome]
    answers = [decided(ord("0") + digit, None, stored=False) for digit in digits]
    assert [answer.outcome for answer in answers] == [outcome.name for outcome in Outcome]


def test_who_waits_may_be_told_something_else_later() -> None:
    assert not waiting(3, delayed=False).final

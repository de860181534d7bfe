"""Clicks of a load, and what is wrong with an answer: no service is asked."""

import json

import pytest

from loadgen.http.answers import wrong_answers
from loadgen.http.clicks import Clicks
from loadgen.plan import make_load
from loadgen.profile_file import parse_profile
from seckill.config.layers import load
from seckill.config.sections import Client
from seckill.web.door.asking import order_of
from seckill.web.door.http import Problem


def clicks_of(**profile: object) -> Clicks:
    """Clicks of a profile."""
    parsed = parse_profile({"rate": 1000, "users": 500, **profile}, "test")
    return Clicks(make_load(load(Client, {}, {}), parsed, "test", requests=1000, seed=7))


def test_a_repeat_is_the_same_click_and_all_others_are_new() -> None:
    clicks = clicks_of(repeated={"share": 0.3})
    drawn = clicks.draw(1000)
    repeats = clicks.buyers.counts[2]
    assert repeats > 200
    assert len({(click.user, click.key) for click in drawn}) == 1000 - repeats
    by_key = {click.key: click for click in drawn}
    # The same order with it: another one would be 422.
    assert all(by_key[click.key] == click for click in drawn)
    # Users come again once all have come, with new keys.
    assert len({click.user for click in drawn}) == 500


def test_the_door_takes_every_proper_click_and_refuses_all_others() -> None:
    drawn = clicks_of(
        malformed={"share": 0.5}, multi={"share": 0.3}, stale={"share": 0.1}
    ).draw(1000)  # fmt: skip
    taken = 0
    for click in drawn:
        try:
            order = order_of(click.body, click.user, click.key)
        except Problem:
            assert not click.proper, click
            continue
        assert click.proper, click
        assert {str(i): n for i, n in order.items.items()} == json.loads(click.body)["items"]
        assert order.click == click.request_id
        taken += 1
    assert 400 < taken < 600


@pytest.mark.parametrize(
    ("state", "orders", "word"),
    [
        ("accepted", 1, ""),
        ("refused", 0, ""),
        ("unanswered", 1, ""),
        ("unanswered", 0, ""),
        ("turned away", 0, ""),
        ("accepted", 0, "told yes, and has no order"),
        ("refused", 1, "told no, and has an order"),
        ("accepted", 2, "one click, 2 orders"),
    ],
)
def test_what_is_wrong_with_an_answer(state: str, orders: int, word: str) -> None:
    # Another buyer's order with the same request id is none of this buyer's.
    known = {(7, "click"): orders, (8, "click"): 1}
    wrong = wrong_answers([(7, "click", state)], known)
    assert [word in line for line in wrong] == ([True] if word else [])


def test_twins_with_two_answers_are_one_wrong_answer() -> None:
    told = [(7, "click", "accepted"), (7, "click", "refused")]
    assert len(wrong_answers(told, {(7, "click"): 1})) == 1
    assert len(wrong_answers(told, {})) == 1

"""The oracle on its own: what it must find, and what it must not. No service is needed."""

from typing import Any

import pytest

from tests.search.facts import ACCEPTED, NOTHING, REFUSED, SKIPPED, Evidence, Kind
from tests.search.oracle import Oracle
from tests.search.servers import Row

ITEM, PLACE = 1001, (0, 0)


def row(place: tuple[int, int], user: int = 1, quantity: int = 1) -> Row:
    return Row(*place, 1, ITEM, user, quantity)


def seen(*rows: Row, kept: tuple[tuple[int, int], ...] = ()) -> Evidence:
    return Evidence(list(rows), frozenset((*place, ITEM) for place in kept))


@pytest.fixture
def oracle() -> Oracle:
    """Two units on sale, three requests of user 1 for one each."""
    made = Oracle()
    made.act("set_stock", {ITEM: 2}, NOTHING, certain=True)
    for offset in range(3):
        made.ask((0, offset), 1, {ITEM: 1})
    return made


def accept(oracle: Oracle, *offsets: int) -> None:
    for offset in offsets:
        oracle.answer((0, offset), ACCEPTED, ruling=True)


def kinds(oracle: Oracle, evidence: Evidence, *, all_up: bool = False) -> set[Kind]:
    return {violation.kind for violation in oracle.judge(evidence, all_up=all_up)}


def test_what_is_right_is_right(oracle: Oracle) -> None:
    accept(oracle, 0, 1)
    oracle.answer((0, 2), REFUSED, ruling=True)
    assert not oracle.judge(seen(row((0, 0)), kept=((0, 1),)), all_up=True)


def test_more_rows_than_units(oracle: Oracle) -> None:
    accept(oracle, 0, 1, 2)
    assert Kind.OVERSOLD in kinds(oracle, seen(*(row((0, n)) for n in range(3))))


def test_more_promises_than_units_though_rows_are_gone(oracle: Oracle) -> None:
    accept(oracle, 0, 1, 2)
    assert kinds(oracle, seen(row((0, 0)), row((0, 1)))) == {Kind.OVERSOLD, Kind.LOST}


@pytest.mark.parametrize(
    "evidence",
    [seen(), seen(row(PLACE, user=2)), seen(row(PLACE, quantity=2))],
    ids=["no row", "another's row", "another content"],
)
def test_an_order_without_its_row_is_lost(oracle: Oracle, evidence: Evidence) -> None:
    accept(oracle, 0)
    assert Kind.LOST in kinds(oracle, evidence)


def test_what_is_lost_with_redis_has_to_be_decided_again(oracle: Oracle) -> None:
    accept(oracle, 0, 1)
    oracle.answer((0, 2), REFUSED, ruling=True)
    assert oracle.lose_redis(seen(row((0, 0)))) == 1
    assert kinds(oracle, seen(row((0, 0)))) == set()
    assert kinds(oracle, seen(row((0, 0))), all_up=True) == {Kind.WAITS}
    oracle.answer((0, 1), REFUSED, ruling=True)
    assert kinds(oracle, seen(row((0, 0))), all_up=True) == set()


def test_a_row_that_comes_late_takes_its_units(oracle: Oracle) -> None:
    accept(oracle, 0)
    oracle.lose_redis(seen())
    oracle.answer((0, 0), REFUSED, ruling=True)
    accept(oracle, 1, 2)
    assert kinds(oracle, seen(*(row((0, n)) for n in range(3)))) == {Kind.OVERSOLD}


def test_a_request_that_is_passed_over(oracle: Oracle) -> None:
    oracle.answer((0, 0), SKIPPED, ruling=True)
    accept(oracle, 1)
    oracle.answer((0, 2), REFUSED, ruling=True)
    assert kinds(oracle, seen(row((0, 1))), all_up=True) == {Kind.DROPPED}


def test_decided_twice_without_a_loss(oracle: Oracle) -> None:
    accept(oracle, 0, 0)
    assert kinds(oracle, seen(row((0, 0)))) == {Kind.TWICE}


def test_a_row_that_nobody_was_promised(oracle: Oracle) -> None:
    assert kinds(oracle, seen(row((0, 0)))) == {Kind.TWICE}
    # What another master has decided beside the one of the lane is never stored.
    oracle.answer((0, 0), ACCEPTED, ruling=False)
    assert kinds(oracle, seen(row((0, 0)))) == {Kind.TWICE}
    oracle.answer((0, 0), ACCEPTED, ruling=True)
    assert kinds(oracle, seen(row((0, 0)))) == set()


@pytest.mark.parametrize("what", ["finished", "paused", "closed"])
@pytest.mark.parametrize("certain", [True, False])
def test_sold_after_the_end(oracle: Oracle, what: str, certain: bool) -> None:
    """Where nobody knows whether it was ended, both are right."""
    oracle.act(what, True, NOTHING, certain=certain)
    accept(oracle, 0)
    assert kinds(oracle, seen(row(PLACE))) == ({Kind.AFTER_END} if certain else set())
    oracle.forgive()
    assert kinds(oracle, seen(row(PLACE))) == set()


@pytest.mark.parametrize(
    ("acts", "wrong"),
    [
        ([(1, True)], True),
        ([(2, True)], False),
        ([(1, True), (None, False)], False),
        ([(3, True), (1, False)], False),
    ],
)
def test_the_limit_of_a_user(oracle: Oracle, acts: list[Any], wrong: bool) -> None:
    for limit, certain in acts:
        oracle.act("limit", limit, NOTHING, certain=certain)
    accept(oracle, 0, 1)
    evidence = seen(row((0, 0)), row((0, 1)))
    assert kinds(oracle, evidence) == ({Kind.LIMIT} if wrong else set())


@pytest.mark.parametrize(
    ("act", "certain", "left"),
    [("add_stock", True, 2), ("add_stock", False, 2), ("set_stock", True, 1)],
)
def test_units_that_may_still_be_sold(oracle: Oracle, act: str, certain: bool, left: int) -> None:
    """One of two is sold, and an operator puts one on sale."""
    accept(oracle, 0)
    oracle.act(act, {ITEM: 1}, seen(row(PLACE)), certain=certain)
    assert oracle.left(seen(row(PLACE)), ITEM) == left


def test_a_set_stock_that_comes_late_counts_from_then(oracle: Oracle) -> None:
    oracle.act("set_stock", {ITEM: 2}, NOTHING, certain=False)
    accept(oracle, 0)
    oracle.arrive("set_stock", {ITEM: 2}, seen(row(PLACE)))
    assert oracle.left(seen(row(PLACE)), ITEM) == 2
    # Somebody has steered since: it cannot come any more.
    oracle.act("set_stock", {ITEM: 1}, seen(row(PLACE)), certain=True)
    oracle.arrive("set_stock", {ITEM: 2}, seen(row(PLACE)))
    assert oracle.left(seen(row(PLACE)), ITEM) == 1


@pytest.mark.parametrize("user", [1, 99], ids=["from the topic", "the stranger's own"])
def test_what_stood_at_a_strangers_place_stays_sold_while_its_row_is_lost(
    oracle: Oracle, user: int
) -> None:
    oracle.strangers.add(row(PLACE, user=99))
    assert not kinds(oracle, seen(row(PLACE, user)))
    oracle.act("set_stock", {ITEM: 1}, NOTHING, certain=True)
    accept(oracle, 1)
    assert not kinds(oracle, seen(row(PLACE), row((0, 1))))
    accept(oracle, 2)
    assert Kind.OVERSOLD in kinds(oracle, seen(row(PLACE), row((0, 1)), row((0, 2))))


def test_a_parked_line_that_comes_after_a_loss(oracle: Oracle) -> None:
    """Its transaction was open when Redis was lost: it is sold, and nobody waits for it."""
    accept(oracle, 0)
    oracle.lose_redis(NOTHING)
    parked = Evidence([], frozenset({(0, 0, 1001)}))
    waits = [v.text for v in oracle.judge(parked, all_up=True) if v.kind is Kind.WAITS]
    assert not any("(0, 0)" in text for text in waits)
    assert oracle.standing(parked) == {1001: 1}

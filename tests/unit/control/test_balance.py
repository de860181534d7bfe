"""The rule what is moved between the parts of a split sale."""

import random

import pytest

from seckill.control.balance import Transfer, transfers
from seckill.control.part_rows import shares


@pytest.mark.parametrize("parts", [2, 3, 7])
@pytest.mark.parametrize("units", [0, 1, 6, 100, 101])
def test_shares_are_exact_and_even(units: int, parts: int) -> None:
    for first in range(parts):
        divided = shares(units, parts, first)
        assert sum(divided) == units
        assert max(divided) - min(divided) <= 1
        assert divided[first] == max(divided)


def test_nothing_moves_while_both_sell_alike() -> None:
    assert transfers({1: {7: 100}, 2: {7: 60}}) == []
    assert transfers({1: {7: 100}}) == []
    assert transfers({1: {7: 0}, 2: {7: 0}}) == []
    assert transfers({}) == []


def test_a_part_that_runs_dry_gets_its_share() -> None:
    assert transfers({1: {7: 100}, 2: {7: 20}}) == [Transfer(1, 2, 7, 40)]
    assert transfers({1: {7: 0}, 2: {7: 3}}) == [Transfer(2, 1, 7, 1)]
    assert transfers({1: {7: 0, 8: 4}, 2: {7: 2, 8: 4}}) == [Transfer(2, 1, 7, 1)]


def test_units_that_cannot_be_divided_are_lone() -> None:
    assert transfers({1: {7: 1}, 2: {7: 0}}) == [Transfer(1, 2, 7, 1, lone=True)]
    assert transfers({1: {7: 1}, 2: {7: 0}, 3: {7: 1}}) == [Transfer(3, 2, 7, 1, lone=True)]


def test_an_item_that_one_part_lacks_stays() -> None:
    assert transfers({1: {7: 10}, 2: {8: 10}}) == []


def test_no_transfer_takes_more_than_there_is_or_leaves_the_giver_dry() -> None:
    seeded = random.Random(7)
    for _ in range(3_000):
        lefts = {
            part: {7: seeded.choice([0, 0, 1, 2, 5, 50, 10**6])}
            for part in range(1, 1 + seeded.randint(2, 5))
        }
        for each in transfers(lefts):
            assert 1 <= each.units <= lefts[each.source][7]
            after = lefts[each.source][7] - each.units
            assert each.lone or after >= lefts[each.target][7] + each.units - 1


def test_rounds_end() -> None:
    seeded = random.Random(8)
    for _ in range(300):
        lefts = {part: {7: seeded.choice([0, 3, 10, 10**5])} for part in (1, 2, 3, 4)}
        total = sum(items[7] for items in lefts.values())
        for _ in range(50):
            moved = [each for each in transfers(lefts) if not each.lone]
            if not moved:
                break
            for each in moved:
                lefts[each.source][7] -= each.units
                lefts[each.target][7] += each.units
        else:
            pytest.fail(f"units move for ever: {lefts}")
        assert sum(items[7] for items in lefts.values()) == total

"""Which part of a sale serves which user."""

from collections import Counter

import pytest

from seckill.formats.outcomes import MAX_ID
from seckill.formats.parts import PRIME, SPREAD, Part, Routes, part_of_user

ROWS = [
    (1, "main", 1, 0),
    (2, "main", None, None),
    (8, "east", 1, 2),
    (7, "north", 1, 1),
]


@pytest.mark.parametrize("parts", [2, 3, 5, 8])
@pytest.mark.parametrize("step", [1, 2, 5, 8, 1000, PRIME])
def test_users_are_spread_evenly_however_they_are_numbered(parts: int, step: int) -> None:
    users = 20_000
    seen = Counter(part_of_user(1 + n * step, parts) for n in range(users))
    if step == PRIME:
        # Nobody numbers users by a multiple of our prime.
        assert len(seen) == 1
    else:
        assert set(seen) == set(range(parts))
        assert max(seen.values()) - min(seen.values()) < 0.1 * users / parts


def test_a_user_is_always_in_the_same_part() -> None:
    # Kept for good: another hash would let every buyer of a running sale buy again.
    users = (1, 2, 3, 12_345, 999_983, 10**12, MAX_ID)
    assert [part_of_user(user, 2) for user in users] == [1, 0, 1, 1, 0, 1, 0]
    assert [part_of_user(user, 5) for user in users] == [3, 1, 4, 3, 0, 3, 1]


def test_lua_counts_every_step_exactly() -> None:
    assert max(PRIME * SPREAD, (PRIME - 1) * (10**9 % PRIME) + 10**9) < 2**53


def test_a_split_sale_is_found_by_its_head_and_by_each_part() -> None:
    routes = Routes(ROWS)
    parts = (Part(1, "main"), Part(7, "north"), Part(8, "east"))
    for activity in (1, 7, 8):
        assert routes.head_of(activity) == 1
        assert routes.parts_of(activity) == parts
        assert {routes.of(activity, user) for user in range(1, 50)} == set(parts)
        assert routes.of(activity, 5) == parts[part_of_user(5, 3)]


def test_another_sale_is_one_part_and_an_unknown_one_is_none() -> None:
    routes = Routes(ROWS)
    assert routes.parts_of(2) == (routes.of(2, 77),) == (Part(2, "main"),)
    assert routes.head_of(2) == 2
    assert routes.parts_of(99) == ()
    assert routes.of(99, 1) is None

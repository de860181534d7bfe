"""The board's offsets against those that have a record."""

from hypothesis import given
from hypothesis import strategies as st

from seckill.lane.board import without
from seckill.recovery.restore import NAMED, Missing

offsets = st.sets(st.integers(0, 30)).map(sorted)


@given(offsets, offsets)
def test_what_is_not_recorded(accepted: list[int], recorded: list[int]) -> None:
    assert list(without(accepted, recorded)) == sorted(set(accepted) - set(recorded))


def test_the_first_few_that_are_missing_are_named() -> None:
    missing = Missing({("s", 0): [3, 5], ("s", 1): [0]})
    assert (missing.count, missing.named()) == (3, "s:0:3, s:0:5, s:1:0")
    missing = Missing({("s", 0): list(range(NAMED))})
    assert missing.named() == "s:0:0, s:0:1, s:0:2, s:0:3, s:0:4"
    missing.offsets["t", 1] = [9]
    assert missing.named() == "s:0:0, s:0:1, s:0:2, s:0:3, s:0:4 ..."
    assert Missing().named() == ""

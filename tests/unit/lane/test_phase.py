"""Where a sale stands, at each edge of its window."""

from typing import Any

import pytest

from seckill.lane.phase import Phase, phase_of

NOW = 1_000_000


@pytest.mark.parametrize(
    ("state", "expected"),
    [
        ({}, Phase.OPEN),
        ({"opens_at_ms": NOW}, Phase.OPEN),
        ({"opens_at_ms": NOW + 1}, Phase.SOON),
        ({"closes_at_ms": NOW + 1}, Phase.OPEN),
        ({"closes_at_ms": NOW}, Phase.CLOSED),
        ({"paused": True}, Phase.PAUSED),
        ({"paused": True, "opens_at_ms": NOW + 1}, Phase.PAUSED),
        ({"paused": True, "closes_at_ms": NOW}, Phase.CLOSED),
        ({"over": "sold_out", "paused": True}, Phase.SOLD_OUT),
        ({"over": "sold_out", "closes_at_ms": NOW}, Phase.SOLD_OUT),
        ({"over": "finished", "opens_at_ms": NOW + 1}, Phase.FINISHED),
        ({"over": "a later version's word"}, Phase.FINISHED),
    ],
)
def test_the_first_that_keeps_it_from_selling(state: dict[str, Any], expected: Phase) -> None:
    asked = {"over": None, "paused": False, "opens_at_ms": None, "closes_at_ms": None, **state}
    assert phase_of(**asked, now_ms=NOW) is expected

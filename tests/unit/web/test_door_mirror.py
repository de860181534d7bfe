"""How long a door has been blind."""

import asyncio
from typing import cast

from seckill.lane.keys import Lane
from seckill.web.door.mirror import Mirror
from seckill.web.door.trust import Trust


def test_a_door_that_has_just_begun_is_not_blind_for_a_day() -> None:
    async def begun() -> float:
        return Mirror("redis://127.0.0.1:1", Lane(), "a-source", 1, cast(Trust, None)).blind_s

    assert 0 <= asyncio.run(begun()) < 3_600

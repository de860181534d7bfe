"""Which lane a click goes to, and which part of a sale that is split over lanes.

Redis says whether a sale is split, and PostgreSQL which activities its parts are. Both hold for
good once they are known, so a split sale is served while PostgreSQL is away. What is refused is a
Problem.
"""

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any

from seckill.errors import PostgresAway
from seckill.formats.lanes import MAIN
from seckill.formats.parts import Part, part_of_user
from seckill.web.door.door_lane import RETRY_S, DoorLane, not_on_sale
from seckill.web.door.http import Problem
from seckill.web.door.orders import Orders

# Activities whose lanes are remembered.
MOST_KNOWN = 100_000
# Seconds between two reads of all split sales.
LEARN_S = 10.0


class Routing:
    """Of one door process. `closed` are lanes whose topics are not there: {name: why}."""

    def __init__(
        self, lanes: Sequence[DoorLane], closed: Mapping[str, str], orders: Orders
    ) -> None:
        self._lanes = {lane.name: lane for lane in lanes}
        self._closed, self._orders, self._only = closed, orders, lanes[0].only
        self._alone = None if closed or len(lanes) > 1 else lanes[0]
        # An activity is in one lane for good.
        self._by_activity: dict[int, DoorLane] = {}
        # The parts of split sales, by the number of each.
        self._split: dict[int, tuple[Part, ...]] = {}

    async def learn(self) -> None:
        """Learn of split sales, until cancelled: before a buyer asks PostgreSQL may be away."""
        while True:
            try:
                for parts in await self._orders.split():
                    self._keep(parts)
            except PostgresAway:
                # What is known still holds.
                pass
            await asyncio.sleep(LEARN_S)

    def head_of(self, activity_id: int) -> int:
        """The number that buyers know the sale of an activity by, as far as this door knows."""
        parts = self._split.get(activity_id)
        return parts[0].activity_id if parts else activity_id

    async def of_user(
        self, activity_id: int, user_id: int, within_s: float
    ) -> tuple[DoorLane, int, tuple[Part, ...]]:
        """The lane that takes a click, the activity that it names there, and all parts of the sale.

        `within_s`: how old may be what Redis says. Raises Problem: 404, 503.
        """
        parts = await self.parts_of(activity_id, within_s, taken="no")
        part = parts[part_of_user(user_id, len(parts))]
        lane = self._lanes.get(part.lane)
        if lane is not None:
            return lane, part.activity_id, parts
        if part.lane in self._closed:
            raise Problem(503, self._closed[part.lane], retry_after_s=RETRY_S, taken="no")
        if len(parts) == 1:
            raise not_on_sale(activity_id, self._only)
        raise Problem(
            404,
            f"lane {part.lane} serves this buyer of activity {activity_id}, and this door does not "
            "serve that lane",
        )

    def served(self, parts: Sequence[Part]) -> list[tuple[DoorLane, int]]:
        """The lane of each part that this door serves, and its activity."""
        return [(self._lanes[p.lane], p.activity_id) for p in parts if p.lane in self._lanes]

    def why_closed(self, parts: Sequence[Part]) -> str:
        """Why a part cannot be served now; "" if no lane of them is closed."""
        return next((self._closed[p.lane] for p in parts if p.lane in self._closed), "")

    async def parts_of(self, activity_id: int, within_s: float, **problem: Any) -> tuple[Part, ...]:
        """The parts of the sale that an activity is or belongs to; itself, if it is not split.

        Raises Problem: 404, and 503 with `problem`.
        """
        known = self._split.get(activity_id)
        if known:
            return known
        lane, nowhere = self._alone or self._by_activity.get(activity_id), False
        if lane is None:
            lane, nowhere = await self._find(activity_id)
        # Who splits it while Redis is away is not seen: then its answer says to ask again.
        seen = await lane.last_seen(activity_id, within_s) if lane else None
        into = seen.parts if seen else None
        itself = (Part(activity_id, lane.name if lane else MAIN),)
        if into == 1 or (into is None and self._alone and not self._only):
            return itself
        try:
            found = await self._orders.parts_of(activity_id)
        except PostgresAway:
            if lane is not None and into is None:
                return itself
            raise self._not_known(activity_id, problem) from None
        if len(found) > 1:
            self._keep(found)
            return found
        if into is not None:
            raise self._not_known(activity_id, problem)
        if nowhere and not found:
            raise not_on_sale(activity_id, self._only)
        return itself if lane is not None else found or itself

    async def _find(self, activity_id: int) -> tuple[DoorLane | None, bool]:
        """The lane whose Redis has an activity that nobody has asked for yet, and whether it is
        certain that none has.

        PostgreSQL is asked only if that is not known, so a sale needs it no more than with one
        lane.
        """
        lanes = list(self._lanes.values())
        said = await asyncio.gather(*(lane.sells(activity_id) for lane in lanes))
        if said.count(True) == 1:
            if len(self._by_activity) >= MOST_KNOWN:
                self._by_activity.clear()
            found = self._by_activity[activity_id] = lanes[said.index(True)]
            return found, False
        return None, not any(said) and None not in said and not self._closed

    def _keep(self, parts: tuple[Part, ...]) -> None:
        if len(self._split) >= MOST_KNOWN:
            self._split.clear()
        for part in parts:
            self._split[part.activity_id] = parts

    def _not_known(self, activity_id: int, problem: Mapping[str, Any]) -> Problem:
        why = f"it is not known now which lane activity {activity_id} is of"
        return Problem(503, why, retry_after_s=RETRY_S, **problem)

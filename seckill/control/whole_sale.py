"""A sale over several lanes as a whole: the sums of its parts, and each part beside them."""

from collections.abc import Callable
from dataclasses import dataclass

from seckill.control.balance import on_the_way, rows_of
from seckill.errors import RedisAway
from seckill.lane.status import ActivityStatus, LaneStatus
from seckill.models import Activity


@dataclass(frozen=True)
class PartOfSale:
    """One part: its row, and its lane as it is now. None: the Redis of that lane is away."""

    row: Activity
    lane: LaneStatus | None

    @property
    def away(self) -> bool:
        """Whether nobody knows its state."""
        return self.lane is None

    @property
    def status(self) -> ActivityStatus | None:
        """Its state in Redis; None if it is not loaded, or nobody knows."""
        return self.lane.activities.get(self.row.pk) if self.lane else None

    @property
    def version(self) -> int | None:
        """0 if it is not loaded, None if nobody knows."""
        return None if self.away else self.status.version if self.status else 0

    @property
    def loaded(self) -> int | None:
        """Units ever put on sale in it, and not moved away."""
        return self.status.loaded if self.status else None

    @property
    def left(self) -> int | None:
        """Units left."""
        return self.status.left if self.status else None

    @property
    def sold(self) -> int | None:
        """Units sold."""
        return self.status.sold if self.status else None


@dataclass(frozen=True)
class WholeSale:
    """All parts, in their order. Sums are of those that answer."""

    parts: list[PartOfSale]
    on_the_way: int

    @property
    def without(self) -> list[str]:
        """The lanes that the sums are without, since their Redis is away."""
        return [part.row.lane for part in self.parts if part.away]

    @property
    def loaded(self) -> int:
        """Units ever put on sale, and not on their way."""
        return sum(part.loaded or 0 for part in self.parts)

    @property
    def left(self) -> int:
        """Units left in all lanes."""
        return sum(part.left or 0 for part in self.parts)

    @property
    def sold(self) -> int:
        """Units sold in all lanes."""
        return sum(part.sold or 0 for part in self.parts)


def whole_sale(head: int, lane_now: Callable[[str], LaneStatus]) -> WholeSale:
    """A split sale as it is now. `lane_now` reads a lane, and raises RedisAway.

    Raises Refused if it is not split, PostgresAway.
    """

    def seen(lane: str) -> LaneStatus | None:
        try:
            return lane_now(lane)
        except RedisAway:
            return None

    parts = [PartOfSale(row, seen(row.lane)) for row in rows_of(head)]
    return WholeSale(parts, on_the_way(head))

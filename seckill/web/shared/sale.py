"""A sale over several lanes as a whole: the sums of its parts, and each part beside them."""

from dataclasses import dataclass

from seckill.control.balance import on_the_way, rows_of
from seckill.errors import RedisAway
from seckill.lane.status import ActivityStatus
from seckill.models import Activity
from seckill.web.shared import services


@dataclass(frozen=True)
class PartOfSale:
    """One part: its row, and its state in Redis. `away`: its Redis does not answer."""

    row: Activity
    status: ActivityStatus | None
    away: bool = False

    @property
    def version(self) -> int | None:
        """0 if it is not loaded, None if nobody knows."""
        return None if self.away else self.status.version if self.status else 0

    def _sum(self, name: str) -> int | None:
        if self.status is None:
            return None
        return sum(getattr(item, name) for item in self.status.items.values())

    @property
    def loaded(self) -> int | None:
        """Units ever put on sale in it, and not moved away."""
        return self._sum("loaded")

    @property
    def left(self) -> int | None:
        """Units left."""
        return self._sum("left")

    @property
    def sold(self) -> int | None:
        """Units sold."""
        return self._sum("sold")


@dataclass(frozen=True)
class WholeSale:
    """All parts, in their order. Sums are of those that answer."""

    parts: list[PartOfSale]
    on_the_way: int

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


def sale_of(activity_id: int) -> WholeSale | None:
    """The sale that an activity is a part of; None if it is not split. Raises PostgresAway."""
    head = Activity.objects.filter(pk=activity_id).values_list("part_of", flat=True).first()
    return None if head is None else whole_sale(head)


def whole_sale(head: int) -> WholeSale:
    """A split sale as it is now. Raises Refused if it is not split, PostgresAway."""
    parts = []
    for row in rows_of(head):
        try:
            status = services.lane_status(row.lane).activities.get(row.pk)
        except RedisAway:
            parts.append(PartOfSale(row, None, away=True))
        else:
            parts.append(PartOfSale(row, status))
    return WholeSale(parts, on_the_way(head))

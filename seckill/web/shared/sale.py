"""The sale that an activity is a part of, for pages and the API."""

from collections.abc import Mapping

from seckill.control.whole_sale import WholeSale, whole_sale
from seckill.errors import RedisAway
from seckill.lane.status import LaneStatus
from seckill.models import Activity
from seckill.web.shared import services


def sale_of(activity_id: int, gone: Mapping[str, RedisAway] | None = None) -> WholeSale | None:
    """The sale that an activity is a part of; None if it is not split. Raises PostgresAway.

    `gone`: lanes that have not answered just now, and are not asked again.
    """

    def lane_now(name: str) -> LaneStatus:
        if gone and name in gone:
            raise gone[name]
        return services.lane_status(name)

    head = Activity.objects.filter(pk=activity_id).values_list("part_of", flat=True).first()
    return None if head is None else whole_sale(head, lane_now)

"""The sale that an activity is a part of, for pages and the API."""

from seckill.control.whole_sale import WholeSale, whole_sale
from seckill.models import Activity
from seckill.web.shared import services


def sale_of(activity_id: int) -> WholeSale | None:
    """The sale that an activity is a part of; None if it is not split. Raises PostgresAway."""
    head = Activity.objects.filter(pk=activity_id).values_list("part_of", flat=True).first()
    return None if head is None else whole_sale(head, services.lane_status)

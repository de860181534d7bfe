"""The desk's JSON while the Redis of its lane is away: which lane, and what is known without it."""

from collections.abc import Mapping, Sequence
from typing import Any

from django.utils.translation import gettext as _

from seckill.control.whole_sale import WholeSale
from seckill.errors import RedisAway
from seckill.models import Item
from seckill.web.admin.desk_data import act_json, sale_json
from seckill.web.shared import services
from seckill.web.shared.away_page import REDIS, what_it_means
from seckill.web.shared.sale import sale_of


def answer(
    activity_id: int, lane: str, away: RedisAway, acts: Sequence[Mapping[str, Any]]
) -> dict[str, Any]:
    """What PostgreSQL knows of an activity, and the other lanes of its sale."""
    items = list(Item.objects.filter(activity_id=activity_id).order_by("item_id"))
    sale = sale_of(activity_id, {lane: away})
    return {
        "service": away.service,
        "title": services.away_text(lane),
        "text": " ".join(_text(sale)),
        "known": {
            "text": _("Redis is away"),
            "stored": sum(item.sold for item in items),
            "items": [
                {
                    "id": str(item.item_id),
                    "name": item.name,
                    "left": None,
                    "sold": item.sold,
                    "loaded": item.allocation,
                }
                for item in items
            ],
            "done": [act_json(act) for act in acts],
            "sale": sale_json(sale, activity_id),
        },
    }


def _text(sale: WholeSale | None) -> list[str]:
    found = [what_it_means(REDIS)]
    if sale is not None and len(sale.without) < len(sale.parts):
        found.append(_("The other lanes of this sale go on."))
    found.append(
        _(
            "Shown is what PostgreSQL knows; what only Redis knows is old or missing until then. "
            "The page retries automatically."
        )
    )
    return found

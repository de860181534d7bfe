"""The sums of sales over several lanes, from the audits of their lanes."""

from collections.abc import Mapping
from dataclasses import dataclass

from django.db import connection

from seckill.audit.audit import Report
from seckill.models import Activity
from seckill.postgres.moves import on_the_way
from seckill.postgres.through_django import postgres_errors


@dataclass(frozen=True)
class SplitSale:
    """A sale over several lanes: units of all items, in the lanes that were audited."""

    activity_id: int
    lanes: list[str]
    units_loaded: int
    units_left: int
    units_sold: int
    units_on_the_way: int

    def line(self) -> str:
        """It in one line, for people."""
        return (
            f"sale {self.activity_id} over {', '.join(self.lanes)}: loaded {self.units_loaded:,}, "
            f"left {self.units_left:,}, sold {self.units_sold:,}, on the way "
            f"{self.units_on_the_way:,}"
        )


def split_sales(reports: Mapping[str, Report]) -> list[SplitSale]:
    """Every split sale. `reports` are by lane. Raises PostgresAway."""
    with postgres_errors():
        rows = list(Activity.objects.filter(part_of__isnull=False).order_by("part_of", "part"))
        heads: dict[int, list[Activity]] = {}
        for row in rows:
            heads.setdefault(row.part_of or 0, []).append(row)
        found = []
        for head, parts in heads.items():
            items = [
                item
                for part in parts
                if part.lane in reports and (lane := reports[part.lane].lane)
                for item in (
                    lane.activities[part.pk].items if part.pk in lane.activities else {}
                ).values()
            ]
            with connection.cursor() as cursor:
                way = sum(each.units for each in on_the_way(cursor, head))
            found.append(
                SplitSale(
                    head,
                    [part.lane for part in parts],
                    sum(item.loaded for item in items),
                    sum(item.left for item in items),
                    sum(item.sold for item in items),
                    way,
                )
            )
    return found

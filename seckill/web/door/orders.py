"""What buyers see of PostgreSQL: names for the page, and their own orders."""

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from seckill.errors import PostgresAway
from seckill.formats.parts import Part, Routes
from seckill.postgres.parts import ROUTES_OF, SPLIT_ROUTES
from seckill.web.door.reader import Reader

# Reads at the same time.
READERS = 4
# Seconds that names are kept.
NAMES_S = 10.0
# Seconds that the parts of a sale are kept.
PARTS_S = 1.0
# Activities that are kept.
MOST_KEPT = 1_000
# Orders that are shown.
SHOWN = 100
NAMES = """
SELECT coalesce((SELECT name FROM seckill_activity WHERE id = %(id)s), ''),
    coalesce((SELECT jsonb_object_agg(item_id, name) FROM seckill_item
        WHERE activity_id = %(id)s), '{}')
"""
ORDERS = """
SELECT r.source::text, r.partition, r."offset", r.activity_id,
    (SELECT part_of FROM seckill_activity WHERE id = r.activity_id), max(r.ts),
    jsonb_object_agg(r.item_id, r.quantity), max(s.kind),
    (extract(epoch FROM max(r.due)) * 1000)::bigint
FROM seckill_record AS r LEFT JOIN seckill_settlement AS s ON s.source = r.source
    AND s.partition = r.partition AND s."offset" = r."offset" AND s.item_id = r.item_id
WHERE r.user_id = %(user)s
GROUP BY r.source, r.partition, r."offset", r.activity_id ORDER BY max(r.ts) DESC LIMIT %(most)s
"""


@dataclass(frozen=True, slots=True)
class Names:
    """The names of an activity and its items; "" where there is none."""

    activity: str = ""
    items: Mapping[int, str] = field(default_factory=dict)


class Orders:
    """Reads for one door. Everything runs on one event loop."""

    def __init__(self, pg_dsn: str) -> None:
        self._reader = Reader(pg_dsn, READERS)
        self._names: dict[int, tuple[float, Names]] = {}
        self._parts: dict[int, tuple[float, tuple[Part, ...]]] = {}

    async def names(self, activity_id: int) -> Names:
        """The names, at most NAMES_S old; older or none while PostgreSQL is away."""
        at, known = self._names.get(activity_id, (-NAMES_S, Names()))
        if time.monotonic() - at < NAMES_S:
            return known
        # Others do not wait for this read, and do not repeat it.
        self._names[activity_id] = (time.monotonic(), known)
        try:
            [(name, items)] = await self._reader.read(NAMES, {"id": activity_id})
        except PostgresAway:
            return known
        found = Names(name, {int(item): text for item, text in items.items()})
        if len(self._names) > MOST_KEPT:
            self._names.clear()
        self._names[activity_id] = (time.monotonic(), found)
        return found

    async def parts_of(self, activity_id: int) -> tuple[Part, ...]:
        """The parts of the sale that an activity is or belongs to, as PostgreSQL has them: one, if
        it is not split; () if it knows none. Raises PostgresAway.
        """
        at, known = self._parts.get(activity_id, (-PARTS_S, ()))
        if time.monotonic() - at < PARTS_S:
            return known
        rows = await self._reader.read(ROUTES_OF, {"id": activity_id})
        found = Routes(rows).parts_of(activity_id)
        if len(self._parts) > MOST_KEPT:
            self._parts.clear()
        self._parts[activity_id] = (time.monotonic(), found)
        return found

    async def split(self) -> list[tuple[Part, ...]]:
        """The parts of every split sale. Raises PostgresAway."""
        rows = await self._reader.read(SPLIT_ROUTES)
        routes = Routes(rows)
        return [routes.parts_of(number) for number, _, head, _ in rows if number == head]

    async def of(self, user_id: int) -> list[dict[str, Any]]:
        """A buyer's stored orders, the newest first. Raises PostgresAway.

        That of a split sale has the number of the sale, which the buyer knows, and its part's.
        """
        rows = await self._reader.read(ORDERS, {"user": user_id, "most": SHOWN})
        return [
            {
                "activity_id": head or activity,
                "items": items,
                "state": kind or ("held" if due else "accepted"),
                "decided_at": at.isoformat(),
                "place": f"{source}:{partition}:{offset}",
                **({"pay_until": due} if due and not kind else {}),
                **({"part_id": activity} if head else {}),
            }
            for source, partition, offset, activity, head, at, items, kind, due in rows
        ]

    async def close(self) -> None:
        """Close the connections."""
        await self._reader.close()

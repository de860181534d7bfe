"""What buyers see of PostgreSQL: names for the page, and their own orders."""

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from seckill.errors import PostgresAway
from seckill.web.door.reader import Reader

# Reads at the same time.
READERS = 4
# Seconds that names are kept.
NAMES_S = 10.0
# Seconds that an activity's lane is kept.
LANE_S = 1.0
# Activities that are kept.
MOST_KEPT = 1_000
# Orders that are shown.
SHOWN = 100
NAMES = """
SELECT coalesce((SELECT name FROM seckill_activity WHERE id = %(id)s), ''),
    coalesce((SELECT jsonb_object_agg(item_id, name) FROM seckill_item
        WHERE activity_id = %(id)s), '{}')
"""
LANE = "SELECT lane FROM seckill_activity WHERE id = %s"
ORDERS = """
SELECT r.source::text, r.partition, r."offset", r.activity_id, max(r.ts),
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
        self._lanes: dict[int, tuple[float, str]] = {}

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

    async def lane_of(self, activity_id: int) -> str:
        """An activity's lane as PostgreSQL has it; "" if it knows none. Raises PostgresAway."""
        at, known = self._lanes.get(activity_id, (-LANE_S, ""))
        if time.monotonic() - at < LANE_S:
            return known
        rows = await self._reader.read(LANE, (activity_id,))
        found = rows[0][0] if rows else ""
        if len(self._lanes) > MOST_KEPT:
            self._lanes.clear()
        self._lanes[activity_id] = (time.monotonic(), found)
        return found

    async def of(self, user_id: int) -> list[dict[str, Any]]:
        """A buyer's stored orders, the newest first. Raises PostgresAway."""
        rows = await self._reader.read(ORDERS, {"user": user_id, "most": SHOWN})
        return [
            {
                "activity_id": activity,
                "items": items,
                "state": kind or ("held" if due else "accepted"),
                "decided_at": at.isoformat(),
                "place": f"{source}:{partition}:{offset}",
                **({"pay_until": due} if due and not kind else {}),
            }
            for source, partition, offset, activity, at, items, kind, due in rows
        ]

    async def close(self) -> None:
        """Close the connections."""
        await self._reader.close()

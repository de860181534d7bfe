"""What the door reads from PostgreSQL: names for the page, and a buyer's own orders.

Both are rare and slow beside a click, so few connections serve them, and a PostgreSQL that is away
takes nothing else with it.
"""

import asyncio
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import psycopg

from seckill.errors import PostgresAway

# Reads at the same time, and seconds for one of them.
READERS, READ_S = 4, 3.0
# Seconds that names are kept.
NAMES_S = 10.0
# Orders that are shown.
SHOWN = 100
NAMES = """
SELECT coalesce((SELECT name FROM seckill_activity WHERE id = %(id)s), ''),
    coalesce((SELECT jsonb_object_agg(item_id, name) FROM seckill_item
        WHERE activity_id = %(id)s), '{}')
"""
ORDERS = """
SELECT source::text, partition, "offset", activity_id, request_id, max(ts),
    jsonb_object_agg(item_id, quantity)
FROM seckill_record WHERE user_id = %(user)s
GROUP BY source, partition, "offset", activity_id, request_id ORDER BY max(ts) DESC LIMIT %(most)s
"""


@dataclass(frozen=True, slots=True)
class Names:
    """The names of an activity and its items; "" where there is none."""

    activity: str = ""
    items: Mapping[int, str] = field(default_factory=dict)


class Orders:
    """Reads for one door. Everything runs on one event loop."""

    def __init__(self, pg_dsn: str) -> None:
        self._dsn = pg_dsn
        self._free: list[psycopg.AsyncConnection[Any]] = []
        self._turns = asyncio.Semaphore(READERS)
        self._names: dict[int, tuple[float, Names]] = {}

    async def names(self, activity_id: int) -> Names:
        """The names, at most NAMES_S old; older or none while PostgreSQL is away."""
        at, known = self._names.get(activity_id, (-NAMES_S, Names()))
        if time.monotonic() - at < NAMES_S:
            return known
        # Others do not wait for this read, and do not repeat it.
        self._names[activity_id] = (time.monotonic(), known)
        try:
            [(name, items)] = await self._read(NAMES, {"id": activity_id})
        except PostgresAway:
            return known
        found = Names(name, {int(item): text for item, text in items.items()})
        if len(self._names) > 1_000:
            self._names.clear()
        self._names[activity_id] = (time.monotonic(), found)
        return found

    async def of(self, user_id: int) -> list[dict[str, Any]]:
        """A buyer's stored orders, the newest first. Raises PostgresAway."""
        rows = await self._read(ORDERS, {"user": user_id, "most": SHOWN})
        return [
            {
                "activity_id": activity,
                "items": items,
                "state": "accepted",
                "decided_at": at.isoformat(),
                "place": f"{source}:{partition}:{offset}",
            }
            for source, partition, offset, activity, _click, at, items in rows
        ]

    async def _read(self, query: str, values: Mapping[str, object]) -> list[tuple[Any, ...]]:
        try:
            async with asyncio.timeout(READ_S), self._turns:
                connection = self._free.pop() if self._free else await self._connect()
                try:
                    cursor = await connection.execute(query, values)
                    rows = await cursor.fetchall()
                except BaseException:
                    await connection.close()
                    raise
                self._free.append(connection)
                return rows
        except TimeoutError:
            raise PostgresAway("no answer in time") from None
        except psycopg.OperationalError as away:
            raise PostgresAway(away) from None

    async def _connect(self) -> "psycopg.AsyncConnection[Any]":
        return await psycopg.AsyncConnection.connect(
            self._dsn, autocommit=True, prepare_threshold=None
        )

    async def close(self) -> None:
        """Close the connections."""
        while self._free:
            await self._free.pop().close()

"""Whether what Redis says of requests may be told to buyers.

Owns the doubt, as `seckill.results.trust` does for the API. A Redis that is fenced, empty or older
than the sale, or that no longer leads the lane, answers nobody. What PostgreSQL knows of the lane
is read once a second and compared with every look. That is soon enough: consumers decide only with
a lease, so nothing is decided on a former leader. While PostgreSQL is away, what it said last
holds; a door that never reached it believes Redis.
"""

import asyncio
import logging
from collections.abc import Mapping
from dataclasses import dataclass, field

from seckill.errors import PostgresAway
from seckill.lane.keys import Lane
from seckill.postgres import lease
from seckill.postgres.lease import Claim, LaneRow
from seckill.postgres.witness import LAST_ROWS
from seckill.process.events import event
from seckill.web.door.reader import Reader

log = logging.getLogger(__name__)

# Seconds between two reads.
READ_AGAIN_S = 1.0
NOT_COMPARED = "Redis was not compared with PostgreSQL yet"


@dataclass(frozen=True, slots=True)
class Facts:
    """What PostgreSQL knows: the lane's row, and by partition the offset after the last record."""

    row: LaneRow | None
    ends: Mapping[int, int] = field(default_factory=dict)


class Trust:
    """The doubt about one Redis and one source. Everything runs on one event loop."""

    def __init__(self, reader: Reader, lane: Lane, source: str) -> None:
        self._reader, self._lane, self._source = reader, lane, source
        self._asked = False
        self._facts: Facts | None = None

    def doubt(
        self, *, fenced: str, loaded: bool, claim: Claim, positions: Mapping[int, int]
    ) -> str:
        """Why nothing of this look may be told, in words; "" if it may be."""
        if fenced:
            return f"the lane is fenced: {fenced}"
        if not self._asked:
            return NOT_COMPARED
        if self._facts is not None:
            why = lease.doubted(self._facts.row, claim)
            if why:
                return why
        if not loaded:
            return "nothing is loaded in Redis"
        for partition, end in self._facts.ends.items() if self._facts else ():
            if end > positions.get(partition, 0):
                return f"Redis is older than the sale: partition {partition} has rows up to {end}"
        return ""

    async def run(self) -> None:
        """Read until cancelled."""
        while True:
            try:
                self._facts = await self._read()
            except PostgresAway as away:
                log.debug("what PostgreSQL knows of the lane: %s", away, extra=event("door-trust"))
            self._asked = True
            await asyncio.sleep(READ_AGAIN_S)

    async def _read(self) -> Facts:
        rows = await self._reader.read(lease.READ, (self._lane.list,))
        ends = await self._reader.read(LAST_ROWS)
        return Facts(
            LaneRow(*rows[0]) if rows else None,
            {partition: end for source, partition, end in ends if source == self._source},
        )

    async def close(self) -> None:
        """Close the connection."""
        await self._reader.close()

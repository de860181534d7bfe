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
from dataclasses import dataclass

from seckill.errors import PostgresAway
from seckill.lane.keys import Lane, position_field
from seckill.postgres import lease, witness
from seckill.postgres.lease import Claim, LaneRow
from seckill.process.events import event
from seckill.web.door.reader import Reader

log = logging.getLogger(__name__)

# Seconds between two reads.
READ_AGAIN_S = 1.0
NOT_COMPARED = "Redis was not compared with PostgreSQL yet"


@dataclass(frozen=True, slots=True)
class Facts:
    """What PostgreSQL knows: the lane's row, and where the source's stored records end."""

    row: LaneRow | None
    ends: Mapping[str, int]


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
        if self._facts is None:
            return "" if loaded else "nothing is loaded in Redis"
        return witness.doubt(
            self._facts.row,
            claim,
            loaded=loaded,
            positions={position_field(self._source, n): at for n, at in positions.items()},
            ends=self._facts.ends,
        )

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
        ends = await self._reader.read(witness.last_rows_sql(self._lane))
        return Facts(
            LaneRow(*rows[0]) if rows else None,
            {position_field(s, part): end for s, part, end in ends if s == self._source},
        )

    async def close(self) -> None:
        """Close the connection."""
        await self._reader.close()

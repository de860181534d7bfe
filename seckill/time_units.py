"""Times of requests in another unit than milliseconds: told, and nothing else.

A client that sends seconds has all its requests EXPIRED, one that sends microseconds none, ever.
Looks at a few requests of what a poll has brought, so that it costs nothing. Their outcome is the
script's.
"""

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from seckill.broker import Slice
from seckill.decode import decode
from seckill.errors import Poison
from seckill.events import event

log = logging.getLogger(__name__)

# Requests of a slice that are looked at, at most, and the longest of them, bytes.
SAMPLES = 4
LONGEST = 1024
# Seconds until the same unit is told again.
TELL_AGAIN_S = 60.0

# As seconds these are the years 1973 to 5138; as milliseconds they were over in March 1973.
SECONDS = range(10**8, 10**11)
# As microseconds from 1973 on; as milliseconds from the year 5138 on.
MICROSECONDS_FROM = 10**14

MEANING = {
    "seconds": "taken for 1970, so with a timeout they are EXPIRED, and latencies are of no use",
    "microseconds": "taken for a far future, so they never expire, and latencies are of no use",
}


def unit_of(initiated: int) -> str | None:
    """The unit that a `request_initiation_time` seems to have; None if that is milliseconds."""
    if initiated in SECONDS:
        return "seconds"
    return "microseconds" if initiated >= MICROSECONDS_FROM else None


@dataclass
class TimeUnits:
    """Looks for one consumer."""

    clock: Callable[[], float] = time.monotonic
    _told_at: dict[str, float] = field(default_factory=dict)
    _looks: int = 0

    def look(self, part: Slice) -> None:
        """Look at a few requests, other ones each time."""
        step = max(1, -(-len(part.values) // SAMPLES))
        self._looks += 1
        for at in range(self._looks % step, len(part.values), step):
            value = part.values[at]
            if value is None or len(value) > LONGEST:
                continue
            try:
                initiated = decode(value).request_initiation_time
            except Poison:
                # It is parked with its reason.
                continue
            unit = unit_of(initiated)
            if unit is not None:
                self._tell(unit, part.partition, part.offsets[at], initiated)

    def _tell(self, unit: str, partition: int, offset: int, initiated: int) -> None:
        now = self.clock()
        if now - self._told_at.get(unit, -TELL_AGAIN_S) < TELL_AGAIN_S:
            return
        self._told_at[unit] = now
        log.warning(
            "requests come with times in %s, where milliseconds are expected: partition %d, "
            "offset %d says request_initiation_time %d. They are %s. Kafka does not say who sent "
            "it: find the client by that message, and mend it",
            *(unit, partition, offset, initiated, MEANING[unit]),
            extra=event("time-unit", unit=unit, partition=partition, offset=offset),
        )

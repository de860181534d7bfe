"""Reports request times that are not in milliseconds. Changes nothing.

If a client sends seconds, all its requests are EXPIRED; if it sends microseconds, none ever is.
Only a few requests of each poll are checked, so it costs nothing. The script decides their outcome.
"""

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from seckill.broker import Slice
from seckill.errors import Poison
from seckill.formats.request import decode
from seckill.process.events import event

log = logging.getLogger(__name__)

# Requests of a slice that are checked, at most; and the longest of them, in bytes.
SAMPLES = 4
LONGEST = 1024
# Seconds until the same unit is logged again.
TELL_AGAIN_S = 60.0

# As seconds these are the years 1973 to 5138. As milliseconds they ended in March 1973.
SECONDS = range(10**8, 10**11)
# As microseconds these begin in 1973. As milliseconds they begin in the year 5138.
MICROSECONDS_FROM = 10**14

MEANING = {
    "seconds": "read as times in 1970, so with a timeout they are EXPIRED and latencies are wrong",
    "microseconds": "read as times in the far future, so they never expire and latencies are wrong",
}


def unit_of(initiated: int) -> str | None:
    """The unit that a `request_initiation_time` seems to have; None if it is milliseconds."""
    if initiated in SECONDS:
        return "seconds"
    return "microseconds" if initiated >= MICROSECONDS_FROM else None


@dataclass
class TimeUnits:
    """The checks of one consumer."""

    clock: Callable[[], float] = time.monotonic
    _told_at: dict[str, float] = field(default_factory=dict)
    _looks: int = 0

    def look(self, part: Slice) -> None:
        """Check a few requests, other ones each time."""
        step = max(1, -(-len(part.values) // SAMPLES))
        self._looks += 1
        for at in range(self._looks % step, len(part.values), step):
            value = part.values[at]
            if value is None or len(value) > LONGEST:
                continue
            try:
                initiated = decode(value).request_initiation_time
            except Poison:
                # It will be parked with its reason.
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
            "request times are in %s, where milliseconds are expected: partition %d, "
            "offset %d says request_initiation_time %d. They are %s. Kafka does not say who sent "
            "it: find the client by that message, and fix it",
            *(unit, partition, offset, initiated, MEANING[unit]),
            extra=event("time-unit", unit=unit, partition=partition, offset=offset),
        )

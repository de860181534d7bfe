"""When each request is due: pure arithmetic of elapsed time and count.

Owns the rate curve. It has no clock, never sleeps, and knows nothing of Kafka or of the messages.
The curve is a list of segments with a linear rate. Request n (from 0) is due when the area under
the curve reaches n + 1. With several processes, each has its share of rates and requests.
"""

import math
from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from dataclasses import dataclass

# Tolerance for rounding in the area under the curve, in requests: none becomes late by it.
ROUNDING = 1e-6


@dataclass(frozen=True)
class Segment:
    """A part of the curve: from `start` to `end` requests/s in `seconds`, which may be inf."""

    start: float
    end: float
    seconds: float

    @property
    def area(self) -> float:
        """Requests of the whole segment; inf if it never ends, 0 at rate 0."""
        mean = (self.start + self.end) / 2
        return mean * self.seconds if mean else 0.0


def capped(segments: Sequence[Segment], limit: float) -> list[Segment]:
    """The curve with all rates capped at `limit` (requests/s); durations stay the same."""
    result: list[Segment] = []
    for segment in segments:
        low, high = sorted((segment.start, segment.end))
        if high <= limit:
            result.append(segment)
        elif low >= limit:
            result.append(Segment(limit, limit, segment.seconds))
        else:
            below = segment.seconds * (limit - low) / (high - low)
            parts = [
                Segment(min(segment.start, limit), min(segment.end, limit), below),
                Segment(limit, limit, segment.seconds - below),
            ]
            result.extend(parts if segment.start < segment.end else reversed(parts))
    return result


class Pacer:
    """The schedule of a run. Every method is a pure function of its arguments."""

    def __init__(
        self, segments: Sequence[Segment], total: int | None = None, first_area: float = 1.0
    ) -> None:
        """`total`: requests of the run; None means all of the curve, which must have an end then.

        After the end of the curve its last rate continues. `first_area`: the area, at most 1, at
        which request 0 is due. Raises ValueError if the curve can never reach `total`, or if it has
        no end and there is no total.
        """
        area = sum(segment.area for segment in segments)
        if total is None:
            if math.isinf(area):
                raise ValueError("the rate has no end: say how many requests")
            total = int(area - first_area + 1 + ROUNDING)
        if area + ROUNDING < total - 1 + first_area:
            if segments[-1].end <= 0:
                raise ValueError(
                    f"the rate ends at 0 after {int(area)} requests: {total} cannot be reached"
                )
            segments = [*segments, Segment(segments[-1].end, segments[-1].end, math.inf)]
        self.total = total
        self._first_area = first_area
        self._segments = list(segments)
        # Elapsed seconds and requests at the start of each segment.
        self._starts = [0.0]
        self._areas = [0.0]
        for segment in self._segments[:-1]:
            self._starts.append(self._starts[-1] + segment.seconds)
            self._areas.append(self._areas[-1] + segment.area)

    def share(self, part: int, parts: int) -> "Pacer":
        """The schedule of requests part, part + parts, part + 2 * parts and so on, as 0, 1, 2."""
        segments = [Segment(s.start / parts, s.end / parts, s.seconds) for s in self._segments]
        return Pacer(segments, len(range(part, self.total, parts)), (part + 1) / parts)

    def due(self, elapsed_s: float) -> int:
        """How many requests are due by then, at most `total`."""
        if elapsed_s <= 0:
            return 0
        index = bisect_right(self._starts, elapsed_s) - 1
        segment = self._segments[index]
        t = min(elapsed_s - self._starts[index], segment.seconds)
        # The product form, because (end - start) / seconds is 0 for an endless segment anyway.
        slope = (segment.end - segment.start) / segment.seconds
        area = self._areas[index] + segment.start * t + slope * t * t / 2
        return min(self.total, int(area - self._first_area + 1 + ROUNDING))

    def intended(self, number: int) -> float:
        """Elapsed seconds at which the request of this number (from 0) is due."""
        return self.times(number, 1)[0]

    def times(self, first: int, count: int) -> list[float]:
        """The same for `count` consecutive requests; never decreasing."""
        result: list[float] = []
        while count > 0:
            # The segment in which the area reaches that of the request.
            area_at_first = first + self._first_area
            index = max(bisect_left(self._areas, area_at_first - ROUNDING) - 1, 0)
            segment, start = self._segments[index], self._starts[index]
            inside = area_at_first - self._areas[index]
            left = segment.area - inside + ROUNDING
            here = count if left >= count else max(int(left) + 1, 1)
            if segment.start == segment.end:
                step = 1 / segment.start
                result += [start + (inside + i) * step for i in range(here)]
            else:
                a = segment.start
                double_slope = 2 * (segment.end - segment.start) / segment.seconds
                # This form of the root of a*t + slope*t^2/2 = n stays exact for a small slope.
                for n in range(here):
                    area = inside + n
                    root = math.sqrt(max(a * a + double_slope * area, 0.0))
                    result.append(start + min(2 * area / (a + root), segment.seconds))
            first += here
            count -= here
        return result

    @property
    def seconds(self) -> float:
        """Elapsed seconds at which the last request is due; 0 without requests."""
        return self.intended(self.total - 1) if self.total else 0.0

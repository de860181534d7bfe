"""The cards of the overview: one for a sale, also if it is split over several lanes.

It computes from rows that `live.attach` has read. A part whose Redis is away is named on the card,
and is in none of its sums.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from django.urls import reverse
from django.utils.translation import gettext as _

from seckill.lane.status import ActivityStatus
from seckill.web.admin import desk
from seckill.web.admin.base import UNKNOWN
from seckill.web.admin.live import INTEREST, STATES, state_of_row


@dataclass(frozen=True)
class Card:
    """A sale: its rows, the head's first, and the requests a second that are decided now."""

    parts: Sequence[Any]
    rate: float

    @property
    def _head(self) -> Any:
        return self.parts[0]

    @property
    def _state(self) -> str:
        """A key of STATES: of a split sale what somebody wants to see first."""
        states = [state_of_row(row) for row in self.parts if not row.unknown]
        return min(states or ["not loaded"], key=INTEREST.index)

    @property
    def place(self) -> tuple[float, int, int]:
        """Sorts cards: the busiest, the open ones, the newest first."""
        return -self.rate, INTEREST.index(self._state), -self._head.pk

    @property
    def _without(self) -> list[str]:
        return [row.lane for row in self.parts if row.unknown]

    @property
    def _said(self) -> str:
        lanes = ", ".join(self._without)
        return _("Without lane %(lanes)s: its Redis is away") % {"lanes": lanes}

    def json(self) -> dict[str, Any]:
        """What is sold and asked for counts since the activity was made: both are ever."""
        nothing = len(self._without) == len(self.parts)
        kind, state = ("default", UNKNOWN) if nothing else STATES[self._state]
        split = len(self.parts) > 1
        return {
            "number": self._head.pk,
            "name": desk.name_of(self._head) if split else desk.name_with_lane(self._head),
            "url": reverse("admin:seckill_activity_desk", args=[self._head.pk]),
            "kind": kind,
            "state": str(state),
            "lanes": _("in %(n)s lanes") % {"n": len(self.parts)} if split else "",
            "without": self._said if split and self._without else "",
            "left": self._sum(lambda live: live.left),
            "sold": self._sum(lambda live: live.sold),
            "requests": self._sum(lambda live: sum(live.total_outcomes.values())),
            "rate": f"{self.rate:,.0f}" if any(row.live for row in self.parts) else UNKNOWN,
        }

    def _sum(self, count: Callable[[ActivityStatus], int]) -> str:
        live = [row.live for row in self.parts if row.live]
        return f"{sum(map(count, live)):,}" if live else UNKNOWN

"""The door's limits, in one process and without I/O: how often a user or an address may call, and
how many of its calls may wait at one time.

Rates are kept by GCRA: one number a caller, the time at which its calls so far would be over if
they came evenly. Nothing is shared between processes: each has the limits for itself.
"""

import time
from collections import OrderedDict
from collections.abc import Callable, Hashable
from dataclasses import dataclass

from seckill.config.addresses import networks
from seckill.config.sections import Door
from seckill.web.callers import Callers

# Callers that are remembered, of each kind; beyond that the longest silent one is forgotten.
REMEMBERED = 200_000
# Silent callers that are forgotten for each new one.
SWEPT = 2


class Rates:
    """Calls per second of each caller. `rate` 0: no limit. `burst` calls may come at once."""

    def __init__(self, rate: float, burst: int, remembered: int = REMEMBERED) -> None:
        self._interval_s = 1 / rate if rate else 0.0
        self._burst_s = (burst - 1) * self._interval_s
        self._remembered = remembered
        # {caller: the time at which it is even again, s}, the longest silent one first.
        self._even_at: OrderedDict[Hashable, float] = OrderedDict()

    def check(self, caller: Hashable, now: float) -> float:
        """Count a call: 0.0, or not counted and the seconds until one is allowed.

        `now` is in seconds and never goes back.
        """
        if not self._interval_s:
            return 0.0
        known = self._even_at.get(caller)
        if known is None:
            self._forget(now)
            self._even_at[caller] = now + self._interval_s
            return 0.0
        self._even_at.move_to_end(caller)
        wait_s = known - self._burst_s - now
        if wait_s > 0:
            return wait_s
        self._even_at[caller] = max(known, now) + self._interval_s
        return 0.0

    def __len__(self) -> int:
        return len(self._even_at)

    def _forget(self, now: float) -> None:
        """Callers that are even are as new ones, so nothing is lost with them."""
        for _ in range(SWEPT):
            first = next(iter(self._even_at), None)
            if first is None or self._even_at[first] > now:
                break
            del self._even_at[first]
        if len(self._even_at) >= self._remembered:
            self._even_at.popitem(last=False)


class Places:
    """Calls of each caller that wait now. `most` 0: no limit."""

    def __init__(self, most: int) -> None:
        self._most = most
        # Places taken by all callers together.
        self.total = 0
        self._taken: dict[Hashable, int] = {}

    def enter(self, caller: Hashable) -> bool:
        """Take a place; False, and nothing taken, if there is none."""
        taken = self._taken.get(caller, 0)
        if self._most and taken >= self._most:
            return False
        self._taken[caller] = taken + 1
        self.total += 1
        return True

    def leave(self, caller: Hashable) -> None:
        """Give a place back that was taken."""
        taken = self._taken[caller]
        if taken > 1:
            self._taken[caller] = taken - 1
        else:
            del self._taken[caller]
        self.total -= 1

    def __len__(self) -> int:
        return len(self._taken)


@dataclass(frozen=True)
class Limits:
    """All limits of a door process. A caller is what `callers` names; "" is not limited."""

    callers: Callers
    users: Rates
    addresses: Rates
    waiting_users: Places
    waiting_addresses: Places
    # Seconds, and never back.
    clock: Callable[[], float] = time.monotonic

    @classmethod
    def of(cls, section: Door) -> "Limits":
        """As the section says."""
        return cls(
            Callers(networks(section.proxy_networks)),
            Rates(section.user_rate, section.user_burst),
            Rates(section.address_rate, section.address_burst),
            Places(section.waiting_per_user),
            Places(section.waiting_per_address),
        )

    def of_user(self, user_id: int) -> float:
        """Count a call of this user: 0.0, or the seconds until one is allowed."""
        return self.users.check(user_id, self.clock())

    def of_address(self, caller: str) -> float:
        """Count a call of this caller: 0.0, or the seconds until one is allowed."""
        return self.addresses.check(caller, self.clock()) if caller else 0.0

    def enter(self, user_id: int, caller: str) -> bool:
        """Take a place to wait; False, and nothing taken, if user or caller have none left."""
        if not self.waiting_users.enter(user_id):
            return False
        if caller and not self.waiting_addresses.enter(caller):
            self.waiting_users.leave(user_id)
            return False
        return True

    @property
    def waiting(self) -> int:
        """Calls that wait now."""
        return self.waiting_users.total

    def leave(self, user_id: int, caller: str) -> None:
        """Give back what `enter` took with the same arguments."""
        self.waiting_users.leave(user_id)
        if caller:
            self.waiting_addresses.leave(caller)

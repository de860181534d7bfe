"""The buyers: the content of each message. Except for times it depends on profile, users and seed.

Owns the mix of requests. Knows no clock and no Kafka; its memory does not grow with the run.
"""

import random
from bisect import bisect_right
from collections.abc import Sequence
from enum import IntEnum
from itertools import accumulate

from loadgen.malformed import MALFORMED
from loadgen.profile import Profile
from loadgen.shuffle import Shuffled
from seckill.formats.outcomes import DEFAULT_ACTIVITY

# How many of the latest requests can be repeated.
RECENT = 1024
# One in so many malformed messages is of a heavy kind.
HEAVY_ONE_IN = 500
# A request for one item, without an activity and without an id.
UNIFORM = b'{"user_id":%d,"items":{"%d":%d},"request_initiation_time":%d}'


class Kind(IntEnum):
    """The kind of a message. `Buyers.counts` has the same order."""

    NORMAL = 0
    MULTI = 1
    REPEATED = 2
    STALE = 3
    MALFORMED = 4


class Buyers:
    """An endless series of bodies. Each user comes once in shuffled order; then all come again.

    With several processes, each takes every `parts`-th user, so that together they send the same.
    Request ids begin with `ids`, or with the seed.

    Only random() of the random source is used, because only its numbers are the same in every
    version of Python.
    """

    def __init__(
        self, profile: Profile, users: int, seed: int, part: int = 0, parts: int = 1, ids: str = ""
    ) -> None:
        self.counts = [0] * len(Kind)
        self._random = random.Random(seed)
        self._order = Shuffled(users, self._random)
        if parts > 1:
            self._random = random.Random(f"{seed}, part {part} of {parts}")
        self._step = parts
        self._first_user = profile.first_user
        self._next_user = part % users
        self._items = list(profile.weights)
        self._item_sums = list(accumulate(profile.weights.values()))
        self._quantity, highest = profile.quantity
        self._quantities = highest - self._quantity + 1
        self._multi = profile.multi.items
        self._older_ms = profile.stale.older_ms
        self._ids = (ids.encode() or b"%x" % seed) if profile.request_ids else None
        self._number = part
        self._activities = list(profile.activities)
        self._activity_sums = list(accumulate(profile.activities.values()))
        self._plain = self._ids is None and self._activities == [DEFAULT_ACTIVITY]
        # Each kind has a range within 0..1; NORMAL, the most likely one, has the rest above them.
        shares = (profile.multi, profile.repeated, profile.stale, profile.malformed)
        self._bounds = list(accumulate(part.share for part in shares))
        chosen = profile.malformed.kinds
        kinds = [kind for kind in MALFORMED if chosen is None or kind.name in chosen]
        self._light = [kind.body for kind in kinds if not kind.heavy]
        self._heavy = [kind.body for kind in kinds if kind.heavy]
        self._remember = profile.repeated.share > 0
        self._uniform = self._plain and self._bounds[-1] == 0
        self._recent: list[tuple[bytes, bytes]] = []
        self._recent_at = 0

    def draw(self, times_ms: Sequence[int]) -> list[bytes | None]:
        """The next bodies, one per initiation time (ms since the epoch); None is a tombstone.

        The bodies do not depend on how many are drawn at once.
        """
        if self._uniform:
            return self._draw_uniform(times_ms)
        bodies: list[bytes | None] = []
        rnd, counts, bounds = self._random.random, self.counts, self._bounds
        sums, last = self._item_sums, len(self._items) - 1
        mixed = bounds[-1] > 0
        kind = Kind.NORMAL
        for time_ms in times_ms:
            if mixed:
                # Above the last bound this is len(Kind), which is NORMAL.
                kind = Kind((bisect_right(bounds, rnd()) + 1) % len(Kind))
            if kind is Kind.MALFORMED:
                bodies.append(self._malformed())
                counts[kind] += 1
                continue
            if kind is Kind.REPEATED and self._recent:
                head, tail = self._recent[int(rnd() * len(self._recent))]
            else:
                if kind is Kind.REPEATED:
                    kind = Kind.NORMAL
                user = self._first_user + self._order[self._next_user]
                self._next_user += self._step
                if self._next_user >= self._order.n:
                    self._next_user %= self._order.n
                if kind is Kind.MULTI:
                    items = self._several()
                else:
                    items = b'"%d":%d' % (
                        self._items[bisect_right(sums, rnd() * sums[-1], 0, last)],
                        self._quantity + int(rnd() * self._quantities),
                    )
                head = b'{"user_id":%d,"items":{%b},"request_initiation_time":' % (user, items)
                tail = b"}" if self._plain else self._tail()
                if self._remember:
                    self._keep((head, tail))
                if kind is Kind.STALE:
                    time_ms = max(0, time_ms - self._older_ms)
            counts[kind] += 1
            bodies.append(b"%b%d%b" % (head, time_ms, tail))
        return bodies

    def _draw_uniform(self, times_ms: Sequence[int]) -> list[bytes | None]:
        """A faster `draw` if every request is of the same kind; it halves the time per request.

        It uses the same random numbers in the same order.
        """
        rnd, order, user = self._random.random, self._order, self._next_user
        first_user, step, users = self._first_user, self._step, self._order.n
        items, sums, total, last = (
            self._items, self._item_sums, self._item_sums[-1], len(self._items) - 1,
        )  # fmt: skip
        lowest, quantities = self._quantity, self._quantities
        bodies: list[bytes | None] = []
        for time_ms in times_ms:
            bodies.append(
                UNIFORM
                % (
                    first_user + order[user],
                    items[bisect_right(sums, rnd() * total, 0, last)],
                    lowest + int(rnd() * quantities),
                    time_ms,
                )
            )
            user = (user + step) % users
        self._next_user = user
        self.counts[Kind.NORMAL] += len(bodies)
        return bodies

    def _several(self) -> bytes:
        """Several different items with quantities, as members of a JSON object."""
        rnd, sums = self._random.random, self._item_sums
        lowest, highest = self._multi
        wanted = min(lowest + int(rnd() * (highest - lowest + 1)), len(self._items))
        chosen: dict[int, int] = {}
        # Drawn by weight, a very likely item comes up repeatedly. After some tries take any item.
        for attempt in range(8 * wanted):
            if len(chosen) == wanted:
                break
            if attempt < 4 * wanted:
                item = self._items[bisect_right(sums, rnd() * sums[-1], 0, len(sums) - 1)]
            else:
                item = self._items[int(rnd() * len(self._items))]
            chosen.setdefault(item, self._quantity + int(rnd() * self._quantities))
        for item in self._items:
            if len(chosen) == wanted:
                break
            chosen.setdefault(item, self._quantity)
        return b",".join(b'"%d":%d' % pair for pair in chosen.items())

    def _tail(self) -> bytes:
        """What follows the time: the activity (unless only the default is used) and the id."""
        parts = b""
        if self._activities != [DEFAULT_ACTIVITY]:
            sums = self._activity_sums
            index = bisect_right(sums, self._random.random() * sums[-1], 0, len(sums) - 1)
            parts += b',"activity_id":%d' % self._activities[index]
        if self._ids is not None:
            parts += b',"request_id":"%b-%d"' % (self._ids, self._number)
            self._number += self._step
        return parts + b"}"

    def _keep(self, request: tuple[bytes, bytes]) -> None:
        if len(self._recent) < RECENT:
            self._recent.append(request)
        else:
            self._recent[self._recent_at] = request
            self._recent_at = (self._recent_at + 1) % RECENT

    def _malformed(self) -> bytes | None:
        rnd = self._random.random
        heavy = not self._light or (bool(self._heavy) and rnd() * HEAVY_ONE_IN < 1)
        bodies = self._heavy if heavy else self._light
        return bodies[int(rnd() * len(bodies))]

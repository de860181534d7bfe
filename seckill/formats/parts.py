"""A sale over several lanes: which part serves which user. Imports nothing of ours.

A split sale is a head and its parts. Each part is an activity in a lane of its own; the head is
part 0. A user always meets the same part, so limits per user and repeated clicks stay exact.
"""

from collections.abc import Iterable
from dataclasses import dataclass

# The hash: a number modulo a prime, spread by the golden ratio of that prime. All products
# stay below 2^53, which Lua counts exactly.
PRIME, SPREAD = 999_983, 618_023


@dataclass(frozen=True)
class Part:
    """One part of a sale: the activity that its requests name, and the lane whose topic they go
    to. A sale that is not split is one part.
    """

    activity_id: int
    lane: str


def part_of_user(user_id: int, parts: int) -> int:
    """Which of so many parts serves a user: 0 to parts - 1."""
    return user_id % PRIME * SPREAD % PRIME * parts // PRIME


def part_in(text: str) -> tuple[int, int]:
    """The number of a part and how many there are, as Redis has it: "1/2". "" is not split."""
    number, _, parts = (text or "0/1").partition("/")
    return int(number), int(parts)


class Routes:
    """All known activities, as they were read at one moment: `seckill.postgres.parts` reads them.

    `rows` are (activity, its lane, its head or None, its number among the parts or None).
    """

    def __init__(self, rows: Iterable[tuple[int, str, int | None, int | None]]) -> None:
        self._lanes: dict[int, str] = {}
        self._heads: dict[int, int] = {}
        parts: dict[int, list[tuple[int, Part]]] = {}
        for activity_id, lane, head, number in rows:
            self._lanes[activity_id] = lane
            if head is not None:
                self._heads[activity_id] = head
                parts.setdefault(head, []).append((number or 0, Part(activity_id, lane)))
        self._parts = {
            head: tuple(part for _, part in sorted(found, key=lambda pair: pair[0]))
            for head, found in parts.items()
        }

    def head_of(self, activity_id: int) -> int:
        """The sale that an activity is a part of; itself if it is not split."""
        return self._heads.get(activity_id, activity_id)

    def parts_of(self, activity_id: int) -> tuple[Part, ...]:
        """The parts of the sale that this activity is or belongs to; () if it is not known."""
        lane = self._lanes.get(activity_id)
        if lane is None:
            return ()
        return self._parts.get(self.head_of(activity_id), (Part(activity_id, lane),))

    def of(self, activity_id: int, user_id: int) -> Part | None:
        """Which part serves this user; None if the activity is not known.

        Whoever names a part by its own number gets the part of the user all the same.
        """
        parts = self.parts_of(activity_id)
        return parts[part_of_user(user_id, len(parts))] if parts else None

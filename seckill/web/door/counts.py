"""What one door counts, for its heartbeat: asked = shed + repeated + taken + not taken +
unknown.
"""

from collections import Counter
from dataclasses import dataclass, field

from seckill.web.door.answers import State


@dataclass
class Counts:
    """Counters since the start of the process."""

    # Certain losers, answered without Kafka.
    shed: int = 0
    # Clicks that had bought before, answered without Kafka.
    repeated: int = 0
    acknowledged: int = 0
    acknowledge_ms: int = 0
    not_taken: int = 0
    unknown: int = 0
    # Refused before they were clicks: by rate, and by each other status.
    limited: int = 0
    # Waits that were cut short, since a buyer or an address waits too often.
    crowded: int = 0
    refused: Counter[int] = field(default_factory=Counter)
    answered: Counter[State] = field(default_factory=Counter)

    def taken(self, seconds: float) -> None:
        """Kafka has acknowledged a click after so many seconds."""
        self.acknowledged += 1
        self.acknowledge_ms += round(seconds * 1000)

    def refuse(self, status: int) -> None:
        """A problem was answered. What is counted elsewhere, by rate or as not taken, is not
        here.
        """
        if status not in (429, 503):
            self.refused[status] += 1

    @property
    def asked(self) -> int:
        """Clicks with a valid token, key and order, each counted by what came of it."""
        return self.shed + self.repeated + self.acknowledged + self.not_taken + self.unknown

    @property
    def done(self) -> int:
        """What grows while the door works."""
        return self.asked + sum(self.answered.values())

    def shown(self) -> dict[str, int]:
        """For the heartbeat."""
        return {
            "asked": self.asked,
            "shed": self.shed,
            "repeated": self.repeated,
            "acknowledged": self.acknowledged,
            "acknowledge_ms": self.acknowledge_ms,
            "not_taken": self.not_taken,
            "unknown": self.unknown,
            "limited": self.limited,
            "crowded": self.crowded,
            "refused": sum(self.refused.values()),
            **{f"told_{state}": number for state, number in self.answered.items()},
        }

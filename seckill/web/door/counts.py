"""What one door counts, for its heartbeat: asked = shed + repeated + taken + not taken +
unknown.
"""

from collections import Counter
from dataclasses import dataclass, field

from seckill.telemetry.door_counts import (
    ACKNOWLEDGE,
    ANSWER,
    REFUSED,
    RESULTS,
    SETTLED,
    TOLD,
    bucket_of,
    with_names,
)
from seckill.web.door.answers import State


@dataclass
class Durations:
    """Durations in buckets, and their exact sum."""

    buckets: Counter[int] = field(default_factory=Counter)
    sum_ms: float = 0.0

    def add(self, seconds: float) -> None:
        """One more."""
        ms = max(0.0, seconds) * 1000
        self.buckets[bucket_of(ms)] += 1
        self.sum_ms += ms


@dataclass
class Counts:
    """Counters since the start of the process."""

    # Certain losers, answered without Kafka.
    shed: int = 0
    # Clicks that had bought before, answered without Kafka.
    repeated: int = 0
    acknowledged: int = 0
    # From the hand-over to Kafka to its acknowledgement.
    acknowledge: Durations = field(default_factory=Durations)
    not_taken: int = 0
    unknown: int = 0
    # Refused before they were clicks: by rate, and by each other status.
    limited: int = 0
    # Waits that were cut short, since a buyer or an address waits too often.
    crowded: int = 0
    refused: Counter[int] = field(default_factory=Counter)
    # Calls that settle a hold, by what came of them: see door_counts.SETTLEMENTS.
    settlements: Counter[str] = field(default_factory=Counter)
    answered: Counter[State] = field(default_factory=Counter)
    # From a click to its decided answer, where the same call brought it.
    answer: Durations = field(default_factory=Durations)

    def taken(self, seconds: float) -> None:
        """Kafka has acknowledged a click after so many seconds."""
        self.acknowledged += 1
        self.acknowledge.add(seconds)

    def told(self, state: State, seconds: float | None) -> None:
        """A final answer was given, so many seconds after its click if this call brought both."""
        self.answered[state] += 1
        if seconds is not None:
            self.answer.add(seconds)

    def settle(self, result: str) -> None:
        """A call would settle a hold."""
        self.settlements[result] += 1

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

    def named(self) -> dict[str, int]:
        """All of it, flat, as a heartbeat has it."""
        return {
            "asked": self.asked,
            **{result: getattr(self, result) for result in RESULTS},
            "crowded": self.crowded,
            f"{REFUSED}429": self.limited,
            **{f"{REFUSED}{status}": number for status, number in self.refused.items()},
            **{f"{SETTLED}{result}": number for result, number in self.settlements.items()},
            **{f"{TOLD}{state}": number for state, number in self.answered.items()},
            **with_names(ACKNOWLEDGE, self.acknowledge.buckets, self.acknowledge.sum_ms),
            **with_names(ANSWER, self.answer.buckets, self.answer.sum_ms),
        }

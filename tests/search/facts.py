"""What the oracle speaks of: requests, what became of them, orders of operators, what is seen."""

from dataclasses import dataclass, field
from enum import StrEnum

from tests.search.servers import Row

Place = tuple[int, int]
Verdicts = frozenset[Place]
ACCEPTED, REFUSED, SKIPPED = "accepted", "refused", "skipped"
NO_LIMIT = 10**12


class Kind(StrEnum):
    """What can be wrong."""

    OVERSOLD = "oversold"
    LOST = "an accepted order is lost"
    DROPPED = "a request was passed over"
    WAITS = "requests wait for ever"
    TWICE = "decided twice, or a row of nobody"
    LIMIT = "more than the limit of a user"
    AFTER_END = "sold after its end"


@dataclass(frozen=True)
class Violation:
    """What does not hold, in words."""

    kind: Kind
    text: str


@dataclass(frozen=True)
class Evidence:
    """What is to be seen at one moment: rows, and the order lines that wait or are parked."""

    rows: list[Row]
    kept: frozenset[tuple[int, int, int]]


NOTHING = Evidence([], frozenset())


@dataclass
class Asked:
    """A message and what became of it. `wanted` None: it is no request."""

    user: int
    wanted: dict[int, int] | None
    outcome: str = ""
    undone: bool = False
    skipped: bool = False
    # Decided how often since Redis was lost for the last time.
    decided: int = 0
    # When it was decided, and under what.
    at: int = 0
    limit: int = NO_LIMIT
    ended: str = ""
    # The product has said that it is lost; and what could have brought it back was lost after that.
    told: bool = False
    gone: bool = False
    # Its line was evicted: Redis has its units still.
    evicted: bool = False
    # Accepted by anybody, ever: a row of it is no invention.
    promised: bool = False

    @property
    def claims(self) -> bool:
        """Whether its buyer has to have it."""
        return self.outcome == ACCEPTED and not self.undone


@dataclass
class Terms:
    """What operators have ordered. Where the end of an act is not known: the laxer of the two."""

    # Units that may be sold in all, by item.
    allowed: dict[int, int] = field(default_factory=dict)
    finished: bool = False
    paused: bool = False
    closed: bool = False
    limit: int = NO_LIMIT

    @property
    def ended(self) -> str:
        """Why nothing may be sold, or nothing."""
        words = {"finished": self.finished, "paused": self.paused, "closed": self.closed}
        return " and ".join(word for word, holds in words.items() if holds)

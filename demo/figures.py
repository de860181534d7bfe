"""What is played, and what came of it: plan, moments and result of a sale. Computes little."""

from dataclasses import dataclass

from demo.at_door import AtDoor
from seckill.audit.audit import Report
from seckill.formats.outcomes import Outcome


@dataclass(frozen=True)
class Plan:
    """What to play."""

    stock: dict[int, int]
    profile: str
    # Of these, a share are clicks at the door.
    requests: int
    seed: int
    consumers: int
    # The activity in the first lane; those of further lanes have the numbers behind it.
    activity_id: int = 1
    lanes: int = 1
    # Requests older than this expire, ms.
    timeout_ms: int = 10_000


@dataclass(frozen=True)
class Moment:
    """The sale at one reading, with counters from its start."""

    seconds: float
    sent: int
    decided: int
    accepted: int
    left: int
    stored: int
    waiting: int
    rate: float


@dataclass
class Result:
    """The result of a sale. Requests are those of this sale only."""

    outcomes: dict[Outcome, int]
    decided: int
    decided_in_s: float
    latency_ms: dict[str, float | None]
    records: int
    units_sold: int
    audit: Report
    at_door: AtDoor
    stuck: bool = False

    @property
    def proved(self) -> bool:
        """Whether audit and answers say that all is well."""
        return self.audit.clean and self.at_door.proved and not self.stuck

    @property
    def asked(self) -> int:
        """Requests decided, and clicks that were answered without one."""
        return self.decided + self.at_door.clicks - self.at_door.messages

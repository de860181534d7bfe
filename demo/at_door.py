"""The share of a sale that goes through the buyers' door, and whether its answers are true.

Owns how big that share is, and the verdict over what those buyers were told. The clicks are made by
`run_loadgen --http`, the comparison is `compare_answers`.
"""

from dataclasses import dataclass, field
from pathlib import Path

from loadgen.http.answers import read_answers
from loadgen.http.buyer import ACCEPTED, REFUSED, TURNED_AWAY
from loadgen.http.compare import compare

# Of so many requests one is a click. A click costs this machine many times what a message costs,
# and both cores are busy with the sale.
ONE_IN = 500
# Clicks per second at the peak.
PEAK_RATE = 50.0


def clicks_of(requests: int) -> int:
    """How many of a sale's requests are clicks."""
    return requests // ONE_IN


@dataclass(frozen=True)
class AtDoor:
    """What came of the clicks. `messages`: those of them that Kafka got, twins at one door once."""

    clicks: int
    accepted: int = 0
    refused: int = 0
    turned_away: int = 0
    messages: int = 0
    wrong: list[str] = field(default_factory=list)

    @property
    def unanswered(self) -> int:
        """Clicks that were told nothing."""
        return self.clicks - self.accepted - self.refused - self.turned_away

    @property
    def proved(self) -> bool:
        """Whether every click was told what the orders say."""
        return not self.wrong and self.unanswered == 0


def held_against_the_orders(clicks: int, answers: Path, pg_dsn: str) -> AtDoor:
    """What so many clicks were told, compared. Call it once everything is stored.

    Without the file nobody was told anything. Raises PostgresAway.
    """
    if not answers.exists():
        return AtDoor(clicks)
    found = compare(answers, pg_dsn)
    return AtDoor(
        clicks=clicks,
        accepted=found.states[ACCEPTED],
        refused=found.states[REFUSED],
        turned_away=found.states[TURNED_AWAY],
        messages=len({line.ticket for line in read_answers(answers) if line.ticket}),
        wrong=found.wrong,
    )

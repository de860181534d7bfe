"""Who came first, and who won: the winners' order against the order of arrival in Kafka.

Owns the measure. In strict order of arrival the first N requests for an item would have won it, N
being the number of those that did. A winner who came later than the N-th jumped the queue, by the
time between the two. Requests that arrived in the same ms count as having come together, and who
came before the first winner stood in the queue of an earlier sale.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from statistics import median


@dataclass
class Queue:
    """Requests for one item: when each arrived, and whether it won."""

    winners: list[int] = field(default_factory=list)
    others: list[int] = field(default_factory=list)


@dataclass(frozen=True)
class Fairness:
    """One item's verdict. Times in ms."""

    item_id: int
    requests: int
    winners: int
    jumped: int
    median_ms: float
    longest_ms: int

    @property
    def share(self) -> float:
        """Winners that jumped the queue, of all winners."""
        return self.jumped / self.winners if self.winners else 0.0


def judge(queues: Mapping[int, Queue]) -> list[Fairness]:
    """The verdict for each item that somebody won, by item."""
    return [
        _judge(item, queue.winners, queue.others)
        for item, queue in sorted(queues.items())
        if queue.winners
    ]


def _judge(item: int, winners: list[int], others: Iterable[int]) -> Fairness:
    first = min(winners)
    everyone = sorted([*winners, *(at for at in others if at >= first)])
    last_in_order = everyone[len(winners) - 1]
    late = [at - last_in_order for at in winners if at > last_in_order]
    return Fairness(
        item_id=item,
        requests=len(everyone),
        winners=len(winners),
        jumped=len(late),
        median_ms=median(late) if late else 0.0,
        longest_ms=max(late, default=0),
    )

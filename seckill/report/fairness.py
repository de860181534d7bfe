"""Fairness: compares who won with the order of arrival in Kafka.

Owns the measure. If N requests won an item, then in strict order of arrival the first N requests
would have won it. A winner who arrived later than the N-th request jumped the queue, by the time
between the two. Requests of the same millisecond count as simultaneous. Requests before the first
winner belong to an earlier sale.
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
    """The result for one item. Times in ms."""

    item_id: int
    requests: int
    winners: int
    jumped: int
    median_ms: float
    longest_ms: int

    @property
    def share(self) -> float:
        """The share of winners that jumped the queue."""
        return self.jumped / self.winners if self.winners else 0.0


def judge(queues: Mapping[int, Queue]) -> list[Fairness]:
    """The result for each item that has winners, in the order of items."""
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

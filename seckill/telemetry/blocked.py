"""Requests blocked by another producer's open transaction: how many, since when, by whom.

A consumer sees nothing from the first message of the oldest open transaction on, neither messages
of that producer nor of others, until the transaction is committed, aborted or timed out.
"""

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime

from seckill.broker.topics import Topics
from seckill.broker.transactions import Open

# Seconds that a transaction may be open before it is reported. Short ones are normal.
TOLERATED_S = 2.0
# Partitions that are named. The rest is counted.
MOST_NAMED = 3


@dataclass(frozen=True)
class Blocked:
    """`requests` of a partition, from offset `stable` on, wait for a transaction to end."""

    partition: int
    stable: int
    requests: int
    transaction: Open

    def __str__(self) -> str:
        whose = f" of {self.transaction.by}" if self.transaction.by else ""
        text = f"partition {self.partition}: {self.requests:,} blocked by an open transaction"
        since_ms = self.transaction.since_ms
        if since_ms is None or since_ms <= 0:
            return f"{text}{whose}"
        return f"{text}{whose}, since {datetime.fromtimestamp(since_ms // 1000, UTC):%F %T} UTC"


def in_words(blocked: tuple[Blocked, ...]) -> str:
    """The first few of them in one line; "" if there are none."""
    more = len(blocked) - MOST_NAMED
    texts = [str(one) for one in blocked[:MOST_NAMED]]
    return "; ".join(texts + ([f"{more} more partitions"] if more > 0 else []))


@dataclass
class _Seen:
    stable: int
    at: float
    transaction: Open | None = None


@dataclass
class Transactions:
    """Remembers at which offset each partition is blocked, and since when."""

    topic: str
    _seen: dict[int, _Seen] = field(default_factory=dict)

    def look(
        self, topics: Topics, stable: Mapping[int, int], behind: Mapping[int, int]
    ) -> tuple[Blocked, ...]:
        """What is blocked for longer than is tolerated. Kafka is asked once who blocks it.

        `stable` is where the open transaction begins; `behind` is how many requests wait there.
        """
        now = time.monotonic()
        found = []
        seen = {}
        for partition, requests in sorted(behind.items()):
            if not requests:
                continue
            one = self._seen.get(partition)
            if one is None or one.stable != stable[partition]:
                one = _Seen(stable[partition], now)
            seen[partition] = one
            if now - one.at >= TOLERATED_S:
                if one.transaction is None:
                    one.transaction = topics.open_transaction(self.topic, partition)
                found.append(Blocked(partition, one.stable, requests, one.transaction))
        self._seen = seen
        return tuple(found)

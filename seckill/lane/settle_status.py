"""One reading of what is held and settled in a lane. Reads only."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import redis

from seckill.lane.client import pairs, read_together, redis_errors
from seckill.lane.held import count_due
from seckill.lane.keys import Lane
from seckill.lane.status import HOLD_COUNTERS, Holds

# Counters of the lane, of settle messages.
MESSAGES = ("paid", "released", "too_late", "repeated", "not_held", "invalid")
# Ms after its time from which a hold is overdue for those who watch: far more than the usual grace.
OVERDUE_MS = 10_000


@dataclass(frozen=True)
class ActivityHolds(Holds):
    """The holds of an activity. `overdue`: due for longer than the grace that the reader named."""

    overdue: int = 0


@dataclass(frozen=True)
class SettleStatus:
    """`positions` and `read` by source:partition of the settle topic: the next offset to settle,
    and the time in ms of Redis's clock up to which all that Kafka had is settled.
    """

    now_ms: int
    positions: Mapping[str, int]
    read: Mapping[str, int]
    # Settle messages by outcome, and offsets that were skipped or recovered.
    messages: Mapping[str, int]
    activities: Mapping[int, ActivityHolds] = field(default_factory=dict)

    @property
    def settled(self) -> int:
        """Messages that got an outcome, since the start."""
        return sum(self.messages.get(name, 0) for name in MESSAGES)

    @property
    def known(self) -> bool:
        """Whether there are holds, or there were any."""
        ends = sum(self.total(name) for name in ("paid", "expired", "cancelled"))
        return bool(self.held or ends or self.messages)

    @property
    def held(self) -> int:
        """Holds of all activities."""
        return sum(activity.held for activity in self.activities.values())

    @property
    def overdue(self) -> int:
        """Overdue holds of all activities."""
        return sum(activity.overdue for activity in self.activities.values())

    def total(self, counter: str) -> int:
        """A counter of HOLD_COUNTERS over all activities."""
        return sum(getattr(activity, counter) for activity in self.activities.values())


def read_positions(client: "redis.Redis", lane: Lane) -> dict[str, int]:
    """{source:partition of the settle topic: the next offset to settle}. Raises RedisAway."""
    with redis_errors():
        found: Mapping[Any, Any] = client.hgetall(lane.settle_positions)
    return _numbers(found)


def read_settle_status(client: "redis.Redis", lane: Lane, grace_ms: int = 0) -> SettleStatus:
    """What is held and settled, at one moment but for clock and overdue holds. Raises RedisAway."""
    with redis_errors():
        known = sorted(int(member) for member in client.smembers(lane.activities))
        seconds, micros = client.time()
    now_ms = int(seconds) * 1000 + int(micros) // 1000
    questions: list[tuple[str, ...]] = []
    for number in known:
        keys = lane.activity(number)
        questions += [
            ("ZCOUNT", keys.due, "-inf", f"({now_ms - grace_ms}"),
            ("HMGET", keys.stats, "held", *HOLD_COUNTERS),
        ]
    positions, messages, read, *rest = read_together(
        client,
        ("HGETALL", lane.settle_positions),
        ("HGETALL", lane.settle_stats),
        ("HGETALL", lane.settle_read),
        *questions,
    )
    activities = {}
    for at, number in enumerate(known):
        late, (held, *counters) = rest[2 * at : 2 * at + 2]
        activities[number] = ActivityHolds(
            held=int(held or 0),
            overdue=count_due(client, lane, number, now_ms - grace_ms) if late else 0,
            **{n: int(count or 0) for n, count in zip(HOLD_COUNTERS, counters, strict=True)},
        )
    return SettleStatus(
        now_ms=now_ms,
        positions=_numbers(pairs(positions)),
        read=_numbers(pairs(read)),
        messages=_numbers(pairs(messages)),
        activities=activities,
    )


def _numbers(fields: Mapping[bytes, bytes]) -> dict[str, int]:
    return {name.decode(): int(count) for name, count in fields.items()}

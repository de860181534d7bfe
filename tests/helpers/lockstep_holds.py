"""Holds of the system and of the model side by side: confirms in a topic, their batches, expiry.

Owns the settle topic of a `Lockstep`: who has sent what and when, what its settlers have read, and
the comparison of all keys of holds. A confirm that was sent before its hold was due must not lose.
"""

from collections import Counter
from typing import Any

from seckill.lane.clicks import Place as HoldPlace
from seckill.lane.clicks import place_value
from seckill.lane.fence import RECOVERING, fence, lift, new_token
from seckill.lane.holds import (
    ReadMark,
    SettleBatch,
    Settlement,
    SettleOutcome,
    SettleStatus,
    expire_holds,
    settle_batch,
)
from seckill.lane.keys import BOARD_STRING, Lane, position_field
from tests.helpers import blocks
from tests.helpers.lockstep import HOLE, PLACES, Lockstep
from tests.helpers.model import Place, Request
from tests.helpers.model_holds import Confirm, HoldModel
from tests.helpers.settling import SETTLE_SOURCE, redis_ms, wait_ms

SETTLE_PLACES: list[Place] = [(SETTLE_SOURCE, 0), (SETTLE_SOURCE, 1)]
COUNTERS = ("held", "paid", "expired", "cancelled", "units_paid", "units_returned", "too_late")


class HoldSteps:
    """The settle topic of one lane. Each step does the same to both."""

    def __init__(self, both: Lockstep) -> None:
        self.both, self.client = both, both.client
        self.model = HoldModel(both.model)
        # What the topic has: a message, INVALID (None), or HOLE; and when Kafka acknowledged it.
        self.log: dict[Place, list[Any]] = {place: [] for place in SETTLE_PLACES}
        self.sent_at: dict[Place, list[int]] = {place: [] for place in SETTLE_PLACES}
        self.expired_due: dict[Request, int] = {}
        self.seen: Counter[str] = Counter()

    def send(self, place: Place, message: Confirm | str | None) -> None:
        """Kafka acknowledges a message."""
        self.log[place].append(message)
        self.sent_at[place].append(redis_ms(self.client))

    def settle(self, place: Place, shift: int, size: int, lost: bool) -> None:
        """A settler that reads on from the position, before it (again), or wrongly behind it."""
        stands = self.model.positions.get(place, 0)
        start = max(0, stands + shift)
        end = min(len(self.log[place]), start + size)
        if end <= start:
            return
        messages = [
            (at, self._as_found(self.log[place][at], lost))
            for at in range(start, end)
            if self.log[place][at] != HOLE
        ]
        sent = [(at, None if m is None else _settlement(m)) for at, m in messages]
        reply = settle_batch(self.client, Lane(), SettleBatch(*place, start, end, 0, sent))
        status, outcomes, stands = self.model.settle(place, start, end, messages, reply.now_ms)
        assert (reply.status, reply.position) == (status, stands)
        if status is SettleStatus.REWOUND:
            token = new_token()
            assert fence(self.client, Lane(), RECOVERING, "in a test", token=token, replace=True)
            assert lift(self.client, Lane(), token)
        elif status is SettleStatus.DECIDED:
            assert list(reply.outcomes) == [ord(".") if o is None else o for o in outcomes]
            for (at, message), outcome in zip(messages, outcomes, strict=False):
                self._was_in_time(place, at, message, outcome)
                if outcome is not None:
                    self.seen[f"settle {outcome.name}"] += 1

    def expire(
        self, activity: int, readers: list[Place], grace: int, most: int, gives_back: bool
    ) -> None:
        """The settlers of these partitions ask for the end; then holds expire."""
        offered = {}
        for place in readers:
            end = len(self.log[place])
            offered[place] = ReadMark(redis_ms(self.client), end)
            if self.model.positions.get(place, 0) >= end:
                mark = max(self.model.read.get(place, 0), offered[place].asked_ms)
                self.model.read[place] = mark
        due = {where: hold.due for where, hold in self.model.model.holds.items()}
        reply = expire_holds(
            self.client, Lane(), activity, SETTLE_PLACES, offered, generation=0,
            grace_ms=grace, most=most, expired_gives_back=gives_back,
        )  # fmt: skip
        assert reply.status is SettleStatus.DECIDED
        expired = self.model.expire(
            activity, SETTLE_PLACES, grace, most, gives_back, reply.now_ms
        )  # fmt: skip
        assert (reply.expired, reply.full) == (expired, expired == most)
        left = [h.due for h in self.model.model.holds.values() if h.activity == activity]
        assert reply.next_due_ms == min(left, default=None)
        for where in due.keys() - self.model.model.holds.keys():
            self.expired_due[where] = due[where]
        self.seen["expired"] += expired

    def make_due(self, which: int) -> None:
        """The time of every n-th hold is now."""
        now = redis_ms(self.client)
        for number, (where, hold) in enumerate(self.model.model.holds.items()):
            if number % which == 0:
                hold.due = now
                blocks.set_due(self.client, now, place_value(*where), activity=hold.activity)
        # A settler that asks from now on asks later than that.
        wait_ms(self.client, now)

    def compare(self) -> None:
        """All keys of holds, and the bytes of those that are settled."""
        model = self.model.model
        if not (model.holds or model.settled or any(self.log.values())):
            return
        pipe = self.client.pipeline(transaction=False)
        pipe.hgetall(Lane().settle_positions)
        pipe.hgetall(Lane().settle_stats)
        pipe.hgetall(Lane().settle_read)
        sales = self.model.model.sales
        for activity in sales:
            keys = Lane().activity(activity)
            pipe.hmget(keys.stats, list(COUNTERS))
        positions, stats, read, *rest = pipe.execute()
        assert _numbers(positions) == {
            position_field(*place): at for place, at in self.model.positions.items()
        }
        assert _numbers(stats) == dict(+self.model.counts)
        assert sum(self.model.counts.values()) == sum(self.model.positions.values())
        assert _numbers(read) == {position_field(*p): at for p, at in self.model.read.items()}
        for number, (activity, sale) in enumerate(sales.items()):
            holds = {
                place_value(*where): hold
                for where, hold in self.model.model.holds.items()
                if hold.activity == activity
            }
            found = blocks.holds_of(self.client, activity)
            assert {place: (h.due_ms, h.user_id, h.items) for place, h in found.items()} == {
                place: (hold.due, hold.user, hold.items) for place, hold in holds.items()
            }
            ends = [sale.settled[name] for name in COUNTERS[1:]]
            assert [int(value or 0) for value in rest[number]] == [len(holds), *ends]
        for where, byte in self.model.model.settled.items():
            self.both.board[where[:2]][where[2]] = ord(byte)
        for place in PLACES:
            text = self.client.get(Lane().board(*place, 0)) or b""
            assert text == bytes(self.both.board[place])
            assert len(text) < BOARD_STRING

    def _as_found(self, message: Confirm | None, lost: bool) -> Confirm | None:
        """What the settler makes of it: `lost` if Kafka does not have the hold's request."""
        if message is None or not lost:
            return message
        gone = message.hold[2] >= len(self.both.logs.get(message.hold[:2], []))
        return Confirm(*_members(message)[:-1], gone)

    def _was_in_time(
        self, place: Place, at: int, message: Confirm | None, outcome: SettleOutcome | None
    ) -> None:
        if message is None or not message.paid or outcome is not SettleOutcome.TOO_LATE:
            return
        due = self.expired_due.get(message.hold)
        assert due is None or self.sent_at[place][at] >= due, "a confirm in time has lost"


def _members(message: Confirm) -> tuple[Any, ...]:
    return (
        message.activity, message.user, message.hold, message.paid, message.reference,
        message.lost,
    )  # fmt: skip


def _settlement(message: Confirm) -> Settlement:
    activity, user, hold, paid, reference, lost = _members(message)
    return Settlement(activity, user, HoldPlace(*hold), paid, reference, lost)


def _numbers(fields: dict[bytes, bytes]) -> dict[str, int]:
    return {name.decode(): int(value) for name, value in fields.items()}

"""The rules of holds as a pure model: what settle_batch and expire_holds must do to a `Model`.

From docs/formats.md, and written without a look at the scripts.
"""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field

from seckill.lane.holds import SettleOutcome as Out
from seckill.lane.holds import SettleStatus
from tests.helpers.model import Hold, Model, Place, Request

# Offsets in a block of holds.
BLOCK = 16
STATUS = {"P": "paid", "X": "expired", "C": "cancelled"}


@dataclass(frozen=True)
class Confirm:
    """A settle message, already decoded. `lost`: as the settler found it when it sent it on."""

    activity: int
    user: int
    hold: Request
    paid: bool
    reference: str | None
    lost: bool = False


@dataclass
class HoldModel:
    """The settle topic of a lane: positions, counters, read marks."""

    model: Model
    positions: dict[Place, int] = field(default_factory=dict)
    counts: Counter[str] = field(default_factory=Counter)
    read: dict[Place, int] = field(default_factory=dict)

    def settle(
        self,
        place: Place,
        start: int,
        end: int,
        log: Iterable[tuple[int, Confirm | None]],
        now: int,
    ) -> tuple[SettleStatus, list[Out | None], int]:
        """One batch of (offset, message; None: INVALID): outcomes, None: settled before; and where
        the partition stands.
        """
        stored = self.positions.get(place, 0)
        if stored < start:
            return SettleStatus.REWOUND, [], stored
        if place in self.positions and stored >= end:
            return SettleStatus.DUPLICATE, [], stored
        outcomes: list[Out | None] = []
        released: set[int] = set()
        decided = 0
        for offset, confirm in log:
            if offset < stored:
                outcomes.append(None)
                continue
            outcome = self._one(place, offset, confirm, now, released)
            outcomes.append(outcome)
            if outcome is Out.WAIT:
                end = offset
                break
            decided += 1
            self.counts[outcome.name.lower()] += 1
        self._reopen(released)
        if outcomes and outcomes[-1] is Out.WAIT and end == stored:
            return SettleStatus.DECIDED, outcomes, end
        self.counts["skipped"] += end - stored - decided
        self.positions[place] = end
        return SettleStatus.DECIDED, outcomes, end

    def expire(
        self,
        activity: int,
        partitions: list[Place],
        grace: int,
        most: int,
        gives_back: bool,
        now: int,
    ) -> int:
        """The holds of one activity that nobody can have paid in time.

        Block by block: that with the earliest hold first.
        """
        if not all(place in self.read for place in partitions):
            return 0
        limit = min(self.read[place] for place in partitions) - grace
        blocks: dict[str, list[tuple[int, Request]]] = {}
        for where, hold in sorted(self.model.holds.items()):
            if hold.activity == activity:
                block = f"{where[0]}:{where[1]}:{where[2] // BLOCK}"
                blocks.setdefault(block, []).append((hold.due, where))
        order = sorted((min(held)[0], name) for name, held in blocks.items())
        due = [where for _, name in order for at, where in blocks[name] if at < limit][:most]
        released: set[int] = set()
        for where in due:
            self._settle(where, "X", now, gives_back, {"forgiven": gives_back}, released)
        self._reopen(released)
        return len(due)

    def _one(
        self, place: Place, offset: int, confirm: Confirm | None, now: int, released: set[int]
    ) -> Out:
        if confirm is None:
            return Out.INVALID
        where, model = confirm.hold, self.model
        more = {"settled_by": [*place, offset], "reference": confirm.reference}
        hold = model.holds.get(where)
        if hold and hold.activity == confirm.activity:
            if hold.user != confirm.user:
                return Out.NOT_HELD
            self._settle(where, "P" if confirm.paid else "C", now, True, more, released)
            return Out.PAID if confirm.paid else Out.RELEASED
        if where[2] >= model.positions.get(where[:2], 0):
            return Out.NOT_HELD if confirm.lost else Out.WAIT
        byte = model.settled.get(where)
        if byte is None:
            return Out.NOT_HELD
        if confirm.paid == (byte == "P"):
            return Out.REPEATED
        if confirm.paid:
            late = Hold(confirm.activity, confirm.user, {0: 0}, 0)
            self._record(where, late, "too_late", now, more)
            if confirm.activity in model.sales:
                model.sales[confirm.activity].settled["too_late"] += 1
        return Out.TOO_LATE

    def _settle(
        self, where: Request, byte: str, now: int, forgive: bool, more: dict[str, object],
        released: set[int],
    ) -> None:  # fmt: skip
        hold = self.model.holds.pop(where)
        self.model.settled[where] = byte
        sale = self.model.sales[hold.activity]
        self._record(where, hold, STATUS[byte], now, more)
        units = sum(hold.items.values())
        sale.settled.update({STATUS[byte]: 1})
        sale.settled["units_paid" if byte == "P" else "units_returned"] += units
        if byte == "P":
            return
        for item, number in hold.items.items():
            if sale.stock[item] == 0:
                released.add(hold.activity)
            sale.stock[item] += number
        if sale.over == "sold_out":
            sale.over = None
        if forgive:
            sale.buyers[hold.user] -= units

    def _reopen(self, released: set[int]) -> None:
        for activity in released:
            self.model.sales[activity].epoch += 1

    def _record(
        self, where: Request, hold: Hold, status: str, now: int, more: dict[str, object]
    ) -> None:
        sale = self.model.sales.get(hold.activity)
        for item, units in hold.items.items():
            record = {
                "user_id": hold.user, "activity_id": hold.activity, "item_id": item,
                "quantity": units, "cost_ms": 0, "status": status, "timestamp": now // 1000,
                "source": where[0], "partition": where[1], "offset": where[2], **more,
                "version": sale.version if sale else 0,
            }  # fmt: skip
            self.model.records.append({k: v for k, v in record.items() if v is not None})

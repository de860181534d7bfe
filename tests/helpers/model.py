"""The rules of a sale as a pure model: what decide_batch must answer and leave behind.

From docs/formats.md, and written without a look at the script: no Redis, no Lua, no clock of
its own. `now` comes from the answer of the system that it is compared with.
"""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from seckill.consumer.engine import Status
from seckill.formats.outcomes import Outcome

Place = tuple[str, int]
Request = tuple[str, int, int]
FOREVER = float("inf")


@dataclass(frozen=True)
class Wish:
    """A request, already decoded."""

    user: int
    items: dict[int, int]
    at: int
    activity: int = 1
    request_id: str | None = None


@dataclass
class Hold:
    """An accepted request that is not paid yet. `due` in ms."""

    activity: int
    user: int
    items: dict[int, int]
    due: int


@dataclass
class ModelSale:
    """An activity: `buyers` counts always, whether there is a limit or not."""

    stock: dict[int, int] = field(default_factory=dict)
    loaded: dict[int, int] = field(default_factory=dict)
    over: str | None = None
    paused: bool = False
    opens: float = 0
    closes: float = FOREVER
    limit: float = FOREVER
    timeout: float | None = None
    version: int = 0
    buyers: Counter[int] = field(default_factory=Counter)
    # (user, request id) of the accepted requests that have an id.
    clicks: set[tuple[int, str]] = field(default_factory=set)
    counters: Counter[Any] = field(default_factory=Counter)
    # Seconds of a hold; None: accepted is sold.
    hold: int | None = None
    epoch: int = 0
    # What became of holds: holds and units.
    settled: Counter[str] = field(default_factory=Counter)
    costs: list[int] = field(default_factory=list)

    def put(self, stock: dict[int, int]) -> None:
        """set_stock: these items are at so many units from now on."""
        for item, units in stock.items():
            self.loaded[item] = self.loaded.get(item, 0) - self.stock.get(item, 0) + units
            self.stock[item] = units
        self.over = None if sum(self.stock.values()) else "sold_out"


@dataclass
class Model:
    """All of a lane. `sales` empty means that nothing is loaded."""

    default_timeout: float = FOREVER
    sales: dict[int, ModelSale] = field(default_factory=dict)
    positions: dict[Place, int] = field(default_factory=dict)
    records: list[dict[str, Any]] = field(default_factory=list)
    # Those that are not settled, and the board's letter of those that are.
    holds: dict[Request, Hold] = field(default_factory=dict)
    settled: dict[Request, str] = field(default_factory=dict)
    lane: Counter[Any] = field(default_factory=Counter)

    def decide(
        self, place: Place, start: int, end: int, log: Iterable[tuple[int, Wish | None]], now: int
    ) -> tuple[Status, list[Outcome | None]]:
        """One batch of (offset, wish; None: INVALID). An outcome each, None: decided before."""
        stored = self.positions.get(place)
        if not self.sales:
            return Status.NOT_LOADED, []
        if (stored or 0) < start:
            return Status.REWOUND, []
        if stored is not None and stored >= end:
            return Status.DUPLICATE, []
        first_new = stored or 0
        answers = [
            self._one(place, offset, wish, now) if offset >= first_new else None
            for offset, wish in log
        ]
        decided = sum(answer is not None for answer in answers)
        self.lane["skipped"] += end - (stored or 0) - decided
        self.positions[place] = end
        return Status.DECIDED, answers

    def _one(self, place: Place, offset: int, wish: Wish | None, now: int) -> Outcome:
        sale = self.sales.get(wish.activity) if wish else None
        if wish is None or sale is None:
            outcome = Outcome.INVALID if wish is None else Outcome.NO_SUCH_ACTIVITY
            self.lane[outcome] += 1
            return outcome
        cost, outcome = max(0, now - wish.at), self._judge(sale, wish, now)
        sale.counters[outcome] += 1
        sale.costs.append(cost)
        if outcome is Outcome.EXPIRED and not sale.over and any(sale.stock.values()):
            sale.counters["expired_with_stock"] += 1
        if outcome is Outcome.ACCEPTED:
            if wish.request_id:
                sale.clicks.add((wish.user, wish.request_id))
            due = None if sale.hold is None else now + sale.hold * 1000
            if due is not None:
                held = Hold(wish.activity, wish.user, dict(wish.items), due)
                self.holds[*place, offset] = held
            for item, units in wish.items.items():
                sale.stock[item] -= units
                sale.buyers[wish.user] += units
                sale.counters.update(units=units, records=1)
                record = {
                    "user_id": wish.user, "activity_id": wish.activity, "item_id": item,
                    "quantity": units, "cost_ms": cost, "status": "success",
                    "timestamp": now // 1000, "source": place[0], "partition": place[1],
                    "offset": offset, "request_id": wish.request_id, "due": due,
                    "version": sale.version,
                }  # fmt: skip
                self.records.append({k: v for k, v in record.items() if v is not None})
            if not any(sale.stock.values()):
                sale.over = "sold_out"
        return outcome

    def _judge(self, sale: ModelSale, wish: Wish, now: int) -> Outcome:
        timeout = self.default_timeout if sale.timeout is None else sale.timeout
        if now - wish.at > timeout:
            return Outcome.EXPIRED
        if sale.over:
            return Outcome.OVER
        if sale.paused or not sale.opens <= now < sale.closes:
            return Outcome.NOT_OPEN
        if not wish.items.keys() <= sale.stock.keys():
            return Outcome.UNKNOWN_ITEM
        if sale.buyers[wish.user] + sum(wish.items.values()) > sale.limit:
            return Outcome.LIMIT
        if any(sale.stock[item] < units for item, units in wish.items.items()):
            return Outcome.SOLD_OUT
        if wish.request_id and (wish.user, wish.request_id) in sale.clicks:
            return Outcome.REPEATED
        return Outcome.ACCEPTED

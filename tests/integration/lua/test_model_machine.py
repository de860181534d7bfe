"""A state machine of hypothesis against the script on Redis alone: ten thousand steps in the suite.

Random batches of several partitions and topics, redelivered, overlapping and cut, with acts of
operators in between, each by its own script. MODEL_STEPS=100000 looks longer, and elsewhere.
"""

import os
from collections import Counter
from types import FunctionType
from typing import Any

import pytest
import redis
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from devstack.endpoints import Endpoints
from seckill.formats.outcomes import MAX_ID, Outcome
from seckill.lane.client import run_script
from seckill.lane.holds import SettleOutcome
from seckill.lane.keys import CONTROL_CHANNEL, Lane
from tests.helpers.lockstep import ACTIVITIES, HOLE, HOUR_MS, ITEMS, PLACES, Ask, Lockstep
from tests.helpers.lockstep_holds import SETTLE_PLACES, HoldSteps
from tests.helpers.model import FOREVER, ModelSale
from tests.helpers.model_holds import Confirm
from tests.helpers.sale import now_ms, put_on_sale

# Steps of the suite, each one batch or act and a comparison of the whole lane.
SUITE_STEPS = 10_000
STEPS = int(os.environ.get("MODEL_STEPS", SUITE_STEPS))
# The most steps of one sale, and how many it has at least on the average.
SALE_STEPS, USUAL_STEPS = 50, 40
# A limit that limits nothing: buyers are counted all the same.
NO_LIMIT = 10**12

USERS = (1, 2, 3, MAX_ID)
WANTED = ((1001,), (1001,), (1002,), (MAX_ID,), (1001, 1002), (1002, MAX_ID), (9999, 1001))
AGES = (0, 0, 0, 0, 10_000, HOUR_MS, -HOUR_MS, 0)
NAMED = (1, 1, 1, 1, MAX_ID, MAX_ID, 77, 1)
IDS = (None, None, "r-1", '"漢\\\n')


def asks(data: bytes) -> list[Any]:
    """Four bytes a message: a draw of bytes is a hundred times cheaper than one of each member."""
    found: list[Any] = []
    for a, b, c, d in zip(*[iter(data)] * 4, strict=False):
        if d % 16 >= 14:
            found.append(HOLE if d % 16 == 14 else None)
            continue
        items = {item: 1 + (c >> place) % 3 for place, item in enumerate(WANTED[b % 7])}
        user, activity = USERS[a % 4], NAMED[(a >> 2) % 8]
        found.append(Ask(user, items, AGES[(b >> 3) % 8], activity, IDS[(d >> 4) % 4]))
    return found


def confirms(data: bytes, holds: list[tuple[Any, Any]]) -> list[Any]:
    """Two bytes a message, mostly about one of these holds: (place of the request, hold)."""
    found: list[Any] = []
    for a, b in zip(*[iter(data)] * 2, strict=False):
        if b % 16 >= 14:
            found.append(HOLE if b % 16 == 14 else None)
            continue
        (source, partition, offset), hold = holds[a % len(holds)]
        # Now and then of another user, another activity, a request that is not there yet.
        user = hold.user if b % 8 != 5 else 9
        activity = hold.activity if b % 11 != 7 else 77
        offset += 1 + b % 3 if a % 8 == 7 else 0
        reference = (None, "pi_1", '"\\漢')[b % 3]
        message = Confirm(activity, user, (source, partition, offset), b % 64 < 32, reference)
        found.append(message)
    return found


stocks = st.dictionaries(
    st.sampled_from(ITEMS), st.sampled_from([0, 1, 4, 10, 30]), min_size=1, max_size=3
)
numbers = st.integers(0, 1)


BATCH: dict[str, st.SearchStrategy[Any]] = {
    "place": st.sampled_from(PLACES),
    # From the position on, before it (again), or behind it, which must not be.
    "shift": st.sampled_from([0, 0, 0, 0, -1, -3, -20, 1]),
    "data": st.binary(min_size=4, max_size=48),
    "cuts": st.sampled_from([[], [], [1], [3], [2, 5]]),
}


CONFIRMS: dict[str, st.SearchStrategy[Any]] = {
    "place": st.sampled_from(SETTLE_PLACES),
    "data": st.binary(min_size=4, max_size=16),
    "shift": st.sampled_from([0, 0, 0, 0, -1, -3, 1]),
    "size": st.sampled_from([100, 100, 100, 3, 0]),
    "lost": st.booleans(),
}


EXPIRY: dict[str, st.SearchStrategy[Any]] = {
    "number": numbers,
    "which": st.sampled_from([0, 1, 2]),
    "catches_up": st.sampled_from([True, True, False]),
    "readers": st.sampled_from([SETTLE_PLACES, SETTLE_PLACES, SETTLE_PLACES[:1], []]),
    "grace": st.sampled_from([0, 0, 0, 60_000]),
    "most": st.sampled_from([1, 1000]),
    "gives_back": st.booleans(),
}


def _copy(function: FunctionType) -> FunctionType:
    """The same function as another object: hypothesis knows a rule by it."""
    return FunctionType(function.__code__, function.__globals__, function.__name__)


class Machine(RuleBasedStateMachine):
    """One sale. `client`, `redis_url` and `seen` are given to the class by the test."""

    client: "redis.Redis"
    redis_url: str
    seen: Counter[str]

    @initialize(
        first=st.sampled_from([8, 30]),
        second=st.booleans(),
        limit=st.sampled_from([NO_LIMIT, NO_LIMIT, 7]),
        hold=st.sampled_from([None, 60, 60, 600]),
    )
    def begin(self, first: int, second: bool, limit: int, hold: int | None) -> None:
        self.both = Lockstep(self.client, self.redis_url)
        self.holds = HoldSteps(self.both)
        # All that were ever held, with what is known of them: messages name the settled ones too.
        self.ever: dict[Any, Any] = {}
        self._load(1, dict.fromkeys(ITEMS, first), limit, hold)
        if second:
            self._load(MAX_ID, {1001: 9})

    def decide(self, place: Any, shift: int, data: bytes, cuts: list[int]) -> None:
        self.both.decide(place, shift, asks(data), cuts)

    # Rules are chosen alike: so batches come as often as all acts together.
    decide_1 = rule(**BATCH)(decide)
    decide_2 = rule(**BATCH)(_copy(decide))
    decide_3 = rule(**BATCH)(_copy(decide))
    decide_4 = rule(**BATCH)(_copy(decide))
    decide_5 = rule(**BATCH)(_copy(decide))
    decide_6 = rule(**BATCH)(_copy(decide))

    def confirm(self, place: Any, data: bytes, shift: int, size: int, lost: bool) -> None:
        """Messages about holds come, and a settler takes what it may, or nothing yet."""
        for message in confirms(data, list(self.ever.items())):
            self.holds.send(place, message)
        self.holds.settle(place, shift, size, lost)

    held = precondition(lambda self: self.ever)
    confirm_1 = held(rule(**CONFIRMS)(confirm))
    confirm_2 = held(rule(**CONFIRMS)(_copy(confirm)))
    confirm_3 = held(rule(**CONFIRMS)(_copy(confirm)))
    confirm_4 = held(rule(**CONFIRMS)(_copy(confirm)))

    def expire(
        self, number: int, which: int, catches_up: bool, readers: list[Any], grace: int,
        most: int, gives_back: bool,
    ) -> None:  # fmt: skip
        """The time of every n-th hold is now, settlers read on or do not, and holds expire."""
        activity, _ = self.both.some(number)
        if which:
            self.holds.make_due(which)
        for place in SETTLE_PLACES if catches_up else []:
            self.holds.settle(place, 0, 10_000, True)
        self.holds.expire(activity, readers, grace, most, gives_back)

    expire_1 = held(rule(**EXPIRY)(expire))
    expire_2 = held(rule(**EXPIRY)(_copy(expire)))

    @rule(activity=st.sampled_from(ACTIVITIES), stock=stocks)
    def set_stock(self, activity: int, stock: dict[int, int]) -> None:
        self._load(activity, stock)

    @rule(number=numbers, units=st.sampled_from([1, 5]))
    def add_stock(self, number: int, units: int) -> None:
        activity, sale = self.both.some(number)
        item = next(iter(sale.stock))
        self._act("add_stock", activity, sale, [item, units], "stock", "loaded")
        sale.stock[item] += units
        sale.loaded[item] += units
        if sale.over == "sold_out":
            sale.over = None

    @rule(number=numbers)
    def finish(self, number: int) -> None:
        activity, sale = self.both.some(number)
        self._act("finish", activity, sale, [])
        sale.over = "finished"

    @rule(number=numbers)
    def reopen(self, number: int) -> None:
        activity, sale = self.both.some(number)
        self._act("reopen", activity, sale, [], "stock")
        sale.over = None if any(sale.stock.values()) else "sold_out"

    @rule(number=numbers, what=st.sampled_from(["pause", "resume"]))
    def pause(self, number: int, what: str) -> None:
        activity, sale = self.both.some(number)
        self._act("pause", activity, sale, [what])
        sale.paused = what == "pause"

    @rule(
        number=numbers,
        limit=st.sampled_from([NO_LIMIT, 2, 5, 9]),
        opens=st.sampled_from([None, None, -HOUR_MS, HOUR_MS]),
        closes=st.sampled_from([None, None, 2 * HOUR_MS, -1]),
        timeout=st.sampled_from([None, 5_000]),
        hold=st.sampled_from([None, 60, 60, 1]),
    )
    def configure(
        self, number: int, limit: int, opens: int | None, closes: int | None, timeout: int | None,
        hold: int | None,
    ) -> None:  # fmt: skip
        activity, sale = self.both.some(number)
        now = now_ms()
        moments = [None if moment is None else now + moment for moment in (opens, closes)]
        fields = {"user_limit": limit, "opens_at": moments[0], "closes_at": moments[1],
                  "timeout": timeout, "hold_s": hold}  # fmt: skip
        pairs = [p for k, v in fields.items() for p in (k, "" if v is None else v)]
        self._act("configure", activity, sale, ["keep", "", *pairs], "buyers", position=True)
        sale.limit, sale.timeout, sale.hold = limit, timeout, hold
        sale.opens = moments[0] or 0
        sale.closes = moments[1] or FOREVER

    @rule(number=numbers, more=st.sampled_from([0, 0, 3, -5]))
    def sync(self, number: int, more: int) -> None:
        """What the database says: the same, or an allocation that somebody has changed there."""
        activity, sale = self.both.some(number)
        counted: list[int] = []
        for item, loaded in sale.loaded.items():
            sold, allocation = loaded - sale.stock[item], max(0, loaded + more)
            counted += [item, allocation, sold, sold]
            sale.stock[item] = max(0, allocation - sold)
            sale.loaded[item] = sold + sale.stock[item]
        self._act("sync", activity, sale, counted, "stock", "loaded", expected=sale.version)
        if not any(sale.stock.values()):
            sale.over = sale.over or "sold_out"
        elif sale.over == "sold_out":
            sale.over = None

    @precondition(lambda self: len(self.both.model.records) > self.both.stored)
    @rule(size=st.sampled_from([1, 3, 1000]))
    def store(self, size: int) -> None:
        """What a log worker does after it has stored a batch."""
        tail: list[bytes] = self.client.lrange(Lane().list, -size, -1)  # type: ignore[assignment]
        keys = [Lane().list, Lane().state, Lane().stored]
        trims = int(self.client.hget(Lane().state, "trims") or 0)  # type: ignore[arg-type]
        args = [len(tail), tail[-1], tail[0], trims, ""]
        after, taken = run_script(self.client, "trim_batch", keys, args)
        assert (after, taken) == (trims + 1, len(tail))
        # A worker that slept since it read this batch takes nothing more.
        assert run_script(self.client, "trim_batch", keys, args) == [trims + 1, 0]
        self.both.stored += taken

    @rule()
    def forget_scripts(self) -> None:
        self.client.script_flush()

    @invariant()
    def agree(self) -> None:
        self.both.compare()
        self.holds.compare()
        self.ever |= self.both.model.holds
        self.seen["steps"] += 1

    def teardown(self) -> None:
        if not hasattr(self, "both"):
            return
        self.seen.update(self.holds.seen)
        self.seen.update(
            calls=self.both.calls, counted=self.both.counted, stale=self.both.stale,
            records=len(self.both.model.records),
        )  # fmt: skip
        for sale in self.both.model.sales.values():
            self.seen.update(
                {str(int(o)) if isinstance(o, Outcome) else o: n for o, n in sale.counters.items()}
            )
        self.both.engine.close()

    def _load(
        self, activity: int, stock: dict[int, int], limit: int = NO_LIMIT, hold: int | None = None
    ) -> None:
        state = {} if hold is None else {"hold_s": hold}
        put_on_sale(self.client, stock, activity, user_limit=limit, **state)
        sale = self.both.model.sales.setdefault(activity, ModelSale(limit=limit, hold=hold))
        sale.put(stock)
        sale.version += 1
        self.both.baselines[activity] = sale.counters.copy()

    def _act(
        self, script: str, activity: int, sale: ModelSale, more: list[Any], *hashes: str,
        position: bool = False, expected: int | str = "",
    ) -> None:  # fmt: skip
        names = Lane().activity(activity)
        keys = [Lane().activities, Lane().state, names.state]
        keys += [getattr(names, name) for name in hashes]
        keys += [Lane().positions, names.new_buyers] if position else []
        head = [activity, CONTROL_CHANNEL, "machine", expected, "0"]
        answer = run_script(self.client, script, keys, [*head, *more])
        sale.version += 1
        assert int(answer[0]) == sale.version, answer


@pytest.mark.timeout(0 if STEPS > SUITE_STEPS else 600)
def test_ten_thousand_steps(redis_client: "redis.Redis", stack: Endpoints) -> None:
    seen: Counter[str] = Counter()
    given = {"client": redis_client, "redis_url": stack.redis_url, "seen": seen}
    machine = type("GivenMachine", (Machine,), given)
    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=-(-STEPS // USUAL_STEPS),
            stateful_step_count=SALE_STEPS,
            derandomize=STEPS == SUITE_STEPS,
            database=None,
            deadline=None,
            suppress_health_check=list(HealthCheck),
        ),
    )
    print(f"model: {dict(seen)}")
    assert seen["steps"] >= STEPS
    # Every outcome that an activity counts came about, and losers travelled as counts.
    elsewhere = (Outcome.INVALID, Outcome.NO_SUCH_ACTIVITY)
    assert {str(int(o)) for o in Outcome if o not in elsewhere} <= set(seen)
    # And every outcome of a settle message; and holds expired.
    assert {f"settle {o.name}" for o in SettleOutcome} <= set(seen)
    assert seen["expired"] > 0
    assert seen["counted"] > 0
    assert seen["stale"] > 0

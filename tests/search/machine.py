"""The search: random steps over the whole lane, judged by the oracle whenever the lane is at rest.

Here are the steps of a usual day, and rest; `misfortunes` has the others. Hypothesis chooses a mix,
or a test names it.
"""

import sys
from types import FunctionType
from typing import Any

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from tests.search.facts import NO_LIMIT, Kind
from tests.search.misfortunes import (
    MIXES,
    PARTITIONS,
    Misfortunes,
    fresh,
    needs,
    numbers,
    orders,
    partitions,
)
from tests.search.servers import REFUSED_USER
from tests.search.wires import Fate, HoldAt

MOST_WORKERS, MOST_CONSUMERS = 2, 3


def again(function: FunctionType) -> FunctionType:
    """The same function as another object: hypothesis knows a rule by it."""
    return FunctionType(function.__code__, function.__globals__, function.__name__)


# Two bytes a request.
crowds = st.binary(min_size=6, max_size=12)
turns = st.sampled_from([0, 1, 1, 2])
fates = st.sampled_from([*[Fate.DONE] * 5, Fate.LOST, Fate.LATE])


def wishes(data: bytes) -> list[tuple[int, dict[int, int]]]:
    """Two bytes a request: a draw of bytes costs less than one of each member."""
    found: list[tuple[int, dict[int, int]]] = []
    for a, b in zip(data[::2], data[1::2], strict=False):
        user = REFUSED_USER if a == 255 else 1 + a % 4
        wanted = {1001: 1 + b % 2}
        if b % 16 == 15:
            wanted = {}
        elif b % 8 == 7:
            wanted[1002] = 1
        found.append((user, wanted))
    return found


class Machine(Misfortunes, RuleBasedStateMachine):
    """A sale of random steps. `driver`, `seen`, perhaps `only` (a mix) are given by the test."""

    only: str = ""

    @initialize(
        mix=st.sampled_from(sorted(MIXES)),
        units=st.sampled_from([5, 8]),
        consumers=st.sampled_from([2, 1]),
    )
    def begin(self, mix: str, units: int, consumers: int) -> None:
        """Units of two items are put on sale."""
        self.mix = MIXES[self.only or mix]
        self.open({1001: units, 1002: 3}, consumers, PARTITIONS)

    # Buyers, consumers, log workers.

    def sell(self, partition: int, data: bytes, stored: int = 0) -> None:
        """Requests come and are decided; a log worker has turns."""
        self.ask(partition, *wishes(data))
        self.decide()
        for _ in range(stored):
            self.tell(f"log worker 0 {self.driver.store(0)}")

    sell_1 = rule(partition=partitions, data=crowds, stored=turns)(sell)
    sell_2 = rule(partition=partitions, data=crowds, stored=turns)(again(sell))
    sell_3 = rule(partition=partitions, data=crowds, stored=turns)(again(sell))

    @rule(partition=partitions, data=crowds)
    def send(self, partition: int, data: bytes) -> None:
        """Requests come and wait."""
        self.ask(partition, *wishes(data))

    @rule(number=numbers, how=st.sampled_from(["", "", "hold", "lose"]), due=st.booleans())
    def turn(self, number: int, how: str, due: bool) -> None:
        """A consumer's turn; its call is held up, or its answer is lost."""
        number = self._consumer(number)
        said = self.driver.turn(number, hold=how == "hold", lose=how == "lose", due=due)
        self.tell(f"consumer {number} {said} {how and f'({how})'}")

    @rule(number=numbers, turns=st.sampled_from([1, 1, 3]))
    def store(self, number: int, turns: int) -> None:
        """Turns of a log worker."""
        number %= len(self.driver.workers)
        for _ in range(turns):
            self.tell(f"log worker {number} {self.driver.store(number)}")

    @precondition(needs("hold"))
    @rule(number=numbers, at=st.sampled_from(list(HoldAt)))
    def hold(self, number: int, at: HoldAt) -> None:
        """A log worker begins a turn and is held."""
        number %= len(self.driver.workers)
        self.tell(f"log worker {number} {self.driver.store(number, at)}")

    @precondition(lambda self: any(part.turn for part in self.driver.workers))
    @rule(number=numbers)
    def release(self, number: int) -> None:
        """A held log worker goes on."""
        number %= len(self.driver.workers)
        self.tell(f"log worker {number}, let go: {self.driver.release(number)}")

    @precondition(needs("members"))
    @rule(number=numbers, what=st.sampled_from(["come", "kill", "expel", "reconnect"]))
    def member(self, number: int, what: str) -> None:
        """A consumer comes, is killed, is given up by its group (and does not know)."""
        driver = self.driver
        if what == "come" and len(driver.consumers) < MOST_CONSUMERS:
            driver.start_consumer()
        elif what == "kill":
            driver.kill_consumer(self._consumer(number))
        elif what == "expel":
            driver.expel(self._consumer(number))
        elif what == "reconnect":
            driver.reconnect_consumer(self._consumer(number))
        self.tell(f"consumer {number}: {what}")

    @precondition(needs("hold"))
    @rule(number=numbers, new=st.booleans())
    def worker(self, number: int, new: bool) -> None:
        """A log worker is killed and started again, or one more comes."""
        if new and len(self.driver.workers) < MOST_WORKERS:
            self.driver.start_worker()
        elif not new:
            self.driver.kill_worker(number % len(self.driver.workers))
        self.tell("one more log worker" if new else f"log worker {number} is killed")

    # Operators.

    @precondition(needs("acts"))
    @rule(units=st.sampled_from([1, 4, 12]), add=st.booleans(), fate=fates)
    def put(self, units: int, add: bool = False, fate: Fate = Fate.DONE) -> None:
        """So many units from now on, or so many more."""
        self.act("add_stock" if add else "set_stock", {1001: units}, fate)

    @precondition(needs("acts"))
    @rule(order=orders, fate=fates)
    def steer(self, order: tuple[str, Any], fate: Fate = Fate.DONE) -> None:
        """End it, hold it, limit it; or take that back; or have it be as the database says."""
        self.act(*order, fate)

    @precondition(lambda self: "late" in self.mix and self.driver.late)
    @rule()
    def arrive(self) -> None:
        """A script comes whose sender has given up."""
        (name, value), done = self.driver.arrive()
        if done and value is not None:
            self.oracle.arrive(name, value, self.driver.evidence())
        self.tell(f"late: {name} {value} {'is done' if done else 'does nothing'}")

    @precondition(lambda self: not self.innocent and self.wounded and self.is_fresh("recovery"))
    @rule(late=st.sampled_from(["", "", "lift", "fence"]), between=st.integers(0, 3))
    def recovery(self, late: str = "", between: int = 0) -> None:
        """`recover --apply`, of which the fence or the lift may come late; `between`: a log worker
        has turns after the fence, after the rebuilding.
        """
        late = late if "late" in self.mix else ""

        def work() -> None:
            self.tell(f"meanwhile log worker 0 {self.driver.store(0)}")

        steps = [work if between & bit else (lambda: None) for bit in (1, 2)]
        self.recover(late, steps)
        self.mark("recovery")

    # Rest.

    @precondition(fresh("advice", "advice"))
    @rule(number=numbers)
    def follow_advice(self, number: int) -> None:
        """What the audit says that is to be done is done."""
        self.settle(nudge=True)
        self.mark("advice")
        advice = self.driver.audit().advice
        if not advice:
            return
        text = advice[number % len(advice)]
        truth = self.oracle.judge(self.driver.evidence(), all_up=False)
        oversold = any(violation.kind is Kind.OVERSOLD for violation in truth)
        self.tell(f"the audit advises: {text}")
        if "recover" in text:
            self.recover()
        elif "sync_from_db" in text:
            if "finish" in text:
                self.act("finished", True, Fate.DONE)
            self.act("sync_from_db", None, Fate.DONE)
            if "finish" in text:
                self.act("finished", False, Fate.DONE)
        elif "set_stock" in text:
            self.act("set_stock", {1001: self.oracle.left(self.driver.evidence(), 1001)})
        else:
            return
        if not oversold:
            self.advised = text

    @precondition(fresh("rest"))
    @rule(
        nudge=st.booleans(),
        crowd=st.booleans(),
        unite=st.sampled_from([True, True, False]),
        insist=st.booleans(),
        again=st.sampled_from([True, True, False]),
    )
    def rest(
        self,
        nudge: bool = True,
        crowd: bool = True,
        unite: bool = True,
        insist: bool = True,
        again: bool = False,
    ) -> None:
        """All is decided and stored, an operator recovers what is fenced; then the truth is told.

        `nudge`: a new request comes where some wait. `crowd`: more come than there are units.
        `unite`: an old master is gone. `insist`: where the audit is red, an operator recovers.
        `again`: what has come to an end begins again after that.
        """
        self.tell(f"rest: nudge {nudge}, crowd {crowd}, unite {unite}")
        if unite:
            self.unite()
        self.settle(nudge)
        if crowd:
            self.crowd()
            self.settle(nudge)
        self.judge(all_up=unite)
        if insist and not self.content:
            self.recover()
            self.settle(nudge)
            self.judge(all_up=unite)
        if again:
            self._go_on()
        self.mark("rest")

    def _go_on(self) -> None:
        """What has come to an end begins again, or nothing would happen any more."""
        terms = self.oracle.terms
        for what in ("finished", "paused", "closed"):
            if getattr(terms, what):
                self.act(what, False)
        if terms.limit != NO_LIMIT:
            self.act("limit", None)
        if self.wounded:
            self.accept()
        if self.oracle.left(self.driver.evidence(), 1001) <= 0:
            self.act("add_stock", {1001: 5})

    @invariant()
    def count(self) -> None:
        self.seen["steps"] += 1

    def teardown(self) -> None:
        if hasattr(self, "mix") and sys.exc_info()[0] is None:
            self.rest()

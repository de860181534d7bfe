"""One sale under search: what steps are made of, how the lane comes to rest, and the judgement.

At rest all is decided and stored, and whatever stands still has said why. Then the oracle's truth
is held to what the product says. A violation is a failure where the product says that all is well,
where nobody has taken anything away from it, and where its own advice has led there.
"""

from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

from hypothesis import currently_in_test_context, note

from tests.search.driver import Driver
from tests.search.facts import NOTHING, Kind, Verdicts, Violation
from tests.search.failures import FAILURES, Crashed, Failed, FalseAlarm, TwoMasters, Unnamed
from tests.search.operators import CRASHED, DONE, REFUSED
from tests.search.oracle import Oracle
from tests.search.topic import body, words
from tests.search.wires import Fate

# Turns after which a lane that still moves is taken to move for ever.
MOST_TURNS = 60
# Turns without anything after which there is nothing.
ENOUGH = 4
# The most rounds of an operator who recovers what is fenced.
ROUNDS = 4


class Sale:
    """What a machine, or a test, makes its steps of."""

    driver: Driver
    seen: Counter[str]
    # Kinds that are known by now, and left aside: the search goes on behind them.
    aside: frozenset[str] = frozenset()

    def open(self, units: dict[int, int], consumers: int, partitions: int) -> None:
        """Put units on sale in empty services."""
        self.story: list[str] = []
        self.oracle = Oracle()
        self.copy: dict[bytes, bytes] | None = None
        # What was refused when the copy was made, and when that was which was promoted.
        self.copied: Verdicts = frozenset()
        self.promoted: Verdicts = frozenset()
        self.saved = False
        # How often another server has begun to decide, so far and when PostgreSQL was copied.
        self.takeovers = self.takeovers_saved = 0
        # What has changed so far; and how much of it there was at the last step of a name.
        self._changes, self._marks = 0, dict[str, int]()
        # Nobody has taken anything away, or written where he must not.
        self.innocent = True
        # Nothing at all has gone wrong: there is nothing to tell.
        self.quiet = True
        # The product has said, at the last rest, that all is well.
        self.content = True
        # Something was taken, or the audit is red, and nobody has recovered since.
        self.wounded = False
        # Which of the two services has lost something that is not repaired yet. What both have lost
        # at once is lost: nobody promises that.
        self.lame = ""
        # An advice that was followed while nothing was oversold.
        self.advised = ""
        # A consumer was stopped, or leases were lost with PostgreSQL, just now.
        self.stopped = False
        self.driver.reset(partitions)
        self.driver.answered = self._answered
        for _ in range(consumers):
            self.driver.start_consumer()
        self.act("set_stock", units)

    def is_fresh(self, name: str) -> bool:
        """Whether anything has changed since `mark` of this name."""
        return self._marks.get(name) != self._changes

    def mark(self, name: str) -> None:
        """A step of this name is done."""
        self._marks[name] = self._changes

    def tell(self, what: str) -> None:
        """A line of the story."""
        self.story.append(what)
        if currently_in_test_context():
            note(f"    # {what}")

    # What steps are made of.

    def ask(self, partition: int, *requests: tuple[int, dict[int, int]]) -> None:
        """Requests come: (user, {item: quantity}). Without items it is none."""
        topic = self.driver.topic
        for user, wanted in requests:
            offset = len(topic.log[partition])
            self.oracle.ask((partition, offset), user, wanted or None)
            topic.append(partition, body(user, wanted))
        first = len(topic.log[partition]) - len(requests)
        self.tell(f"partition {partition} from {first}: {words(requests)}")

    def decide(self, who: Sequence[int] | None = None) -> None:
        """Each consumer, or only some, has turns until it finds nothing, or holds."""
        holding = list(range(len(self.driver.consumers)) if who is None else who)
        # Who waits for a lease of another goes on when that has had its turn.
        for _ in range(2):
            holding = [number for number in holding if self._turns(number)]

    def _turns(self, number: int) -> bool:
        """Turns of a consumer; whether it holds."""
        idle = 0
        for _ in range(MOST_TURNS):
            said = self.driver.turn(number, due=True)
            # The first turns after a rebalance, or a recovery, only learn of it.
            idle = idle + 1 if said == "reads 0" and self.driver.idle(number) else 0
            if not idle:
                self.tell(f"consumer {number} {said}")
            if idle == ENOUGH or said.startswith("holds"):
                break
        return said.startswith("holds")

    def act(self, name: str, value: Any, fate: Fate = Fate.DONE) -> bool:
        """An operator acts. Whether it was done, as far as he knows."""
        how, said = self.driver.act(name, value, fate)
        self._changes += 1
        if how != REFUSED:
            seen = self.driver.evidence() if name == "set_stock" else NOTHING
            self.oracle.act(name, value, seen, certain=how == DONE)
        self.tell(f"operator: {name} {value}: {how} {said}")
        if how == CRASHED:
            self._raise(Crashed, f"{name} {value} ends in a traceback: {said}")
        return how == DONE

    def recover(self, late: str = "", meanwhile: Sequence[Callable[[], None]] = ()) -> bool:
        """An operator recovers. Whether the sale goes on."""
        lifted, said = self.driver.recover(late, meanwhile)
        self.tell(f"operator: recover: {'goes on' if lifted else 'stays fenced'} {said}")
        if not lifted and "their leases last" in said:
            # Consumers live meanwhile.
            for number in range(len(self.driver.consumers)):
                self.tell(f"consumer {number} {self.driver.turn(number, due=True)}")
            self.pass_time()
            lifted, said = self.driver.recover(late, meanwhile)
            self.tell(f"operator: recover: {'goes on' if lifted else 'stays fenced'} {said}")
        if not lifted and "--from-kafka" in said:
            lifted, said = self.driver.recover(from_kafka=True)
            self.tell(f"... --from-kafka: {'goes on' if lifted else 'stays fenced'} {said}")
        if not lifted and "dead_letters dismiss" in said:
            self.tell(f"operator: {self.driver.dismiss()} orders are dismissed")
            lifted, said = self.driver.recover()
            self.tell(f"operator: recover: {'goes on' if lifted else 'stays fenced'} {said}")
        self.wounded &= not lifted
        if lifted:
            self.lame = ""
        if lifted and self.driver.ruler != self.driver.current:
            self._rule()
        return lifted

    def accept(self) -> None:
        """A person accepts that more was sold than was put on sale, which was told."""
        lifted, said = self.driver.recover(accept_oversell=True)
        self.tell(f"... --accept-oversell: {'goes on' if lifted else 'stays fenced'} {said}")
        if lifted:
            self.oracle.accept(self.driver.evidence())

    def take(self) -> None:
        """Something is about to be taken away, or written, from outside."""
        self.innocent, self.quiet, self.advised = False, False, ""
        self.wounded = True
        self._changes += 1

    def lost(self, what: str, back: Verdicts = frozenset(), *, key: bool = False) -> None:
        """Redis has lost something just now; see `Oracle.lose_redis`."""
        undone = self.oracle.lose_redis(self.driver.evidence(), back, key=key)
        self.tell(f"{what}: {undone} accepted requests are undone")

    def _rule(self) -> None:
        """The server that addresses lead to decides for the lane from now on."""
        self.takeovers += 1
        self.driver.ruler = self.driver.current
        self.lost("a new master decides", self.promoted)

    def pass_time(self, stopped: int | None = None) -> None:
        """Seconds go by; a consumer may be stopped meanwhile."""
        self.stopped = stopped is not None
        self.driver.pass_time(stopped)

    def unite(self) -> None:
        """The old master is gone; before that a log worker that reaches it has its turns."""
        driver = self.driver
        old = [n for n, w in enumerate(driver.workers) if w.server != driver.current]
        for number in old:
            if driver.workers[number].turn is None:
                said = driver.store(number)
                self.tell(f"log worker {number} at the old master: {said}")
                unnamed = driver.unnamed()
                if "does not lead" in said and unnamed:
                    self._raise(Unnamed, f"orders of the old master: {sorted(unnamed)}")
        driver.unite()
        if driver.ruler != driver.current:
            self._rule()

    # Rest.

    def settle(self, nudge: bool) -> None:
        """Decide, store, and recover what is fenced, until nothing moves any more."""
        driver = self.driver
        nudged = not nudge
        if not driver.consumers:
            driver.start_consumer()
        for _ in range(ROUNDS):
            self.pass_time()
            self.decide()
            self._store_all()
            if driver.stands_still():
                self.tell(f"stands still: {driver.trouble()}")
                if not self.recover():
                    return
            elif not nudged and self.oracle.waits(driver.evidence()):
                nudged = True
                for partition in range(driver.partitions):
                    self.ask(partition, (50, {1002: 1}))
            else:
                return

    def crowd(self) -> None:
        """More requests than there are units: of new users, and of those that were there."""
        left = max(0, self.oracle.left(self.driver.evidence(), 1001))
        users = [*range(1, 5), *range(100, 100 + left)]
        for partition in range(self.driver.partitions):
            self.ask(partition, *((user, {1001: 1}) for user in users[partition::2]))

    def judge(self, *, all_up: bool) -> None:
        """Hold the truth to what the product says, which is `content` or not. Raises Failed."""
        evidence, trouble = self.driver.evidence(), self.driver.trouble()
        found = self.oracle.judge(evidence, all_up=all_up and not trouble)
        verdict = self.driver.audit()
        told = trouble or "; ".join(verdict.findings)
        self.tell(f"audit: {told or 'clean'}; truth: {[v.text for v in found] or 'all holds'}")
        self.seen["judged"] += 1
        self.content = not told
        for violation in found:
            self._fail(violation, told)
        if told:
            self.seen["told"] += 1
            self.oracle.forgive()
            if "never lost" in told or "have no record" in told:
                self.oracle.tell_lost()
            self.wounded = True
            if self.quiet and not self.oracle.uncertain and not found and all_up:
                self._raise(FalseAlarm, f"nothing was done to the lane, and it says: {told}")

    def _fail(self, violation: Violation, told: str) -> None:
        kind = FAILURES[violation.kind]
        if not told:
            self._raise(kind, f"the audit is clean, and: {violation.text}")
        if self.innocent:
            self._raise(kind, f"nobody took anything away, and: {violation.text}")
        if self.advised and violation.kind is Kind.OVERSOLD:
            self._raise(
                kind, f"the audit's own advice ({self.advised}) was followed: {violation.text}"
            )

    def _raise(self, kind: type[Failed], text: str) -> None:
        self.seen[kind.__name__] += 1
        if kind.__name__ in self.aside:
            return
        # Hypothesis prints the steps by itself, with what was told between them.
        story = [] if currently_in_test_context() else ["", *self.story]
        raise kind("\n    ".join([text, *story]))

    def _store_all(self) -> None:
        driver = self.driver
        driver.end_transactions()
        free = [n for n, worker in enumerate(driver.workers) if worker.turn is None]
        if not free:
            driver.start_worker()
            free = [len(driver.workers) - 1]
        for number in free:
            for _ in range(MOST_TURNS):
                said = driver.store(number)
                if not said.startswith("reads") or said == "reads 0":
                    break
                self.tell(f"log worker {number} {said}")

    def _answered(self, server: int, partition: int, offset: int, outcome: str) -> None:
        self._changes += 1
        driver = self.driver
        if server == driver.current != driver.ruler:
            self._rule()
        ruling = server == driver.ruler
        self.oracle.answer((partition, offset), outcome, ruling=ruling)
        self.tell(f"{partition}:{offset} {outcome}{'' if ruling else ' by the old master'}")
        if not ruling and not self.stopped:
            self._raise(TwoMasters, f"{partition}:{offset} {outcome} by the old master")

"""What goes wrong in a sale under search: losses, older copies, two masters, strangers.

Each step is a method, so a sequence that was found is a test: call the same methods. A *mix* says
which of them belong to a sale.
"""

from collections.abc import Callable
from typing import Any

from hypothesis import strategies as st
from hypothesis.stateful import precondition, rule

from tests.search.sale import Sale
from tests.search.servers import Row

PARTITIONS = 2
ITEMS = (1001, 1002)
# Misfortunes by name. "acts" and "members" are none: operators steer, consumers come and go.
MIXES: dict[str, frozenset[str]] = {
    name: frozenset(words.split())
    for name, words in {
        "late stores": "redis hold",
        "older Redis": "older acts advice",
        "forgotten acts": "forget acts advice",
        "late scripts": "redis older acts late",
        "older PostgreSQL": "postgres hold acts advice",
        "two masters": "masters members hold",
        "strangers": "strangers members",
        "numbers": "numbers hold advice",
        "rows of strangers": "rows advice",
        "single keys": "keys acts advice",
        "parked": "parked redis older hold",
        "calm": "acts late hold members",
        "all": "redis older forget hold acts late postgres masters members strangers numbers rows "
        "keys advice parked",
    }.items()
}
REDIS, POSTGRES = "Redis", "PostgreSQL"
# Ends of the names of keys that may be lost alone.
KEYS = (
    b"logs",
    b"activities",
    b"positions",
    b"stored",
    b"stats",
    b"lane",
    b"state",
    b"stock",
    b"loaded",
    b"buyers",
)
partitions = st.integers(0, PARTITIONS - 1)
numbers = st.integers(0, 2)
orders = st.sampled_from([
    *((what, on) for what in ("finished", "paused", "closed") for on in (True, False)),
    *(("limit", limit) for limit in (1, 3, None)),
    *(("set_stock", {1001: units}) for units in (1, 4)),
    ("add_stock", {1001: 1}),
    ("sync_from_db", None),
])  # fmt: skip


def needs(word: str) -> Callable[[Any], bool]:
    """A step of mixes with this word."""
    return lambda self: word in self.mix


def fresh(name: str, word: str = "") -> Callable[[Any], bool]:
    """A step that changes nothing if nothing has changed since the last one of its name."""
    return lambda self: self.is_fresh(name) and (not word or word in self.mix)


class Misfortunes(Sale):
    """Steps that take something away, or write where they must not. `mix` says which there are."""

    mix: frozenset[str]

    # Redis.

    @precondition(lambda self: {"older", "masters"} & self.mix and self.is_fresh("copy"))
    @rule(order=st.none() | orders)
    def copy_redis(self, order: tuple[str, Any] | None = None) -> None:
        """Somebody, or a replica, keeps a copy; perhaps an operator acts right after that."""
        self.copy = self.driver.servers[self.driver.current].copy()
        self.copied = self.oracle.verdicts()
        self.tell("Redis is copied")
        if order is not None and "acts" in self.mix:
            self.act(*order)
        self.mark("copy")

    @precondition(lambda self: fresh("lose", "redis")(self) and self.lame != POSTGRES)
    @rule(restart=st.booleans(), recovered=st.booleans())
    def lose_redis(self, restart: bool, recovered: bool) -> None:
        """Redis is emptied; perhaps somebody recovers at once."""
        self.take()
        self.lame = REDIS
        self.driver.restart_redis(None, lines=restart)
        self.lost(f"Redis is emptied ({'restarted' if restart else 'FLUSHALL'})")
        if recovered:
            self.recover()
        self.mark("lose")

    @precondition(
        lambda self: (
            fresh("lose", "older")(self) and self.copy is not None and self.lame != POSTGRES
        )
    )
    @rule(order=st.none() | orders, recovered=st.booleans())
    def older_redis(self, order: tuple[str, Any] | None = None, recovered: bool = False) -> None:
        """Redis is restarted with the copy; perhaps somebody acts, or recovers, at once."""
        self.take()
        self.lame = REDIS
        self.driver.restart_redis(self.copy)
        self.lost("Redis comes back older", self.copied)
        if order is not None and "acts" in self.mix:
            self.act(*order)
        if recovered:
            self.recover()
        self.mark("lose")

    @precondition(lambda self: "forget" in self.mix and self.lame != POSTGRES)
    @rule(order=orders)
    def forget_act(self, order: tuple[str, Any]) -> None:
        """Redis is restarted without the act that it has just done: it was not on its disk yet."""
        copy = self.driver.servers[self.driver.current].copy()
        self.act(*order)
        self.take()
        self.lame = REDIS
        self.driver.restart_redis(copy)
        self.lost("Redis comes back without it", self.oracle.verdicts())

    @precondition(lambda self: "keys" in self.mix and self.lame != POSTGRES)
    @rule(part=st.sampled_from(KEYS))
    def lose_key(self, part: bytes) -> None:
        """One key is evicted."""
        keys = self.driver.servers[self.driver.current]
        for name in keys.names():
            if name.rpartition(b":")[2] == part:
                self.take()
                self.lame = REDIS
                keys.lose(name)
                self.lost(f"{name.decode()} is evicted", key=True)

    @precondition(lambda self: "masters" in self.mix and self.lame != POSTGRES)
    @rule(
        synced=st.sampled_from([True, True, False]),
        stay=st.sampled_from([0b101, 0b110, 0b101, 0b110, 0b001, 0b010, 0b100, 0b111, 0b000]),
        busy=st.booleans(),
    )
    def promote(self, synced: bool, stay: int, busy: bool) -> None:
        """The replica takes over; `stay`: who still reaches the old master: consumer 0, consumer 1,
        log worker 0. `busy`: requests come, and who has found the new master decides first.
        """
        driver = self.driver
        self.take()
        copy, self.lame = self.copy, REDIS
        if synced or copy is None:
            synced, copy = True, driver.servers[driver.current].copy()
        self.promoted = self.oracle.verdicts() if synced else self.copied
        driver.promote(copy)
        moved = [n for n in range(len(driver.consumers)) if not stay >> n & 1]
        for number in moved:
            driver.reconnect_consumer(number)
        if not stay & 0b100:
            driver.reconnect_worker(0)
        late = "" if synced else "late "
        self.tell(f"a {late}replica takes over, who stays at the old master: {stay:03b}")
        if driver.ruler == driver.current:
            # It takes the place of the one that has decided up to now: the other one was promoted
            # before it.
            driver.ruler = 1 - driver.current
            self.takeovers += 1
            self.lost("the master before is gone", self.promoted)
        if busy:
            for partition in range(driver.partitions):
                self.ask(partition, (1, {1001: 1}))
            self.decide(moved)
            self.decide()

    @precondition(needs("masters"))
    @rule(number=numbers, worker=st.booleans())
    def move(self, number: int, worker: bool) -> None:
        """Somebody finds the master of now."""
        if worker:
            self.driver.reconnect_worker(number % len(self.driver.workers))
        else:
            self.driver.reconnect_consumer(self._consumer(number))
        self.tell(f"{'log worker' if worker else 'consumer'} {number} reconnects")

    @precondition(needs("masters"))
    @rule(stopped=st.none() | numbers)
    def seconds(self, stopped: int | None = None) -> None:
        """Some seconds go by; a consumer may be stopped meanwhile, and does not know."""
        self.pass_time(None if stopped is None else self._consumer(stopped))
        self.tell(f"seconds go by{'' if stopped is None else f', consumer {stopped} is stopped'}")

    @precondition(fresh("save", "postgres"))
    @rule()
    def copy_postgres(self) -> None:
        """Somebody keeps a copy."""
        self.driver.tables.save()
        self.saved, self.takeovers_saved = True, self.takeovers
        self.tell("PostgreSQL is copied")
        self.mark("save")

    @precondition(lambda self: self.saved and self.is_fresh("save") and self.lame != REDIS)
    @rule()
    def older_postgres(self) -> None:
        """PostgreSQL comes back with the copy. If that is from before a takeover, the master of
        before was stopped, as docs/promises.md demands: else it could lead again.
        """
        if self.takeovers > self.takeovers_saved:
            self.unite()
        self.take()
        self.lame = POSTGRES
        self.driver.restart_postgres()
        self.stopped = True
        self.tell("PostgreSQL comes back older")

    @precondition(needs("strangers"))
    @rule(partition=partitions, where=st.sampled_from(["start", "end", "middle"]))
    def stranger(self, partition: int, where: str) -> None:
        """Another program, or a hand, commits for the group."""
        self.quiet = False
        end = len(self.driver.topic.log[partition])
        self.driver.topic.commit_by_hand(partition, {"start": 0, "end": end}.get(where, end // 2))
        self.tell(f"somebody else commits for partition {partition}: {where}")

    @precondition(needs("numbers"))
    @rule(behind=st.sampled_from([0, 2, 5]))
    def numbers_behind(self, behind: int) -> None:
        """The sequence of the rows' numbers is behind them; or it is put right."""
        self.quiet = False
        if behind:
            self.driver.tables.put_sequence_behind(behind)
        else:
            self.driver.tables.put_sequence_right()
        self.tell(f"the sequence of seckill_record is {behind} behind")

    @precondition(needs("rows"))
    @rule(partition=partitions, ahead=st.integers(0, 4), units=st.sampled_from([1, 5]))
    def future_row(self, partition: int, ahead: int, units: int) -> None:
        """Somebody stores a row for an offset that is not decided yet."""
        self.take()
        offset = len(self.driver.topic.log[partition]) + ahead
        if any((r.partition, r.offset) == (partition, offset) for r in self.oracle.strangers):
            return
        row = Row(partition, offset, 1, 1001, 99, units)
        self.driver.tables.insert_stranger(self.driver.source, row)
        self.oracle.strangers.add(row)
        self.tell(f"a row of a stranger: {row}")

    def _consumer(self, number: int) -> int:
        """One of the consumers; there is always one."""
        if not self.driver.consumers:
            self.driver.start_consumer()
        return number % len(self.driver.consumers)

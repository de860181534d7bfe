"""Holds while things break: who has paid in time keeps the order, and every unit has one owner.

In time means: Kafka had acknowledged the confirm before the hold's end, by Redis's clock.
"""

import os
import random
import signal
from collections.abc import Iterator

import pytest
from confluent_kafka import Producer

from seckill.broker.topics import Topics
from seckill.formats import settle
from seckill.formats.settle import Result, Settlement, settle_topic
from seckill.lane.clicks import place_value
from seckill.lane.keys import Lane
from seckill.lane.settle_status import read_settle_status
from seckill.lane.status import read_lane
from tests.conftest import wait_until
from tests.faults.command import Command, stop
from tests.faults.harness import Sale
from tests.helpers.blocks import holds_of, set_due
from tests.helpers.messages import send
from tests.helpers.sale import body, now_ms, put_on_sale, stock, waiting

LANE = Lane()
UNITS, BUYERS = 200, 240
# Seconds of a hold that ends only when the test says so.
LONG_S = 3600
Hold = tuple[str, int, int]


class Holds:
    """Sold-out activity 1, whose orders are all held; its confirms, and what became of them."""

    def __init__(self, sale: Sale) -> None:
        self.sale, self.redis = sale, sale.redis
        self.topic = settle_topic(sale.server.topic)
        # {user: Redis's time after the acknowledgement of the confirm, ms}
        self.acknowledged: dict[int, int] = {}
        self.due: dict[int, int] = {}
        self._producer = Producer(
            {"bootstrap.servers": sale.server.brokers, "linger.ms": 1, "log_level": 2}
        )
        put_on_sale(self.redis, {1001: UNITS}, hold_s=LONG_S)
        self.decide(range(1, BUYERS + 1))
        self.holds: dict[int, Hold] = {
            r["user_id"]: (r["source"], r["partition"], r["offset"]) for r in waiting(self.redis)
        }
        assert len(self.holds) == UNITS

    def decide(self, users: range) -> None:
        """One request of each user, decided by run_consumer."""
        send(self.sale.server.brokers, self.sale.server.topic, [body(user) for user in users])
        assert self.sale.consumer("--drain", stock=False).ended(60) == 0

    def settler(self, *flags: str) -> Command:
        """`run_settler` on this sale's topics."""
        server = self.sale.server
        return self.sale.start(
            "run_settler",
            *("--topic", server.topic, "--group-id", server.group_id, "--grace-ms", "0"),
            *("--status-interval", "0.5", "--session-timeout", "6000", *flags),
        )

    def now_ms(self) -> int:
        """Redis's clock."""
        return read_settle_status(self.redis, LANE).now_ms

    def end_in(self, user: int, after_ms: int) -> None:
        """A hold ends after so long from now on."""
        self.due[user] = self.now_ms() + after_ms
        set_due(self.redis, self.due[user], place_value(*self.holds[user]))

    def confirm(self, user: int) -> None:
        """Send a confirm; when Kafka has it, note the time."""

        def noted(error: object, _: object) -> None:
            if error is None:
                self.acknowledged[user] = self.now_ms()

        told = Settlement(1, user, self.holds[user], Result.PAID, now_ms(), f"pi_{user}")
        self._producer.produce(
            self.topic, settle.encode(told), settle.key_of(user), on_delivery=noted
        )
        self._producer.poll(0)

    def flush(self) -> None:
        """Wait until Kafka has all confirms."""
        assert self._producer.flush(120) == 0

    def drain(self) -> None:
        """Settle and let expire what is left, in a new group."""
        command = self.settler("--drain", "--group-id", f"{self.sale.server.group_id}-next")
        assert command.ended(60) == 0
        assert "Traceback" not in command.output

    def prove(self) -> dict[str, set[int]]:
        """Each hold has one end, every unit one owner, none in time was lost. {end: users}"""
        lane, status = read_lane(self.redis, LANE), read_settle_status(self.redis, LANE)
        counts = status.activities[1]
        ends: dict[str, set[int]] = {"paid": set(), "expired": set()}
        for record in waiting(self.redis):
            if record["status"] in ends:
                assert record["user_id"] not in ends["paid"] | ends["expired"], "settled twice"
                ends[record["status"]].add(record["user_id"])
        assert {name: len(users) for name, users in ends.items()} == {
            "paid": counts.paid, "expired": counts.expired,
        }  # fmt: skip
        assert status.held == len(holds_of(self.redis))
        left = sum(stock(self.redis).values())
        accepted = lane.activities[1].total_units
        assert left + accepted - counts.units_returned == UNITS
        skipped = status.messages.get("skipped", 0)
        assert status.settled + skipped == sum(status.positions.values())
        in_time = {u for u, at in self.acknowledged.items() if at < self.due.get(u, at + 1)}
        assert in_time <= ends["paid"], f"lost: {in_time - ends['paid']}"
        return ends

    def close(self) -> None:
        """Close the producer, and delete the topic."""
        self._producer.close()
        with Topics(self.sale.server) as topics:
            topics.delete(self.topic)


@pytest.fixture
def holds(sale: Sale) -> Iterator[Holds]:
    holds = Holds(sale)
    yield holds
    holds.close()


def test_confirms_race_the_end_of_their_holds_and_settlers_are_killed(
    holds: Holds, rng: random.Random, kafka_client: str
) -> None:
    settler = holds.settler("--consumers", "2", "--kafka-client", kafka_client)
    settler.wait_for("assigned partitions: \\[", 45)
    users = list(holds.holds)
    rng.shuffle(users)
    kills = set(rng.sample(range(20, UNITS), 3))
    # Each hold ends at about the time of its confirm, some long before. A tenth never confirms.
    for user in users:
        holds.end_in(user, rng.randrange(200, 6_000))
    for number, user in enumerate(users):
        if number in kills and (children := settler.consumers()):
            rng.choice(children).kill()
        if rng.random() < 0.9:
            holds.confirm(user)
        if rng.random() < 0.2:
            holds.flush()
    holds.flush()
    wait_until(lambda: read_settle_status(holds.redis, LANE).held == 0, 60, "no hold is left")
    stop(settler)
    holds.drain()
    ends = holds.prove()
    assert len(ends["paid"]) + len(ends["expired"]) == UNITS
    # What came back is sold again, in the sale that had been sold out.
    holds.decide(range(1_001, 1_001 + UNITS))
    assert stock(holds.redis) == {1001: 0}
    assert read_settle_status(holds.redis, LANE).held == len(ends["expired"])
    holds.prove()


def test_kafka_freezes_with_a_confirm_in_its_log(holds: Holds) -> None:
    settler = holds.settler()
    settler.wait_for("assigned partitions: \\[", 45)
    # It is not to read the confirm before Kafka freezes.
    (child,) = settler.consumers()
    child.suspend()
    payer, other, *_ = holds.holds
    holds.end_in(payer, 3_000)
    holds.end_in(other, 3_000)
    holds.confirm(payer)
    holds.flush()
    kafka = holds.sale.stack.pid("kafka")
    assert kafka is not None
    os.kill(kafka, signal.SIGSTOP)
    try:
        child.resume()
        ends = max(holds.due.values()) + 3_000
        wait_until(lambda: holds.now_ms() > ends, 30, "the end of both holds is past")
        assert read_settle_status(holds.redis, LANE).held == UNITS
    finally:
        os.kill(kafka, signal.SIGCONT)
    wait_until(lambda: read_settle_status(holds.redis, LANE).held == UNITS - 2, 60, "both ended")
    stop(settler)
    if holds.acknowledged[payer] < holds.due[payer]:
        assert holds.prove() == {"paid": {payer}, "expired": {other}}
    assert read_settle_status(holds.redis, LANE).messages["paid"] == 1

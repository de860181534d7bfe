"""The door under faults: never no to who has a row, never yes to who has none, never two rows.

Clicks go through two doors, a fifth of them through both at once. DOOR=1000000 clicks a million
times.
"""

import os
import random
import re
import shutil
import signal
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from seckill.audit.audit import audit
from seckill.broker.topics import Topics
from seckill.lane.keys import Lane
from tests.conftest import wait_until
from tests.faults.clickers import ACCEPTED, Clickers, rows_of, wrong_answers
from tests.faults.command import Command
from tests.faults.harness import SCARCE, Sale
from tests.helpers.door import KEYS

CLICKS = int(os.environ.get("DOOR") or 3_000)


@pytest.fixture(autouse=True)
def _kafka_client(sale: Sale) -> None:
    sale.kafka_client = "confluent-kafka"


class Doors:
    """Two doors of one sale. `ports` are where they listen now."""

    def __init__(self, sale: Sale) -> None:
        self.sale = sale
        self.commands: list[Command] = []
        self.ports: list[int] = []
        for _ in range(2):
            self.open()

    def open(self, port: int = 0) -> None:
        """One more door, or the same one again."""
        command = self.sale.start(
            *("run_door", "--port", str(port), "--topic", self.sale.server.topic),
            *("--user-rate", "1000", "--address-rate", "100000", "--address-burst", "10000"),
            SECKILL_BUYER_KEYS=KEYS,
            SECKILL_TICKET_SECRET="1:a secret of the tickets",
        )
        found = re.search(r"http://127\.0\.0\.1:(\d+)", command.wait_for("buyers' door", 60))
        assert found
        self.commands.append(command)
        if not port:
            self.ports.append(int(found[1]))

    def kill(self, number: int) -> None:
        """kill -9, and the same door again."""
        self.commands[number].tell(signal.SIGKILL)
        self.commands[number].process.wait(60)
        self.open(self.ports[number])


Fault = Callable[["Shop"], None]


class Shop:
    """A sale with two doors, a consumer and a log worker."""

    def __init__(self, sale: Sale, rng: random.Random) -> None:
        self.sale, self.rng = sale, rng
        sale.load_stock()
        self.consumer = sale.consumer(
            *("--consumers", "2", "--session-timeout-ms", "3000", "--connect-timeout-s", "90"),
            stock=False,
        )
        self.log_worker = sale.log_worker()
        self.doors = Doors(sale)
        self.clickers = Clickers(self.doors.ports, CLICKS, rng)

    def end(self) -> None:
        """Decide and store what is left in a new group, and prove it."""
        drain = self.sale.consumer(
            "--drain", "--group-id", f"{self.sale.server.group_id}-next", stock=False
        )
        assert drain.ended(60) == 0
        self.sale.drain_records()
        report = audit(self.sale.redis, Lane())
        assert report.clean, report.findings
        lane = self.sale.look()
        assert report.messages + lane.recovered == sum(self.sale.ends().values())


@pytest.fixture
def shop(sale: Sale, rng: random.Random) -> Shop:
    """An open shop."""
    return Shop(sale, rng)


def _a_door(shop: Shop) -> None:
    shop.doors.kill(0)


def _a_consumer(shop: Shop) -> None:
    consumers = shop.consumer.consumers()
    shop.rng.choice(consumers).kill()


def _kafka_is_frozen(shop: Shop) -> None:
    kafka = shop.sale.stack.pid("kafka")
    assert kafka is not None
    os.kill(kafka, signal.SIGSTOP)
    try:
        heard = shop.clickers.heard
        wait_until(lambda: heard.statuses[503], 30, "a click is not acknowledged")
    finally:
        os.kill(kafka, signal.SIGCONT)


def _valkey(shop: Shop) -> None:
    shop.sale.kill("valkey")
    shop.sale.revive("valkey")


def _postgres(shop: Shop) -> None:
    shop.sale.kill("postgres")
    shop.sale.revive("postgres")


def _kafka(shop: Shop) -> None:
    shop.sale.kill("kafka")
    heard = shop.clickers.heard
    before = heard.statuses[503]
    wait_until(lambda: heard.statuses[503] > before, 30, "a click is not taken")
    shop.sale.revive("kafka")


FAULTS: dict[str, Fault] = {
    "a door is killed": _a_door,
    "a consumer is killed": _a_consumer,
    "Kafka is frozen": _kafka_is_frozen,
    "Kafka is killed": _kafka,
    "Valkey is killed": _valkey,
    "PostgreSQL is killed": _postgres,
}


@pytest.mark.parametrize("fault", FAULTS.values(), ids=FAULTS)
def test_every_answer_is_the_rows(shop: Shop, fault: Fault) -> None:
    clickers = shop.clickers
    with clickers:
        for share in (0.75, 0.4):
            wait_until(
                lambda share=share: clickers.left < clickers.total * share, 120, "half has clicked"
            )
            fault(shop)
    heard = clickers.heard
    shop.sale.wait_all_stored(60)
    assert not heard.gave_up
    assert wrong_answers(heard.answers, rows_of()) == []
    # Everybody was told, twins twice; and the stock was just sold.
    assert len(heard.answers) == clickers.total
    told = [{answer.state for answer in answers} for answers in heard.answers.values()]
    assert sum(ACCEPTED in states for states in told) == min(SCARCE, clickers.total)
    assert sum(len(answers) for answers in heard.answers.values()) > clickers.total
    shop.end()


def _emptied(shop: Shop) -> float:
    shop.sale.redis.flushall()
    # A consumer holds at its next batch, and all buyers may be waiting.
    shop.sale.backlog(1)
    shop.consumer.wait_for("HOLD: NOT_LOADED")
    return time.time()


def _rolled_back(shop: Shop) -> float:
    """Valkey on an append-only file of before."""
    sale = shop.sale
    data = sale.stack.folder / "valkey" / "data"
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / "data"
        shutil.copytree(data, copy)
        stored = sale.stored()
        wait_until(lambda: sale.stored() > stored + 200, 60, "PostgreSQL is ahead")
        sale.kill("valkey")
        # All buyers may be waiting: a consumer holds at its next batch.
        sale.backlog(1)
        shop.consumer.wait_for("HOLD: Redis is away")
        shutil.rmtree(data)
        shutil.copytree(copy, data)
    sale.revive("valkey")
    shop.consumer.wait_for("HOLD: (REWOUND|FENCED)")
    return time.time()


LOSSES: dict[str, Callable[[Shop], float]] = {
    "Redis is emptied": _emptied,
    "Redis is rolled back": _rolled_back,
}


@pytest.mark.parametrize("lose", LOSSES.values(), ids=LOSSES)
def test_a_stored_yes_outlives_a_loss(shop: Shop, lose: Callable[[Shop], float]) -> None:
    clickers = shop.clickers
    clickers.firm = True
    with clickers:
        wait_until(lambda: clickers.left < clickers.total * 0.75, 120, "some have clicked")
        lost_at = lose(shop)
        told = sum(map(len, clickers.heard.answers.copy().values()))
        done = shop.sale.start("recover", "--topic", shop.sale.server.topic, "--apply")
        assert done.ended() == 0, done.output
    heard = clickers.heard
    shop.sale.wait_all_stored(60)
    assert not heard.gave_up
    assert wrong_answers(heard.answers, rows_of(), lost_at) == []
    assert 0 < told < clickers.total == len(heard.answers)
    assert sum(rows_of().values()) == min(SCARCE, clickers.total)
    shop.end()


def test_a_topic_that_is_made_again(shop: Shop) -> None:
    """What the old one lost is clicked again, and buys once. Nobody gets another one's answer."""
    clickers, name = shop.clickers, shop.sale.server.topic
    with clickers:
        wait_until(lambda: clickers.left < clickers.total * 0.75, 120, "some have clicked")
        with Topics(shop.sale.server, 60) as topics:
            topics.delete(name)
            topics.ensure(name, 4)
    heard = clickers.heard
    shop.sale.wait_all_stored(60)
    assert not heard.gave_up
    assert wrong_answers(heard.answers, rows_of()) == []
    assert len(heard.answers) == clickers.total
    assert sum(rows_of().values()) == min(SCARCE, clickers.total)
    report = audit(shop.sale.redis, Lane())
    assert report.clean, report.findings

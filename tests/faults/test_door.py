"""The door under faults: never no to who has a row, never yes to who has none, never two rows.

Clicks go through two doors, a fifth of them through both at once.
"""

import os
import random
import shutil
import signal
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from seckill.audit.audit import audit
from seckill.broker.topics import Topics
from seckill.lane.keys import Lane
from tests.conftest import wait_until
from tests.faults.clickers import rows_of
from tests.faults.doors import ITEM, Shop
from tests.faults.harness import Sale
from tests.helpers.browser import Browser, key_in, name_in


@pytest.fixture(autouse=True)
def _kafka_client(sale: Sale) -> None:
    sale.kafka_client = "confluent-kafka"


Fault = Callable[[Shop], None]


@pytest.fixture
def shop(sale: Sale, rng: random.Random) -> Shop:
    """An open shop."""
    shop = Shop(sale, rng)
    shop.open()
    return shop


def _a_door(shop: Shop) -> None:
    shop.doors.kill(0)
    shop.doors.tend()


def _a_consumer(shop: Shop) -> None:
    consumers = shop.consumer.consumers()
    shop.rng.choice(consumers).kill()


@contextmanager
def _frozen(shop: Shop) -> Iterator[None]:
    """Kafka takes everything and answers nothing."""
    kafka = shop.sale.stack.pid("kafka")
    assert kafka is not None
    os.kill(kafka, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(kafka, signal.SIGCONT)


def _kafka_is_frozen(shop: Shop) -> None:
    heard = shop.clickers.heard
    with _frozen(shop):
        wait_until(lambda: heard.statuses[503], 30, "a click is not acknowledged")


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
    assert shop.wrong() == []
    assert shop.sold_out()
    # Twins were told twice; and Kafka has lost nothing.
    heard = clickers.heard
    assert sum(len(answers) for answers in heard.answers.values()) > clickers.total
    assert not heard.voids
    shop.end()


def test_a_page_says_that_it_is_not_known_and_asks_again(shop: Shop) -> None:
    """A form, and its button once more: one order."""
    buyer = Browser(shop.doors.ports[0])
    form = buyer.get("/buy/1/form")
    with _frozen(shop):
        told = buyer.press(form, ITEM)
        assert (told.status, name_in(told)) == (503, "unknown")
        assert key_in(told) == key_in(form)
    # Kafka may have the first one by now, or not.
    sent = wait_until(
        lambda: (again := buyer.press(told, ITEM)).status == 303 and again, 60, "it is taken"
    )
    assert name_in(buyer.answer(sent)) == "yours"
    shop.sale.wait_all_decided()
    shop.sale.wait_all_stored()
    assert len(rows_of()) == 1
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
    assert shop.wrong(lost_at) == []
    assert 0 < told < clickers.total
    assert not clickers.heard.voids
    assert sum(rows_of().values()) == min(shop.units, clickers.total)
    shop.end()


def test_a_topic_that_is_made_again(shop: Shop) -> None:
    """What the old one lost is clicked again, and buys once. Nobody gets another one's answer."""
    clickers, name = shop.clickers, shop.sale.server.topic
    with clickers:
        wait_until(lambda: clickers.left < clickers.total * 0.75, 120, "some have clicked")
        with Topics(shop.sale.server, 60) as topics:
            topics.delete(name)
            topics.ensure(name, 4)
    assert shop.wrong() == []
    assert sum(rows_of().values()) == min(shop.units, clickers.total)
    report = audit(shop.sale.redis, Lane())
    assert report.clean, report.findings

"""Negative controls of the door's oracle: it names what a door, or a consumer, tells wrong.

Without them `wrong_answers` could be empty for everybody.
"""

import random

import pytest

from tests.conftest import wait_until
from tests.faults.command import Command
from tests.faults.doors import ITEM, Shop
from tests.faults.harness import PLENTY, Sale

CLICKS = 200
# Something is left all the time, so that no door refuses by itself.
REST = {1001: PLENTY}


@pytest.fixture(autouse=True)
def _kafka_client(sale: Sale) -> None:
    sale.kafka_client = "confluent-kafka"


def consumer(sale: Sale, name: str) -> Command:
    """A wrong consumer."""
    return sale.run_module(
        *("wrong", name),
        SECKILL_TOPIC=sale.server.topic,
        SECKILL_GROUP_ID=sale.server.group_id,
    )


def kinds(wrong: list[str]) -> set[str]:
    """What was wrong, without who."""
    return {line.partition(":")[0] for line in wrong}


def test_a_door_that_does_not_look_up_clicks_tells_no_to_buyers(
    sale: Sale, rng: random.Random
) -> None:
    shop = Shop(sale, rng, clicks=CLICKS, stock={**REST, ITEM: PLENTY}, wrong_door="no look-up")
    shop.open()
    with shop.clickers:
        pass
    assert kinds(shop.wrong()) == {"told no, and has an order"}


def test_a_door_that_awaits_no_acknowledgement_tells_the_answers_of_others(
    sale: Sale, rng: random.Random
) -> None:
    stock = {**REST, ITEM: CLICKS // 2}
    shop = Shop(sale, rng, clicks=CLICKS, stock=stock, wrong_door="a ticket at once")
    shop.open()
    with shop.clickers:
        pass
    assert "told yes, and has no order" in kinds(shop.wrong())


def test_a_board_that_is_written_before_the_script_tells_yes_to_losers(
    sale: Sale, rng: random.Random
) -> None:
    shop = Shop(sale, rng, clicks=CLICKS, stock={**REST, ITEM: 1})
    sale.log_worker()
    with shop.clickers:
        # All at once: one of them is the buyer.
        wait_until(lambda: sum(sale.ends().values()) >= 20, 30, "many wait")
        consumer(sale, "writes the board first")
    assert kinds(shop.wrong()) == {"told yes, and has no order"}


def test_a_board_that_is_written_after_the_script_tells_that_a_click_is_lost(
    sale: Sale, rng: random.Random
) -> None:
    shop = Shop(sale, rng, clicks=CLICKS, stock={**REST, ITEM: CLICKS // 4})
    sale.log_worker()
    consumer(sale, "writes the board last")
    with shop.clickers:
        pass
    # The look-up of clicks saves the buyers; the others click again for nothing.
    assert shop.wrong() == []
    assert shop.clickers.heard.voids

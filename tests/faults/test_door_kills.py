"""kill -9 of everything around the buyers' door, at random moments of one crowd of clicks.

A fifth of the clicks are twins, through both doors at once. The last ones come when all is sold,
and are refused by the doors. `make faults DOOR=1000000` clicks a million times, and kills once in
CLICKS_A_KILL of them; as a part of the suite everything is killed once.
"""

import os
import random
import time
from collections.abc import Callable
from functools import partial
from signal import SIGKILL

import pytest

from tests.conftest import wait_until
from tests.faults.command import Command
from tests.faults.crew import AWAY_S, SERVERS
from tests.faults.doors import ITEM, Shop
from tests.faults.harness import Sale
from tests.faults.long_runs import moments, teller, victims
from tests.faults.seed import seed

# Clicks on demand; none: as many as a part of the suite has time for.
DOOR = int(os.environ.get("DOOR") or 0)
CLICKS = DOOR or 6_000
CLICKS_A_KILL = 3_000
# Share of clicks for which there is a unit: the rest comes to a sale that is sold out.
SOLD_OUT_AT = 0.7
# Share of kills that hit two at once.
TWO = 0.3
# Seconds between two kills at the most, on a quiet machine.
NEXT_S = 240.0 + CLICKS / 100


def kills_of(shop: Shop) -> dict[str, Callable[[], None]]:
    """Whom one can kill. What runs again by itself is left alone, the rest is for `Shop.tend`."""

    def end(command: Command) -> None:
        command.tell(SIGKILL)
        command.process.wait(60)

    def both_doors() -> None:
        for number in range(2):
            shop.doors.kill(number)

    def a_consumer() -> None:
        consumers = shop.consumer.consumers()
        if consumers:
            shop.rng.choice(consumers).kill()

    return {
        "a door": lambda: shop.doors.kill(shop.rng.randrange(2)),
        "both doors": both_doors,
        "a consumer": a_consumer,
        "the consumers' parent": lambda: end(shop.consumer),
        "the log worker": lambda: end(shop.log_worker),
        **{server: partial(shop.sale.kill, server) for server in SERVERS},
    }


def kill_order(rng: random.Random, names: list[str]) -> list[tuple[int, list[str]]]:
    """(clicks that are left, whom to kill then), in turn: one, or another one with it."""
    number = max(len(names), DOOR // CLICKS_A_KILL)
    return [
        (at, [victim, *(rng.sample(sorted({*names} - {victim}), 1) if rng.random() < TWO else [])])
        for at, victim in moments(rng, victims(rng, names, number), CLICKS)
    ]


@pytest.mark.timeout(1_800 + DOOR // 50)
def test_every_answer_is_the_rows_whatever_is_killed(
    sale: Sale, rng: random.Random, capsys: pytest.CaptureFixture[str]
) -> None:
    tell = teller(capsys, at_once=bool(DOOR))
    sale.kafka_client = "confluent-kafka"
    shop = Shop(sale, rng, clicks=CLICKS, stock={ITEM: int(CLICKS * SOLD_OUT_AT)})
    shop.open()
    clickers, kills = shop.clickers, kills_of(shop)
    order = kill_order(rng, list(kills))
    with clickers:
        for number, (left, killed) in enumerate(order, 1):
            wait_until(lambda left=left: clickers.left < left, NEXT_S, f"{left:,} clicks are left")  # type: ignore[misc]
            tell(f"kill {number}/{len(order)}: {', '.join(killed)}; {clickers.left:,} are left")
            for victim in killed:
                kills[victim]()
            if sale.dead:
                # Not a wait for anything: how long they stay away is what the seed chooses.
                time.sleep(rng.uniform(0, AWAY_S))
            shop.tend()
    why = f"FAULT_SEED={seed()}"
    assert shop.wrong() == [], why
    assert shop.sold_out(), why
    assert not clickers.heard.voids, why
    shop.end()
    heard = clickers.heard
    answers = sum(map(len, heard.answers.values()))
    tell(
        f"{why}: {len(order)} kills, {clickers.total:,} clicks, {answers:,} answers (twins hear "
        f"two), {shop.units:,} units, lines lost {heard.lines_lost:,}, statuses "
        f"{dict(sorted(heard.statuses.items()))}: each answer is the rows', the audit is clean"
    )

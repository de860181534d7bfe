"""Faults that were found once, each as a short sequence of the search's own steps.

The machine judges, and raises where the truth is not what the product says. `content` is whether
the lane is whole again at the end, in the product's own words.
"""

from collections import Counter
from collections.abc import Iterator

import pytest

from tests.search.driver import Driver
from tests.search.machine import Machine
from tests.search.wires import HoldAt

P0, P1 = 0, 1


@pytest.fixture
def sale(driver: Driver) -> Iterator[Machine]:
    """Six units of item 1001, three of 1002, two consumers: number 0 reads partition 0."""
    made = type("GivenMachine", (Machine,), {"driver": driver, "seen": Counter()})()
    made.begin(mix="all", units=6, consumers=2)
    yield made
    print("\n".join(made.story))


def one(*users: int) -> bytes:
    """A unit of item 1001 for each user (1 to 4)."""
    return bytes(byte for user in users for byte in (user - 1, 0))


def test_1_rows_that_come_after_a_recovery(sale: Machine) -> None:
    sale.sell(P0, one(1, 2, 3, 4))
    sale.hold(0, HoldAt.READ)
    sale.lose_redis(restart=True, recovered=False)
    sale.recovery()
    sale.sell(P1, one(1, 2, 3, 4, 1, 2))
    sale.release(0)
    sale.rest(nudge=False, crowd=False, insist=False)
    sale.recovery()
    sale.rest()
    assert sale.content


def test_1_read_ahead_that_comes_after_a_recovery(sale: Machine) -> None:
    sale.sell(P0, one(1, 2, 3, 4, 1))
    # Two are stored, two are read.
    sale.store(0, 1)
    sale.lose_redis(restart=True, recovered=False)
    sale.recovery()
    sale.sell(P1, one(1, 2, 3))
    sale.store(0, 1)
    sale.rest(nudge=False, crowd=False, insist=False)
    sale.recovery()
    sale.rest()
    assert sale.content


def test_2_postgresql_comes_back_older_and_the_advice_is_followed(sale: Machine) -> None:
    sale.sell(P0, one(1, 2))
    sale.store(0, 3)
    sale.copy_postgres()
    sale.sell(P1, one(3, 4))
    sale.store(0, 3)
    sale.older_postgres()
    sale.rest(crowd=False, insist=False)
    sale.follow_advice(0)
    sale.rest()
    assert sale.content


def test_2_postgresql_comes_back_older_and_is_recovered(sale: Machine) -> None:
    sale.sell(P0, one(1, 2))
    sale.store(0, 3)
    sale.copy_postgres()
    sale.sell(P1, one(3, 4))
    sale.store(0, 3)
    sale.older_postgres()
    sale.recovery()
    sale.rest()
    assert sale.content


def test_3_an_act_on_an_older_redis_that_is_fenced(sale: Machine) -> None:
    sale.put(30)
    sale.sell(P0, one(1, 2))
    sale.store(0, 3)
    sale.copy_redis()
    sale.put(2)
    sale.sell(P0, one(3))
    sale.store(0, 3)
    sale.older_redis()
    # The consumer's new connection finds it.
    sale.sell(P0, one(4))
    sale.put(1, add=True)
    sale.rest()
    assert sale.content


@pytest.mark.parametrize("what", ["finished", "paused", "closed"])
def test_4_an_end_that_was_lost_with_redis(sale: Machine, what: str) -> None:
    sale.sell(P0, one(1))
    sale.copy_redis()
    sale.steer((what, True))
    sale.older_redis()
    sale.rest()
    assert sale.content


def test_4_a_limit_that_was_lost_with_redis(sale: Machine) -> None:
    sale.sell(P0, one(1))
    sale.copy_redis()
    sale.steer(("limit", 1))
    sale.older_redis()
    sale.rest()
    assert sale.content


@pytest.mark.parametrize("new", [False, True])
def test_5_requests_after_a_recovery(sale: Machine, new: bool) -> None:
    """They are decided again by consumers that live on, and by new ones."""
    sale.sell(P0, one(1, 2))
    sale.lose_redis(restart=True, recovered=False)
    sale.recovery()
    if new:
        sale.member(0, "kill")
        sale.member(0, "kill")
        sale.member(0, "come")
    sale.rest(nudge=False, crowd=False, insist=False)
    assert sale.content


def test_6_parked_orders_go_with_redis(sale: Machine) -> None:
    sale.sell(P0, bytes([255, 0, 0, 0]))
    sale.store(0, 3)
    sale.lose_redis(restart=True, recovered=False)
    sale.recovery()
    sale.rest()
    assert sale.content


def test_7_a_lift_that_comes_late(sale: Machine) -> None:
    sale.sell(P0, one(1))
    sale.copy_redis()
    sale.sell(P0, one(1, 2, 3))
    sale.store(0, 3)
    sale.recovery("lift")
    sale.older_redis()
    sale.sell(P1, one(1))
    sale.arrive()
    sale.sell(P1, one(1, 2, 3, 4, 1, 2))
    sale.store(0, 3)
    sale.rest()
    assert sale.content


@pytest.mark.parametrize("unite", [False, True])
def test_8_two_masters(sale: Machine, unite: bool) -> None:
    sale.sell(P0, one(1))
    # Consumer 0 and the log worker stay at the old master; consumer 1 finds the new one.
    sale.promote(synced=True, stay=0b101, busy=False)
    sale.worker(0, True)
    sale.sell(P1, one(1))
    sale.sell(P0, one(1, 2, 3, 4))
    sale.sell(P1, one(1, 2, 3))
    sale.store(0, 3)
    sale.store(1, 3)
    sale.rest(crowd=False, unite=unite)


def test_9_the_state_alone_is_lost(sale: Machine) -> None:
    sale.steer(("limit", 1))
    sale.sell(P0, one(1))
    sale.lose_key(b"state")
    sale.sell(P0, one(1, 1))
    sale.put(6)
    sale.rest()
    assert sale.content


def test_9_the_registry_alone_is_lost(sale: Machine) -> None:
    sale.sell(P0, one(1, 2))
    sale.lose_key(b"activities")
    sale.put(3)
    sale.rest()
    assert sale.content


def test_9_the_buyers_alone_are_lost(sale: Machine) -> None:
    sale.steer(("limit", 1))
    sale.sell(P0, one(1))
    sale.lose_key(b"buyers")
    sale.rest()
    assert sale.content


@pytest.mark.parametrize("where", ["end", "start"])
def test_11_a_stranger_commits_for_the_group(sale: Machine, where: str) -> None:
    sale.sell(P0, one(1))
    sale.send(P0, one(2, 3))
    sale.send(P1, one(2, 3))
    sale.stranger(P0, where)
    sale.stranger(P1, where)
    sale.member(0, "come")
    sale.rest()
    assert sale.content


def test_15_numbers_that_are_behind_the_rows(sale: Machine) -> None:
    sale.sell(P0, one(1, 2))
    sale.store(0, 3)
    sale.numbers_behind(2)
    sale.sell(P0, one(3, 4))
    sale.rest()
    sale.numbers_behind(0)
    sale.rest()
    assert sale.content


def test_16_a_row_of_the_future(sale: Machine) -> None:
    sale.sell(P0, one(1, 2))
    sale.future_row(P0, 0, 1)
    sale.rest()


def test_2_an_act_after_postgresql_came_back_older(sale: Machine) -> None:
    """Its row in the journal gets the number of one that is lost, which Redis knows as done."""
    sale.copy_postgres()
    sale.steer(("paused", False))
    sale.older_postgres()
    sale.steer(("finished", True))
    sale.rest()


def test_8_rows_that_are_open_while_another_master_takes_over(sale: Machine) -> None:
    """A log worker of the old master holds the lane's row: PostgreSQL is not away for that."""
    sale.sell(P0, one(3), stored=2)
    sale.copy_redis()
    sale.send(P0, one(1, 2))
    # Decided and not committed.
    sale.turn(0, "", due=False)
    sale.turn(0, "", due=False)
    sale.hold(0, HoldAt.OPEN)
    for _ in range(2):
        sale.member(0, "kill")
    sale.seconds()
    sale.promote(synced=False, stay=0b100, busy=False)
    for _ in range(2):
        sale.member(0, "come")
    sale.send(P1, one(1, 2, 3, 4, 1, 2))
    # The other one is slow.
    sale.decide([1])
    sale.release(0)
    sale.rest()
    assert sale.content

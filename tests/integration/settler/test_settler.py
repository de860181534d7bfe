"""The settler and the expiry, turn by turn, on real services."""

from collections.abc import Iterator

import pytest
import redis
from confluent_kafka import Producer

from seckill.broker.topics import Topics
from seckill.config.sections import Server
from seckill.dead_letters.writer import dead_topic
from seckill.formats.settle import Result, key_of
from seckill.lane.holds import ReadMark
from seckill.settler.expiry import Expiry
from tests.conftest import wait_until
from tests.helpers.holding import HeldSale
from tests.helpers.messages import headers, read
from tests.helpers.node import SOON_S
from tests.helpers.sale import body, stock, waiting

# Seconds of a hold that no test waits for, and of one that it does.
LONG_S, SHORT_S = 3600, 1


@pytest.fixture
def sale(server: Server, topics: Topics, redis_client: "redis.Redis") -> Iterator[HeldSale]:
    server = server.model_copy(update={"kafka_client": "confluent-kafka"})
    sale = HeldSale(server, topics, redis_client)
    yield sale
    sale.close()


def test_paid_failed_and_cancelled(
    server: Server, topics: Topics, redis_client: "redis.Redis", kafka_client: str
) -> None:
    server = server.model_copy(update={"kafka_client": kafka_client})
    sale = HeldSale(server, topics, redis_client)
    sale.open({1001: 4}, LONG_S)
    holds = sale.buy(1, 2, 3, 4)
    assert len(holds) == sale.status().held == 4
    sale.tell(1, holds[1], reference="pi_1")
    sale.tell(1, holds[1], reference="pi_1")
    sale.tell(1, holds[1], Result.CANCELLED)
    sale.tell(2, holds[2], Result.FAILED)
    sale.tell(2, holds[2], reference="pi_2")
    sale.tell(3, holds[3], Result.CANCELLED)
    sale.tell(9, (holds[3][0], 0, 99))
    sale.send(b"nothing", 3)
    settler = sale.settler()
    sale.turns(settler, 8)
    sale.ended(settler)
    assert sale.outcomes() == {
        "paid": 1, "released": 2, "repeated": 1, "too_late": 2, "not_held": 1, "invalid": 1,
    }  # fmt: skip
    assert stock(redis_client) == {1001: 2}
    assert sorted(r["status"] for r in waiting(redis_client)) == [
        "cancelled", "cancelled", "paid", *["success"] * 4, "too_late",
    ]  # fmt: skip
    sale.books_agree()
    # What was settled is committed, and what is no settlement is a dead letter with its origin.
    assert sum(p.offset for p in topics.committed(
        sale.section.group_id, sale.section.topic).values()) == 8  # fmt: skip
    (letter,) = read(server.brokers, dead_topic(sale.section.topic), 1)
    assert letter.value() == b"nothing"
    assert headers(letter)["source"] == topics.source(sale.section.topic)
    # A second sale after the first: the units are on sale again, and nothing is settled anew.
    sale.buy(5, 6, 7)
    assert stock(redis_client) == {1001: 0}
    again = sale.settler()
    sale.tell(5, sale.holds()[5])
    sale.turns(again, 9)
    sale.books_agree()
    sale.close()


class ByTheClock(Expiry):
    """Negative control: takes everything for settled, as peers do."""

    def _ask(self, now_ms: int) -> dict[tuple[str, int], ReadMark | None]:
        return {place: ReadMark(now_ms, 0) for place in super()._ask(now_ms)}


@pytest.mark.parametrize("by_the_clock", [False, True])
def test_a_confirm_that_kafka_had_in_time_wins(sale: HeldSale, by_the_clock: bool) -> None:
    sale.open({1001: 3}, SHORT_S)
    holds = sale.buy(1, 2, 3)
    sale.tell(1, holds[1])
    sale.wait_due()
    expiry = sale.expiry(ByTheClock if by_the_clock else Expiry)
    # The settler is away, with one settlement in the backlog.
    for _ in range(3):
        expiry.run_once()
    assert sale.status().held == (0 if by_the_clock else 3)
    settler = sale.settler()
    sale.turns(settler, 1)
    wait_until(expiry.run_once, SOON_S, "nothing is overdue")
    if by_the_clock:
        assert sale.outcomes() == {"too_late": 1}
    else:
        assert sale.outcomes() == {"paid": 1}
        assert stock(sale.client) == {1001: 2}
        assert expiry.expired == 2
    sale.books_agree()
    # The mark is asked for anew each time: what is told from now on comes too late.
    sale.tell(2, holds[2])
    sale.turns(settler, 2)
    assert sale.outcomes()["too_late"] == (2 if by_the_clock else 1)


def test_markers_of_transactions_do_not_block_the_expiry(sale: HeldSale) -> None:
    sale.open({1001: 2}, SHORT_S)
    holds = sale.buy(1, 2)
    name = sale.section.topic
    producer = Producer({"bootstrap.servers": sale.server.brokers, "transactional.id": name})
    producer.init_transactions(60)
    producer.begin_transaction()
    producer.produce(name, b"nobody will ever read it", key_of(1))
    producer.flush(60)
    sale.wait_due()
    expiry, settler = sale.expiry(), sale.settler()
    # The transaction may hold a payment: nothing expires until it has ended.
    for _ in range(4):
        settler.run_once()
        assert not expiry.run_once()
    assert sale.status().held == 2
    producer.abort_transaction(60)
    wait_until(expiry.run_once, SOON_S, "the end without a message is passed over")
    assert sale.status().held == 0
    assert stock(sale.client) == {1001: 2}
    assert set(sale.holds()) == set(holds)


def test_a_settlement_waits_for_its_request_but_not_for_a_lost_one(sale: HeldSale) -> None:
    sale.open({1001: 5}, LONG_S)
    ((source, partition, offset),) = sale.buy(1).values()
    # As after a recovery: the request is in Kafka, and not decided again yet.
    sale.node.send([body(2)], partition)
    sale.tell(1, (source, partition, offset))
    sale.tell(2, (source, partition, offset + 1))
    sale.tell(2, (source, partition, offset + 900))
    sale.tell(2, ("00000000-0000-4000-8000-000000000000", 0, 0))
    settler = sale.settler()
    # A hold of the settler lasts until it is asked to stop.
    waits: list[str] = []

    def beat() -> None:
        if settler.hold:
            waits.append(settler.hold)
        if len(waits) == 5:
            settler.shutdown.request()

    settler.beat = beat
    wait_until(lambda: settler.run_once() is not None and len(waits) >= 5, SOON_S, "it waits")
    assert "not decided (again) yet" in waits[-1]
    assert waits[-1].endswith("Settlements wait in Kafka, nothing is lost")
    sale.ended(settler)
    assert sale.status().settled < 4
    sale.buy(3, undecided=1)
    sale.turns(sale.settler(), 4)
    assert sale.outcomes() == {"paid": 2, "not_held": 2}
    sale.books_agree()


def test_two_settlers_and_one_ends_without_a_commit(sale: HeldSale) -> None:
    """Its partitions go to the other one, which begins at Redis's positions, not at the commits."""
    users = range(1, 41)
    sale.open({1001: 40}, LONG_S)
    holds = sale.buy(*users)
    for user in users[:20]:
        sale.tell(user, holds[user])
    first, second = sale.settler(), sale.settler()
    second.client.commit = lambda positions: None  # type: ignore[method-assign]
    wait_until(
        lambda: first.run_once() + second.run_once() >= 0 and sale.status().settled == 20,
        SOON_S,
        "both settle",
    )
    # Killed ones, which do not leave the group either, are in tests/faults/test_settler.py.
    second.client.close()
    for user in users[20:]:
        sale.tell(user, holds[user])
    wait_until(
        lambda: first.run_once() is not None and sale.status().settled == 40,
        SOON_S,
        "all is settled",
    )
    assert sale.outcomes() == {"paid": 40}
    sale.books_agree()

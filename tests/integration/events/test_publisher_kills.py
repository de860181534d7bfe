"""A publisher that is killed or stopped anywhere: none is lost, repeats are equal."""

import json
from typing import Any

import psycopg
import pytest

from seckill.broker.opening import open_producer
from seckill.broker.producer import Producer
from seckill.events.keeper import Keeper
from seckill.events.publisher import NotOurs, Publisher
from tests.helpers.node import SOON_S
from tests.helpers.publishing import Published
from tests.helpers.settling import paid


class Killed(BaseException):
    """As by kill -9."""


class DyingKeeper(Keeper):
    """Dies after Kafka has acknowledged everything, before the cursor moves."""

    def move(self, connection: psycopg.Connection, cursor: Any) -> bool:
        raise Killed


class DyingProducer:
    """Dies after a few events of a chunk."""

    def __init__(self, producer: Producer, after: int) -> None:
        self._producer, self._left = producer, after

    def __getattr__(self, name: str) -> Any:
        return getattr(self._producer, name)

    def send(self, *args: Any, **more: Any) -> None:
        if not self._left:
            self._producer.flush(SOON_S)
            raise Killed
        self._left -= 1
        self._producer.send(*args, **more)


@pytest.mark.parametrize("moment", ["in the middle of a chunk", "before the cursor moves"])
def test_killed_loses_none_and_repeats_are_equal(sale: Published, moment: str) -> None:
    users = range(1, 41)
    sale.buy(*users)
    sale.settle(*(paid(user - 1, user) for user in users if user % 2))
    sale.store()
    dying = sale.publisher(rows=25)
    assert dying.run_once() > 0
    if moment == "before the cursor moves":
        dying.keeper.__class__ = DyingKeeper
    else:
        dying._close_producer()
        dying.open_producer = lambda: DyingProducer(  # type: ignore[assignment, return-value]
            open_producer(sale.server, sale.topic), 5
        )
    with pytest.raises(Killed):
        dying.run_once()
    sent_before = sum(sale.topics.end_offsets(sale.topic).values())
    # Nobody gives the cursor back: the next one waits for the end of its lease.
    after = sale.publisher(rows=25)
    with pytest.raises(NotOurs, match="publishes these events"):
        after.run_once()
    sale.end_lease()
    sale.publish(after)
    assert sum(sale.topics.end_offsets(sale.topic).values()) > sent_before
    bodies: dict[str, set[bytes]] = {}
    for message in sale.messages():
        value = message.value() or b""
        bodies.setdefault(json.loads(value)["id"], set()).add(value)
    assert len(bodies) == 60
    assert all(len(same) == 1 for same in bodies.values()), "a repeat differs"
    assert len(sale.messages()) > 60, "nothing was repeated: the test proves nothing"
    for user, told in sale.kinds().items():
        assert told[0][0] == "accepted"
        assert len(set(told)) == (2 if user % 2 else 1)


def test_a_stop_while_kafka_is_away_loses_nothing(sale: Published) -> None:
    """Nothing is acknowledged: the cursor stays, a stop is obeyed, the next one sends it."""
    sale.buy(1, 2)
    sale.store()

    class Silent(DyingProducer):
        def flush(self, timeout_s: float) -> int:
            publisher.shutdown.request()
            return 2

    publisher: Publisher = sale.publisher(
        open_producer=lambda: Silent(open_producer(sale.server, sale.topic), 10)
    )
    said: list[str] = []
    publisher.say = said.append
    publisher.run()
    (line,) = said
    assert "published 0 | waiting " in line
    assert publisher.behind >= 2
    publisher.close()
    assert sale.publish() == 2

"""What waits for replicas: an answer counts when they have the batch, on any connection."""

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis

from seckill.config.rights import REDIS
from seckill.consumer.engine import Engine, NotAcknowledged, Status
from seckill.control.control import Control
from seckill.errors import RedisRefuses
from seckill.lane.client import connect
from seckill.lane.keys import Lane
from tests.helpers.sale import batch, body
from tests.helpers.servers import own_valkey

LANE = Lane()


@pytest.fixture
def pair(pg_dsn: str, tmp_path: Path) -> Iterator[tuple[str, "redis.Redis", int]]:
    """A master's address, its client with a sale of 100 units, and the process of its replica."""
    with own_valkey(tmp_path) as first, own_valkey(tmp_path, replica_of=first) as second:
        master, replica = connect(first), connect(second)
        Control(master, "olga", LANE).set_stock(1, {1001: 100})
        process = replica.info("server")["process_id"]
        yield first, master, process
        os.kill(process, signal.SIGCONT)
        for client in (master, replica):
            client.close()


def waiting_engine(url: str) -> Engine:
    return Engine(url, LANE, replicas=1, acknowledge_ms=300)


def test_nothing_is_answered_before_the_replica_has_it(
    pair: tuple[str, "redis.Redis", int],
) -> None:
    url, master, replica = pair
    engine = waiting_engine(url)
    first, second = batch([body(1)]), batch([body(2)], 1)
    assert engine.decide([first])[0].status is Status.DECIDED
    os.kill(replica, signal.SIGSTOP)
    with pytest.raises(NotAcknowledged, match=r"0 of 1 replicas have it within 300 ms"):
        engine.decide([second])
    # It is decided all the same, and known to be when it comes again.
    assert master.hget(LANE.positions, f"{second.source}:0") == b"2"
    with pytest.raises(NotAcknowledged):
        engine.decide([second])
    # Another connection has not written the batch, and waits for it too.
    other = waiting_engine(url)
    with pytest.raises(NotAcknowledged):
        other.decide([second])
    os.kill(replica, signal.SIGCONT)
    for each in (engine, other):
        assert each.decide([second])[0].status is Status.DUPLICATE
        each.close()
    assert master.exists(LANE.waited) == 0


def test_a_consumers_rights_are_enough_and_a_missing_one_is_told(
    pair: tuple[str, "redis.Redis", int],
) -> None:
    url, master, _ = pair
    rights = REDIS["consumer"].split()
    master.execute_command("ACL", "SETUSER", "consumer", "on", ">pw", *rights)
    url = f"redis://consumer:pw@{url.partition('@')[2]}"
    engine = waiting_engine(url)
    assert engine.decide([batch([body(1)])])[0].status is Status.DECIDED
    engine.close()
    master.execute_command("ACL", "SETUSER", "consumer", "-wait")
    engine = waiting_engine(url)
    with pytest.raises(RedisRefuses, match="'wait'"):
        engine.decide([batch([body(2)], 1)])
    engine.close()

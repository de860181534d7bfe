"""A sale on a cluster and behind a Sentinel: slots move, masters are killed, nothing is lost.

A replica may lack the last decisions of a master that was killed. Then the lane is fenced, and a
recovery brings them back from PostgreSQL and Kafka.
"""

import signal
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from functools import partial
from pathlib import Path

import pytest
from redis.crc import key_slot

from devstack.stack import Stack
from seckill.config.sections import Server
from seckill.errors import RedisAway
from seckill.lane.client import connect
from seckill.lane.keys import DEFAULT_LIST, Lane
from seckill.lane.pools import in_cluster
from seckill.monitoring import fitness
from seckill.monitoring.fitness import Unfit, check_redis
from seckill.web.shared import rate_limit
from seckill.web.shared.redis_factory import ConnectionFactory
from tests.conftest import Manage, wait_until
from tests.faults.command import stop
from tests.faults.doors import Doors
from tests.faults.harness import Sale
from tests.helpers.browser import Browser, name_in
from tests.helpers.valkeys import Cluster, Watched, cluster, watched

SOON_S = 60.0
SLOT = key_slot(DEFAULT_LIST.encode())
# A user that the sale's own buyers never are.
CLICKER = 2**40
SaleAt = Callable[[str], Sale]


@pytest.fixture
def sale_at(
    server: Server, running_stack: Stack, manage: Manage, environment: dict[str, str]
) -> Iterator[SaleAt]:
    """Opens an empty sale whose Redis has this address."""
    with ExitStack() as ends:

        def opened(url: str) -> Sale:
            sale = Sale(
                server.model_copy(update={"redis_url": url}),
                running_stack,
                ends.enter_context(connect(url)),
                partial(manage, SECKILL_REDIS_URL=url),
                {**environment, "SECKILL_REDIS_URL": url},
            )
            ends.callback(sale.close)
            sale.open(partitions=4)
            return sale

        yield opened


@pytest.fixture
def on_cluster(tmp_path: Path) -> Iterator[Cluster]:
    with cluster(tmp_path) as servers:
        yield servers


@pytest.fixture
def behind_sentinel(tmp_path: Path) -> Iterator[Watched]:
    with watched(tmp_path) as servers:
        yield servers


def went_on(sale: Sale, decided: int) -> bool:
    """More is decided than so many. A fenced lane is recovered first."""
    try:
        if sale.look().fence is not None:
            done = sale.start("recover", "--topic", sale.server.topic, "--apply")
            assert done.ended(60) == 0
    except RedisAway:
        return False
    return sale.decided() > decided


def sell_through(sale: Sale, faults: list[Callable[[], None]]) -> None:
    """A sale under load, with each fault in turn, to its audit."""
    consumer, log_worker = sale.consumer(), sale.log_worker()
    with sale.load(1_000):
        sale.wait_decided(1_000)
        doors = Doors(sale)
        for fault in faults:
            fault()
            before = sale.decided()
            wait_until(lambda n=before: went_on(sale, n + 1_000), SOON_S, "it sells on")
        # Clicks are sold too, and told: a door finds the master as all others do.
        for n, port in enumerate(doors.ports):
            buyer = Browser(port, CLICKER + n)
            wait_until(
                lambda buyer=buyer: buyer.get("/buy/1/form").status == 200, SOON_S, "a door sees it"
            )
            assert name_in(buyer.buy(1001)) == "yours"
    sale.wait_all_decided()
    sale.wait_all_stored()
    stop(consumer, log_worker, *doors.commands)
    sale.prove(clicks=len(doors.ports))


def test_a_slot_moves_and_its_master_dies(sale_at: SaleAt, on_cluster: Cluster) -> None:
    sale = sale_at(on_cluster.url)
    assert in_cluster(sale.redis)
    # The pages' client is made by another library.
    pages = ConnectionFactory({}).connect(on_cluster.url)
    assert rate_limit.count(pages, ["somebody"], 1, 1).allowed
    pages.connection_pool.disconnect()
    faults = (on_cluster.fail_over, on_cluster.move_slot)
    sell_through(sale, [partial(fault, SLOT) for fault in faults])
    # All of the lane is on one server.
    (home,) = (name for name in on_cluster.masters() if on_cluster.clients[name].dbsize())
    assert home == on_cluster.owner(SLOT)
    assert on_cluster.clients[home].exists(Lane().positions)


def test_a_master_behind_a_sentinel_dies(
    sale_at: SaleAt, behind_sentinel: Watched, monkeypatch: pytest.MonkeyPatch
) -> None:
    sale = sale_at(behind_sentinel.url)
    check_redis(sale.redis, Lane(), print)
    with monkeypatch.context() as patch:
        patch.setattr(fitness, "VALKEY_SINCE", (99, 0))
        with pytest.raises(Unfit, match=r"Valkey [0-9.]+ is too old"):
            check_redis(sale.redis, Lane(), print)
    sell_through(sale, [behind_sentinel.fail_over])
    assert behind_sentinel.master.client.exists(Lane().positions)


def test_what_is_committed_is_on_the_replica(sale_at: SaleAt, behind_sentinel: Watched) -> None:
    """A replica that hangs, and then none: consumers hold, and nothing is lost."""
    sale = sale_at(behind_sentinel.url)
    waits = ("--redis-replicas-acknowledge", "1", "--redis-acknowledge-ms", "200")
    consumer, log_worker = sale.consumer(*waits), sale.log_worker()
    replica = behind_sentinel.replica.process
    with sale.load(1_000):
        sale.wait_decided(1_000)
        replica.send_signal(signal.SIGSTOP)
        consumer.wait_for("HOLD: Redis has decided what too few replicas have: 0 of 1", SOON_S)
        decided = sale.decided()
        wait_until(lambda: sale.lag(sale.ends()) > 2_000, SOON_S, "requests wait")
        assert sale.decided() == decided
        replica.send_signal(signal.SIGCONT)
        sale.wait_decided(decided + 1_000, SOON_S)
        holds = consumer.count("HOLD: ")
        # The new master has no replica.
        behind_sentinel.fail_over()
        wait_until(lambda: consumer.count("HOLD: ") > holds, SOON_S, "it says so")
    stop(consumer)
    assert log_worker.process.poll() is None
    consumer = sale.consumer()
    wait_until(lambda: went_on(sale, decided + 1_000), SOON_S, "it sells on")
    sale.wait_all_decided()
    sale.wait_all_stored()
    stop(consumer, log_worker)
    sale.prove()

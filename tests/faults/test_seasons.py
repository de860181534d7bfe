"""The table of orders becomes partitions under a running sale, and a new topic begins."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from devstack.endpoints import Endpoints
from seckill.audit.audit import audit
from seckill.config.sections import Server
from seckill.lane.keys import Lane
from seckill.models import DeadRecord, Record
from tests.conftest import wait_until
from tests.faults.buyers import Buyers
from tests.faults.command import stop
from tests.faults.harness import Sale
from tests.helpers.seasons import Seasons, ask, begun, one_table_again, partitioned

# Sessions of the owner, which hold a lock.
pytestmark = pytest.mark.direct


@pytest.fixture
def orders(pg_dsn: str) -> Iterator[None]:
    """The table of orders is one table again after the sale's commands have ended: ask first."""
    yield
    one_table_again()


@pytest.fixture
def following(server: Server) -> Iterator[Buyers]:
    """The buyers of the next season, in a topic of their own."""
    buyers = Buyers(server.model_copy(update={"topic": f"{server.topic}-next"}))
    yield buyers
    buyers.leave()


def test_archived_under_a_running_sale(
    orders: None, sale: Sale, pg_dsn: str, stack: Endpoints, tmp_path: Path
) -> None:
    """A season of before goes, while the next one is decided and stored at full speed."""
    before = Seasons(sale.redis, stack.redis_url, pg_dsn, tmp_path)
    before.control.set_stock(9, {1001: 1000})
    before.sell(before.old, 9, range(1, 101))
    before.control.finish(9)
    sale.load_stock()
    partitioned(pg_dsn, [before.old])
    begun(pg_dsn, sale.source)
    log_worker, consumer = sale.log_worker(), sale.consumer(stock=False)
    name, folder = "seckill_record_first", tmp_path / "files"
    act = ("seasons", "archive", name, "--to", str(folder), "--topic", sale.server.topic)
    with sale.load(2_000):
        sale.wait_decided(2_000)
        looked = sale.start(*act)
        assert looked.ended(60) == 0
        assert "100 orders, 0 settlements, 0 late_payments, activities 9" in looked.output
        assert "nothing was changed" in looked.output
        assert not folder.exists()
        archived = sale.start(*act, "--yes")
        assert archived.ended(60) == 0
        assert f"{name}.json names its files; nobody waited longer" in archived.output
        stored = sale.stored()
        wait_until(lambda: sale.stored() > stored + 4_000, 30, "storing goes on")
        assert audit(sale.redis, Lane()).clean
    sale.wait_all_decided()
    sale.wait_all_stored()
    again = sale.start(*act, "--yes")
    assert again.ended(60) == 0
    assert "is archived; nothing of it is left in Redis" in again.output
    kafka = sale.start("audit", "--kafka", "--topic", sale.server.topic)
    assert kafka.ended(60) == 0
    assert "1 activities are archived: their orders are in" in kafka.output
    sale.prove()
    stop(consumer, log_worker)


def test_partitioned_under_a_running_sale(orders: None, sale: Sale, following: Buyers) -> None:
    log_worker = sale.log_worker()
    consumer = sale.consumer("--consumers", "2")
    with sale.load(2_000):
        sale.wait_decided(2_000)
        wait_until(lambda: sale.stored() > 2_000, 30, "records are stored")
        command = sale.start("seasons", "partition", "--topic", sale.server.topic)
        assert command.ended(60) == 0
        assert "done: the first partition has 1 topics; nobody waited longer" in command.output
        stored = sale.stored()
        wait_until(lambda: sale.stored() > stored + 4_000, 30, "storing goes on")
        # While it is read by others: a sale is looked at all the time.
        assert audit(sale.redis, Lane()).clean
    sale.wait_all_decided()
    sale.wait_all_stored()
    sale.prove()
    assert ask("SELECT DISTINCT tableoid::regclass::text FROM seckill_record") == [
        ("seckill_record_first",)
    ]
    # The next season, whose partition somebody has forgotten.
    stop(consumer)
    following.open(partitions=2)
    topic = following.server.topic
    consumer = sale.start("run_consumer", "--topic", topic, "--group-id", topic)
    consumer.wait_for("note: .*has no partition for topic .*Until then no order of", 60)
    rows = Record.objects.count()
    following.backlog(500)
    log_worker.wait_for(
        f"has no partition for topic {following.source}; manage.py seasons begin makes it; "
        "records wait in Redis, nothing is lost",
        60,
    )
    assert Record.objects.count() == rows
    assert audit(sale.redis, Lane()).clean
    begun = sale.start("seasons", "begin", "--topic", topic)
    assert begun.ended(60) == 0, begun.output
    log_worker.wait_for("going on: all services answer again", 60)
    wait_until(lambda: sale.decided() == sale.sent + 500, 30, "all is decided")
    sale.wait_all_stored()
    assert Record.objects.count() > rows
    assert DeadRecord.objects.count() == 0
    assert audit(sale.redis, Lane()).clean
    stop(consumer, log_worker)

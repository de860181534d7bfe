"""The table of orders becomes partitions under a running sale, and a new topic begins."""

from collections.abc import Iterator

import pytest

from seckill.audit.audit import audit
from seckill.config.sections import Server
from seckill.lane.keys import Lane
from seckill.models import DeadRecord, Record
from tests.conftest import wait_until
from tests.faults.buyers import Buyers
from tests.faults.command import stop
from tests.faults.harness import Sale
from tests.helpers.seasons import ask, one_table_again


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

"""Negative controls: a system that lacks one thing fails `Sale.prove`, or a green one says nothing.

`tests/integration/audit/test_negative_control.py` has the same for the audit alone, step by step.
"""

import pytest

from tests.conftest import wait_until
from tests.faults.command import Command, stop
from tests.faults.dying import DIED
from tests.faults.harness import Sale


def consumer(sale: Sale, name: str, group: str = "") -> Command:
    """A wrong consumer."""
    return sale.run_module(
        *("wrong", name),
        SECKILL_TOPIC=sale.server.topic,
        SECKILL_GROUP_ID=f"{sale.server.group_id}{group}",
        SECKILL_BATCH_SIZE="100",
    )


def test_an_engine_that_reads_and_then_writes_oversells(sale: Sale) -> None:
    sale.load_stock()
    both = [consumer(sale, "reads, then writes") for _ in range(2)]
    for each in both:
        wait_until(lambda one=each: "assigned partitions: [" in one.output, 40, "a member")  # type: ignore[misc]
    sale.backlog(12_000)
    sale.wait_all_decided()
    stop(*both)
    sale.drain_records()
    with pytest.raises(AssertionError, match="never oversold"):
        sale.prove()


def test_a_log_worker_that_trims_before_it_commits_loses(sale: Sale) -> None:
    sale.backlog(1_000)
    assert sale.consumer("--drain").ended(40) == 0
    assert sale.run_module("wrong", "trims first").ended(40) == DIED
    sale.drain_records()
    with pytest.raises(AssertionError, match="never lost"):
        sale.prove()


def test_a_consumer_that_ignores_the_position_sells_twice(sale: Sale) -> None:
    sale.load_stock()
    sale.backlog(1_000)
    for time in (1, 2):
        # The second one is given all of it again.
        each = consumer(sale, "ignores the position", f"-{time}")
        wait_until(lambda n=time: sale.decided() == n * sale.sent, 40, "all decided, again")  # type: ignore[misc]
        stop(each)
    sale.drain_records()
    with pytest.raises(AssertionError, match="never a silent drop"):
        sale.prove()


def test_a_counter_that_is_not_written_does_not_add_up(sale: Sale) -> None:
    sale.load_stock()
    sale.backlog(1_000)
    each = consumer(sale, "forgets a counter")
    sale.wait_all_decided()
    stop(each)
    sale.drain_records()
    with pytest.raises(AssertionError, match="never a silent drop"):
        sale.prove()

"""The door's outbox on both clients: offsets, and a Kafka that is frozen and comes back."""

import os
import signal

import pytest

from seckill.broker import outbox
from seckill.broker.opening import open_outbox
from tests.conftest import wait_until
from tests.faults.harness import Sale

Results = list[tuple[int, str]]


def sent(box: outbox.Outbox, results: Results, count: int) -> None:
    """Send so many, and wait until each has a result."""
    for number in range(count):
        assert box.send(b"%d" % number, 0, lambda *result: results.append(result))

    def told() -> bool:
        box.poll()
        return box.waiting == 0

    wait_until(told, 30, "each has a result")


def test_offsets_are_told_before_and_after_kafka_was_away(
    sale: Sale, kafka_client: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What it did not take in time is given up, and what comes later is taken."""
    monkeypatch.setattr(outbox, "EXPIRE_S", 2.0)
    settings = sale.server.model_copy(update={"kafka_client": kafka_client})
    box = open_outbox(settings, settings.topic)
    assert box.partitions == 4
    results: Results = []
    sent(box, results, 3)
    assert results == [(0, ""), (1, ""), (2, "")]
    kafka = sale.stack.pid("kafka")
    assert kafka is not None
    os.kill(kafka, signal.SIGSTOP)
    try:
        sent(box, results, 1)
    finally:
        os.kill(kafka, signal.SIGCONT)
    offset, why = results.pop()
    assert (offset, bool(why)) == (-1, True)

    def taken() -> bool:
        again: Results = []
        sent(box, again, 1)
        return again[0][1] == ""

    wait_until(taken, 30, "a record is taken again")
    assert box.flush(10) == 0
    box.close()

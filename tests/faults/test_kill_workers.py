"""kill -9 of our own processes in mid-load: what was in flight is repeated and changes nothing."""

import signal

from tests.conftest import wait_until
from tests.faults.harness import Sale


def test_killed_consumer_is_started_again(sale: Sale, kafka_client: str) -> None:
    sale.kafka_client = kafka_client
    log_worker = sale.log_worker()
    with sale.load():
        command = sale.consumer()
        decided = sale.wait_decided(2_000)
        [child] = command.consumers()
        child.kill()
        command.wait_for("consumer 1 ended with code -9; nothing is lost, starting it again")
        wait_until(lambda: [c.pid for c in command.consumers()] not in ([], [child.pid]), 10, "new")
        # The dead member's partitions are free when its session has expired.
        sale.wait_decided(decided + 10_000, 40)
    sale.wait_all_decided()
    sale.wait_all_stored()
    for each in (command, log_worker):
        each.tell(signal.SIGTERM)
        assert each.ended() == 0
    assert "Traceback" not in command.output + log_worker.output
    sale.prove()


def test_killed_parent_takes_its_consumers_along(sale: Sale) -> None:
    with sale.load():
        command = sale.consumer("--consumers", "2")
        decided = sale.wait_decided(2_000)
        wait_until(lambda: len(command.consumers()) == 2, 10, "two consumers")
        command.tell(signal.SIGKILL)
        wait_until(lambda: command.group() == [], 10, "its children end by themselves")
        assert command.ended() == -signal.SIGKILL
        assert command.count("the parent process is gone; stopping") == 2
        assert "Traceback" not in command.output
        # They left the group in order: the next consumer has the partitions at once.
        sale.consumer()
        sale.wait_decided(decided + 4_000, 8)
    sale.wait_all_decided()
    sale.drain_records()
    sale.prove()


def test_killed_log_worker(sale: Sale) -> None:
    sale.backlog(15_000)
    assert sale.consumer("--drain").ended() == 0
    waiting = sale.look().waiting
    # Small batches: it is killed in the middle of the list.
    command = sale.log_worker("--batch-size", "200")
    wait_until(lambda: 0 < sale.look().waiting < waiting - 1_000, 20, "some are stored")
    command.tell(signal.SIGKILL)
    command.ended()
    assert sale.look().waiting > 0
    sale.drain_records()
    sale.prove()

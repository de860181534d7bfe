"""kill -9 of our own processes in mid-load: what was in flight is repeated and changes nothing."""

import re
import signal

from tests.conftest import wait_until
from tests.faults.command import Command
from tests.faults.harness import Sale


def assigned(command: Command) -> set[str]:
    """Consumers that have had partitions, by their process ids."""
    return set(re.findall(r"intake\[(\d+)\]: assigned partitions: \[", command.output))


def test_killed_consumer_is_started_again(sale: Sale, kafka_client: str) -> None:
    sale.kafka_client = kafka_client
    log_worker = sale.log_worker()
    with sale.load():
        # Long enough for the others to be seen at work while the dead one's session lasts.
        command = sale.consumer("--consumers", "3", "--session-timeout", "20000")
        # All of them have partitions: 4 for 3 of them.
        wait_until(lambda: len(assigned(command)) == 3, 30, "three members of the group")
        decided = sale.wait_decided(2_000)
        before = {child.pid for child in command.consumers()}
        victim = command.consumers()[1]
        victim.kill()
        command.wait_for("consumer 2 ended with code -9; nothing is lost, starting it again")
        # The others go on at once; the victim's partitions are free when its session has expired.
        sale.wait_decided(decided + 4_000, 18)
        assert len(command.consumers()) == 2
        wait_until(lambda: len(command.consumers()) == 3, 40, "three consumers again")
        assert len({child.pid for child in command.consumers()} - before) == 1
    sale.wait_all_decided()
    sale.wait_all_stored()
    for each in (command, log_worker):
        each.tell(signal.SIGTERM)
        assert each.ended() == 0
    assert "Traceback" not in command.output + log_worker.output
    sale.prove()


def test_killed_parent_takes_its_consumers_along(sale: Sale) -> None:
    with sale.load():
        command = sale.consumer("--consumers", "2", "--session-timeout", "60000")
        decided = sale.wait_decided(2_000)
        wait_until(lambda: len(command.consumers()) == 2, 10, "two consumers")
        command.tell(signal.SIGKILL)
        wait_until(lambda: command.group() == [], 10, "its children end by themselves")
        assert command.ended() == -signal.SIGKILL
        assert command.count("the parent process is gone; stopping") == 2
        assert "Traceback" not in command.output
        # They left the group in order: the next consumer has the partitions at once.
        sale.consumer()
        sale.wait_decided(decided + 4_000, 40)
    sale.wait_all_decided()
    sale.drain_records()
    sale.prove()


def test_killed_log_worker(sale: Sale) -> None:
    sale.backlog(15_000)
    assert sale.consumer("--drain").ended() == 0
    waiting = sale.look().waiting
    # Small batches, and more than one try: it is killed at some moment of a batch.
    for left in (waiting - 600, waiting - 2_400, waiting - 4_800):
        command = sale.log_worker("--batch-size", "200")
        wait_until(lambda limit=left: sale.look().waiting < limit, 20, "some are stored")  # type: ignore[misc]
        command.tell(signal.SIGKILL)
        command.ended()
    assert sale.look().waiting > 0
    sale.drain_records()
    sale.prove()

"""kill -9 of our own processes in mid-load: what was in flight is repeated and changes nothing."""

import re
import signal

from tests.conftest import wait_until
from tests.faults.command import Command, stop
from tests.faults.harness import Sale
from tests.faults.lines import on_line, port_of
from tests.faults.proxy import Proxy

# A session that no test waits for.
SESSION_MS = "60000"


def assigned(command: Command) -> set[str]:
    """Consumers that have had partitions, by their process ids."""
    return set(re.findall(r"intake\[(\d+)\]: assigned partitions: \[", command.output))


def decided_by(command: Command, consumers: int) -> list[int]:
    """What its status lines with so many consumers say is decided."""
    found = re.findall(rf"decided ([\d,]+) \|.*\| consumers {consumers}$", command.output, re.M)
    return [int(total.replace(",", "")) for total in found]


def test_killed_consumer_is_started_again(sale: Sale, kafka_client: str) -> None:
    sale.kafka_client = kafka_client
    log_worker = sale.log_worker()
    with sale.load():
        # Long enough for the others to be seen at work while the dead one's session lasts, and
        # small batches: what they had in their hands at its end is little.
        command = sale.consumer(
            "--consumers", "3", "--session-timeout", "20000", "--batch-size", "200"
        )
        # All of them have partitions: 4 for 3 of them.
        wait_until(lambda: len(assigned(command)) == 3, 30, "three members of the group")
        sale.wait_decided(2_000)
        before = {child.pid for child in command.consumers()}
        command.consumers()[1].kill()
        command.wait_for(r"consumer \d ended with code -9; nothing is lost, starting it again")
        # The others go on at once; the victim's partitions are free when its session has expired.
        in_hands = sale.decided() + 2 * 4 * 200
        wait_until(
            lambda: max(decided_by(command, consumers=2), default=0) > in_hands,
            18,
            "the other two decide more than they had in their hands",
        )
        wait_until(lambda: len(command.consumers()) == 3, 40, "three consumers again")
        assert len({child.pid for child in command.consumers()} - before) == 1
    sale.wait_all_decided()
    sale.wait_all_stored()
    stop(command, log_worker)
    sale.prove()


def test_killed_parent_takes_its_consumers_along(sale: Sale) -> None:
    with sale.load():
        command = sale.consumer("--consumers", "2", "--session-timeout", SESSION_MS)
        decided = sale.wait_decided(2_000)
        # Members, both of them: one that is only about to join has nothing to leave.
        wait_until(lambda: len(assigned(command)) == 2, 30, "two members of the group")
        command.tell(signal.SIGKILL)
        wait_until(lambda: command.group() == [], 10, "its children end by themselves")
        assert command.ended() == -signal.SIGKILL
        assert command.count("the parent process is gone; stopping") == 2
        assert "Traceback" not in command.output
        # They left the group in order: it is empty long before their sessions are over.
        wait_until(lambda: sale.members() == 0, 5, "they have left the group")
        sale.consumer()
        sale.wait_decided(decided + 4_000)
    sale.wait_all_decided()
    sale.drain_records()
    sale.prove()


def test_killed_log_worker(sale: Sale) -> None:
    sale.backlog(15_000)
    assert sale.consumer("--drain").ended() == 0
    waiting = sale.look().waiting
    dsn = sale.environment["SECKILL_PG_DSN"]
    # Small batches on a line that is slow and ours, and more than one try: it is killed at some
    # moment of a batch, and cannot come to the end while this process is busy elsewhere.
    with Proxy(port_of(dsn)) as line:
        line.delay_s = 0.02
        for left in (waiting - 600, waiting - 2_400, waiting - 4_800):
            command = sale.log_worker("--batch-size", "200", "--pg-dsn", on_line(dsn, line))
            wait_until(lambda limit=left: sale.look().waiting < limit, 20, "some are stored")  # type: ignore[misc]
            command.tell(signal.SIGKILL)
            command.ended()
    assert sale.look().waiting > 0
    sale.drain_records()
    sale.prove()

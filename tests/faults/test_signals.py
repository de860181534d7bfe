"""SIGTERM and Ctrl-C: exit 0 with nothing lost; a second signal ends everything at once."""

import signal
import subprocess
import sys

import pytest

from seckill.config.layers import BASE_DIR
from seckill.process.exit_codes import SECOND_SIGNAL
from tests.conftest import wait_until
from tests.faults.command import Command
from tests.faults.harness import Sale


@pytest.mark.parametrize(
    ("kafka_client", "number", "to_all"),
    [
        pytest.param("kafka-python", signal.SIGTERM, True, id="SIGTERM to all, kafka-python"),
        pytest.param("kafka-python", signal.SIGINT, True, id="Ctrl-C, kafka-python"),
        pytest.param("confluent-kafka", signal.SIGTERM, False, id="SIGTERM, confluent-kafka"),
    ],
)
def test_stop_in_mid_load(
    sale: Sale, kafka_client: str, number: signal.Signals, to_all: bool
) -> None:
    sale.kafka_client = kafka_client
    sale.backlog(20_000)
    # Small batches: the signal comes in the middle.
    consumer = sale.consumer("--consumers", "2", "--batch-size", "100")
    log_worker = sale.log_worker("--batch-size", "100")
    # And more comes all the time: it does not come after the end.
    with sale.load(2_000):
        sale.wait_decided(500)
        for command in (consumer, log_worker):
            (command.tell_group if to_all else command.tell)(number)
        assert consumer.ended() == 0
        assert log_worker.ended() == 0
    assert consumer.group() == log_worker.group() == []
    assert "Traceback" not in consumer.output + log_worker.output
    assert "ended with code" not in consumer.output
    decided = sale.decided()
    assert decided < sale.sent
    # All that was decided is committed: the next one has nothing to decide again.
    assert sum(sale.committed().values()) == decided
    sale.finish()


def test_ctrl_c_is_left_to_the_parent(sale: Sale) -> None:
    consumer = sale.consumer()
    wait_until(consumer.consumers, 20, "the child is started")
    # From its first moment on, imports included, it must not mind.
    wait_until(lambda: _interrupt(consumer), 20, "it consumes")
    assert consumer.count("ended with code") == 0
    consumer.tell_group(signal.SIGINT)
    assert consumer.ended() == 0
    assert consumer.group() == []
    assert "Traceback" not in consumer.output


def _interrupt(command: Command) -> bool:
    for child in command.consumers():
        child.send_signal(signal.SIGINT)
    return command.count(r"assigned partitions: \[0") > 0


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_second_signal(sale: Sale, number: signal.Signals) -> None:
    sale.backlog(20_000)
    consumer = sale.consumer("--consumers", "2", "--batch-size", "100")
    sale.wait_decided(500)
    # A consumer that is stopped cannot end by itself, so that the parent has to wait for it.
    for child in consumer.consumers():
        child.suspend()
    consumer.tell_group(number)
    wait_until(lambda: consumer.count("^stopping: ") == 1, 10, "the first signal is seen")
    consumer.tell_group(number)
    wait_until(lambda: consumer.process.poll() is not None, 5, "it ends at once")
    assert consumer.process.poll() == SECOND_SIGNAL
    for child in consumer.group():
        child.resume()
    wait_until(lambda: consumer.group() == [], 10, "its children are gone too")
    assert "Traceback" not in consumer.output
    sale.finish()


SPINNING = """
from seckill.process.shutdown import Shutdown
with Shutdown() as shutdown:
    print("ready", flush=True)
    while not shutdown.wait(0):
        pass
"""
CHILD = """
import os, signal
from seckill.process.shutdown import Shutdown
with Shutdown(signal.SIGTERM, second_exits=False) as shutdown:
    for _ in range(2):
        os.kill(os.getpid(), signal.SIGTERM)
        assert shutdown.wait(60)
"""


def test_a_signal_inside_wait_is_no_deadlock() -> None:
    # With a threading.Event in it, every second of these hangs for ever.
    programs = [
        subprocess.Popen(
            [sys.executable, "-c", SPINNING], cwd=BASE_DIR, stdout=subprocess.PIPE, text=True
        )
        for _ in range(10)
    ]
    try:
        for program in programs:
            assert program.stdout is not None
            assert program.stdout.readline() == "ready\n"
            program.terminate()
        assert [program.wait(120) for program in programs] == [0] * len(programs)
    finally:
        for program in programs:
            program.kill()
            program.communicate()


def test_a_child_that_is_told_twice_still_finishes() -> None:
    # By whoever ends the whole process group, and by its parent.
    assert subprocess.run([sys.executable, "-c", CHILD], cwd=BASE_DIR, timeout=120).returncode == 0

"""Asking a process to stop: the first signal sets a flag, the second one ends it."""

import multiprocessing
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing.connection import Connection

import pytest

from seckill.config.layers import BASE_DIR
from seckill.process.exit_codes import SECOND_SIGNAL
from seckill.process.shutdown import Shutdown, start_child, stop_children


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_the_first_signal_sets_the_flag_and_nothing_else(number: signal.Signals) -> None:
    before = signal.getsignal(number)
    with Shutdown() as shutdown:
        assert not shutdown.requested
        os.kill(os.getpid(), number)
        assert shutdown.wait(60)
        assert shutdown.requested
    assert signal.getsignal(number) is before


def test_only_the_signals_that_were_named() -> None:
    before = signal.getsignal(signal.SIGINT)
    with Shutdown(signal.SIGTERM):
        assert signal.getsignal(signal.SIGINT) is before
        assert signal.getsignal(signal.SIGTERM) is not before


def test_handlers_come_back_after_an_error() -> None:
    before = signal.getsignal(signal.SIGTERM)
    with pytest.raises(KeyError), Shutdown():
        raise KeyError
    assert signal.getsignal(signal.SIGTERM) is before


def test_a_request_without_a_signal_ends_a_wait() -> None:
    shutdown = Shutdown()
    assert not shutdown.wait(0)
    waiting = threading.Thread(target=shutdown.wait, args=(60,))
    waiting.start()
    shutdown.request()
    waiting.join(60)
    assert not waiting.is_alive()


PROGRAM = """
import sys
from seckill.process.shutdown import Shutdown, start_child, stop_children
with Shutdown() as shutdown:
    print("ready", flush=True)
    shutdown.wait(120)
    print("first", flush=True)
    if "stuck" in sys.argv:
        while True:
            pass
"""


@contextmanager
def started(*arguments: str) -> Iterator["subprocess.Popen[str]"]:
    with subprocess.Popen(
        [sys.executable, "-c", PROGRAM, *arguments], cwd=BASE_DIR, stdout=subprocess.PIPE, text=True
    ) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == "ready\n"
            yield process
        finally:
            process.kill()


def test_one_signal_lets_the_work_end() -> None:
    with started() as process:
        process.send_signal(signal.SIGTERM)
        assert process.wait(120) == 0


@pytest.mark.parametrize("second", [signal.SIGTERM, signal.SIGINT])
def test_a_second_signal_ends_a_process_that_is_stuck(second: signal.Signals) -> None:
    with started("stuck") as process:
        assert process.stdout is not None
        process.send_signal(signal.SIGTERM)
        assert process.stdout.readline() == "first\n"
        process.send_signal(second)
        assert process.wait(120) == SECOND_SIGNAL


WATCHING = """
from seckill.process.shutdown import Shutdown, start_child, stop_children
with Shutdown() as shutdown:
    shutdown.watch_parent()
    print("ready", flush=True)
    print("asked" if shutdown.wait(60) else "never", flush=True)
"""
PARENT = "import subprocess, sys; subprocess.run([sys.executable, '-c', sys.argv[1]])"


def test_a_killed_parent_asks_for_the_stop() -> None:
    with subprocess.Popen(
        [sys.executable, "-c", PARENT, WATCHING], cwd=BASE_DIR, stdout=subprocess.PIPE, text=True
    ) as parent:
        assert parent.stdout is not None
        assert parent.stdout.readline() == "ready\n"
        parent.kill()
        assert parent.stdout.readline() == "asked\n"


def work(ready: Connection, stuck: bool) -> None:
    """A child that ends when it is told to, or does not."""
    if stuck:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    ready.send(True)
    signal.pause()


def test_children_that_do_not_stop_in_time_are_killed_and_counted() -> None:
    context = multiprocessing.get_context("spawn")
    children = []
    for stuck in (False, True):
        mine, theirs = context.Pipe()
        child = context.Process(target=work, args=(theirs, stuck))
        start_child(child)
        assert mine.recv()
        mine.close()
        theirs.close()
        children.append(child)
    assert stop_children(children, 0.5) == 1
    assert [child.exitcode for child in children] == [-signal.SIGTERM, -signal.SIGKILL]
    for child in children:
        child.close()

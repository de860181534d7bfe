"""The memory that a process may take: who asks for more gets none, and its library is aborted."""

import mmap
import multiprocessing
import resource
import signal
import threading
from collections.abc import Callable
from multiprocessing.process import BaseProcess

import pytest

from seckill.consumer.memory import (
    LIMIT_MB,
    MB,
    OWN_STACK,
    PAGES,
    STACK,
    MemoryLimit,
    children_give_back,
    small_stacks,
)

TOO_MUCH = (LIMIT_MB + 50) * MB
WELL, NO_MEMORY = 0, 3


def asked() -> int:
    """Bytes that this process has asked for."""
    return int(PAGES.read_text().split()[5]) * resource.getpagesize()


def asks_for_too_much(begun: bool) -> None:
    limit = MemoryLimit()
    if begun:
        limit.begin()
    try:
        assert len(bytes(TOO_MUCH)) == TOO_MUCH
    except MemoryError:
        raise SystemExit(NO_MEMORY) from None


def grows_slowly() -> None:
    """In small pieces, above the limit in the end: what it holds is what it needs."""
    limit = MemoryLimit()
    limit.begin()
    held = []
    for _ in range(TOO_MUCH // (8 * MB)):
        held.append(b"x" * 8 * MB)
        limit._next = 0.0
        limit.renew()
    assert sum(map(len, held)) > LIMIT_MB * MB


def unpacks_later() -> None:
    """Allocates at once what is written only after the next renewals, as a library that unpacks."""
    limit = MemoryLimit()
    limit.begin()
    held = []
    try:
        while len(held) < 20:
            held.append(mmap.mmap(-1, 50 * MB, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS))
            limit._next = 0.0
            limit.renew()
    except OSError:
        assert len(held) * 50 < LIMIT_MB, len(held)
        raise SystemExit(NO_MEMORY) from None


def has_threads_later() -> None:
    """Of a cluster that has grown: their stacks take nothing from what may be unpacked."""
    limit = MemoryLimit()
    limit.begin()
    before = resource.getrlimit(resource.RLIMIT_DATA)[0] - asked()
    ended = threading.Event()
    threads = [threading.Thread(target=ended.wait) for _ in range(50)]
    for thread in threads:
        thread.start()
    limit._next = 0.0
    limit.renew()
    left = resource.getrlimit(resource.RLIMIT_DATA)[0] - asked()
    ended.set()
    for thread in threads:
        thread.join()
    assert left > before - 20 * MB, (left, before)


def has_threads() -> None:
    """Fifty, as librdkafka has on a cluster of that many brokers."""
    limit = MemoryLimit()
    before = asked()
    ended = threading.Event()
    threads = [threading.Thread(target=ended.wait) for _ in range(50)]
    for thread in threads:
        thread.start()
    grown = asked() - before
    limit.begin()
    ended.set()
    for thread in threads:
        thread.join()
    assert grown < 50 * 2 * STACK, grown
    assert resource.getrlimit(resource.RLIMIT_STACK)[0] == OWN_STACK


def ended(work: Callable[..., None], *arguments: object) -> int | None:
    """How a process ends that does this."""
    children_give_back()
    process: BaseProcess = multiprocessing.get_context("spawn").Process(target=work, args=arguments)
    before = resource.getrlimit(resource.RLIMIT_STACK)
    with small_stacks():
        process.start()
    assert resource.getrlimit(resource.RLIMIT_STACK) == before
    process.join(120)
    return process.exitcode


@pytest.mark.parametrize(("begun", "code"), [(True, NO_MEMORY), (False, WELL)])
def test_who_asks_for_too_much_gets_none(begun: bool, code: int) -> None:
    assert ended(asks_for_too_much, begun) == code


def test_what_is_needed_is_given() -> None:
    assert ended(grows_slowly) == WELL


def test_threads_do_not_count_for_much() -> None:
    assert ended(has_threads) == WELL


def test_what_is_allocated_may_be_used_later_and_counts() -> None:
    assert ended(unpacks_later) == NO_MEMORY


def test_threads_that_start_later_do_not_count_for_much() -> None:
    assert ended(has_threads_later) == WELL


def test_an_abort_is_a_code_that_the_parent_knows() -> None:
    from seckill.consumer.children import CANNOT_UNPACK_CODES

    assert -signal.SIGABRT in CANNOT_UNPACK_CODES

"""The memory that a consumer takes: given back when it is free, and limited from outside where the
Kafka client knows no bound of its own.
"""

import os
import resource
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

# MB that a consumer on confluent-kafka may take. It takes 150 where nobody sends bombs.
LIMIT_MB = 260
# MB that it may always still take: where it is above the limit, it is so by what it needs.
LEAST_MB = 16
# Seconds between two looks at what it takes.
LOOK_S = 1.0
MB = 2**20
PAGE = resource.getpagesize()
# Bytes of a thread's stack, and of the first thread's.
STACK, OWN_STACK = MB, 8 * MB
# Pages of this process: all, in memory, shared, program, libraries, data. Linux has it.
PAGES = Path("/proc/self/statm")
# What glibc reads when a process starts: from how many bytes on a block is given back when it is
# free. It would learn from large ones to keep them, and so keep several times what is needed.
GIVEN_BACK = ("MALLOC_MMAP_THRESHOLD_", str(MB))


def children_give_back() -> None:
    """For the processes that this one starts from now on, unless somebody has decided otherwise."""
    os.environ.setdefault(*GIVEN_BACK)


@contextmanager
def small_stacks() -> Iterator[None]:
    """Threads of processes that are started meanwhile have small stacks: these count as asked for,
    and librdkafka has a thread for each broker.
    """
    own, most = resource.getrlimit(resource.RLIMIT_STACK)
    resource.setrlimit(resource.RLIMIT_STACK, (STACK, most))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_STACK, (own, most))


class MemoryLimit:
    """Who asks for more than there is up to LIMIT_MB gets none: Python raises MemoryError, and a
    library in C aborts the process. So the machine and its other processes are safe.

    Renewed again and again, since the system counts what was asked for, and not what is used.
    """

    def __init__(self) -> None:
        self._begun = False
        self._next = 0.0
        _, most = resource.getrlimit(resource.RLIMIT_STACK)
        # Those of the threads are as small as this process was told; its own need not be.
        own = OWN_STACK if most == resource.RLIM_INFINITY else min(OWN_STACK, most)
        resource.setrlimit(resource.RLIMIT_STACK, (own, most))

    def begin(self) -> None:
        """From now on. Before that nothing is unpacked, and threads are started."""
        self._begun, self._next = True, 0.0
        self.renew()

    def renew(self) -> None:
        """Set it anew, if it is time."""
        now = time.monotonic()
        if not self._begun or now < self._next or not PAGES.exists():
            return
        self._next = now + LOOK_S
        pages = PAGES.read_text().split()
        used, asked = int(pages[1]) * PAGE, int(pages[5]) * PAGE
        limit = asked + max(LEAST_MB * MB, LIMIT_MB * MB - used)
        _, most = resource.getrlimit(resource.RLIMIT_DATA)
        if most != resource.RLIM_INFINITY:
            limit = min(limit, most)
        resource.setrlimit(resource.RLIMIT_DATA, (limit, most))

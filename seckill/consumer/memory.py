"""The memory of a consumer: freed memory goes back to the system, and the process has a limit if
its Kafka client has none of its own.
"""

import os
import resource
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

# MB that a consumer on confluent-kafka may use. It uses 150 if nobody sends bombs.
LIMIT_MB = 260
# MB that it may always allocate: above the limit it still gets what it needs.
LEAST_MB = 16
# Seconds between two measurements.
LOOK_S = 1.0
MB = 2**20
PAGE = resource.getpagesize()
# Bytes of the stack of each thread, and of the main thread.
STACK, OWN_STACK = MB, 8 * MB
# Memory of this process in pages: total, resident, shared, text, libraries, data. Linux only.
PAGES = Path("/proc/self/statm")
# A folder for each thread of this process.
THREADS = Path("/proc/self/task")
# An environment variable of glibc: freed blocks of this size or more go back to the system. By
# default glibc raises this limit after large blocks and so keeps several times what it needs.
GIVEN_BACK = ("MALLOC_MMAP_THRESHOLD_", str(MB))


def children_give_back() -> None:
    """For child processes started from now on, unless the variable is set already."""
    os.environ.setdefault(*GIVEN_BACK)


@contextmanager
def small_stacks() -> Iterator[None]:
    """Processes started in this block give their threads small stacks. Stacks count as allocated,
    and librdkafka has a thread for each broker.
    """
    own, most = resource.getrlimit(resource.RLIMIT_STACK)
    resource.setrlimit(resource.RLIMIT_STACK, (STACK, most))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_STACK, (own, most))


class MemoryLimit:
    """Limits allocations to LIMIT_MB in total. Beyond that Python raises MemoryError, and a library
    in C aborts the process, so the machine and its other processes are safe.

    The system counts allocated memory, not used memory, so the limit is renewed again and again.
    What is allocated and not used yet may be used at any moment: it counts as used, except for the
    stacks of threads, and for what was so at the beginning.
    """

    def __init__(self) -> None:
        self._begun = False
        self._next = 0.0
        # Bytes that were allocated and not used at the beginning, without the stacks.
        self._spare: int | None = None
        _, most = resource.getrlimit(resource.RLIMIT_STACK)
        # The threads keep the small stacks that the parent set; the main thread needs more.
        own = OWN_STACK if most == resource.RLIM_INFINITY else min(OWN_STACK, most)
        resource.setrlimit(resource.RLIMIT_STACK, (own, most))

    def begin(self) -> None:
        """Limit from now on. Before that nothing is unpacked, but threads are started."""
        self._begun, self._next = True, 0.0
        self.renew()

    def renew(self) -> None:
        """Set the limit again if it is due."""
        now = time.monotonic()
        if not self._begun or now < self._next or not PAGES.exists():
            return
        self._next = now + LOOK_S
        pages = PAGES.read_text().split()
        used, asked = int(pages[1]) * PAGE, int(pages[5]) * PAGE
        # What is shared are files: they are used without being asked for.
        own = used - int(pages[2]) * PAGE
        unused = asked - own - len(list(THREADS.iterdir())) * STACK
        if self._spare is None:
            self._spare = unused
        used += max(0, unused - self._spare)
        limit = asked + max(LEAST_MB * MB, LIMIT_MB * MB - used)
        _, most = resource.getrlimit(resource.RLIMIT_DATA)
        if most != resource.RLIM_INFINITY:
            limit = min(limit, most)
        resource.setrlimit(resource.RLIMIT_DATA, (limit, most))

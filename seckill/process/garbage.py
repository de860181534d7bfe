"""Python's garbage collector, for processes that handle millions of short-lived objects.

By default it runs once per 700 new objects: six times while one batch is read, for half of the
reading time. None of these objects is part of a cycle, so reference counting alone frees them.
"""

import gc

# New objects before a collection. Several batches are in memory at once.
OBJECTS = 100_000


def rarely() -> None:
    """Collect rarely from now on, and never scan what exists already (modules, settings)."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(OBJECTS, 10, 10)

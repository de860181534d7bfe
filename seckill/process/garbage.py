"""Python's garbage collector in processes that pass millions of short-lived objects on.

Its first generation fills with every 700 of them, so that it would look through a batch's messages
six times while it is read: half the time of reading. None of them is part of a cycle: they are
freed when they are let go, collector or not.
"""

import gc

# Objects that must outlive a batch before it looks: a few batches are in memory at once.
OBJECTS = 100_000


def rarely() -> None:
    """From now on look rarely, and never through what is there already (modules, settings)."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(OBJECTS, 10, 10)

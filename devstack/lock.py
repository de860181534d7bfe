"""A lock, so that only one devstack command at a time works on a folder."""

import contextlib
import fcntl
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from devstack.endpoints import DevstackError

# Seconds to wait for another command: it may be fetching jars, or waiting for a slow start.
LIMIT_S = 180.0
LOOK_S = 0.05


@contextlib.contextmanager
def folder_lock(folder: Path, say: Callable[[str], None]) -> Iterator[int]:
    """Hold the folder's lock; yields its file descriptor. Raises DevstackError after LIMIT_S.

    A helper that inherits the descriptor holds the lock too, until it ends.
    """
    path = folder / "lock"
    limit = time.monotonic() + LIMIT_S
    told = False
    while True:
        try:
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
        except OSError as wrong:
            raise DevstackError(f"{path} cannot be opened: {wrong.strerror}.") from None
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            # The last holder may have removed the folder, and another command created it again.
            if path.exists() and os.path.samestat(os.fstat(descriptor), path.stat()):
                break
        except BlockingIOError:
            if not told:
                say("another devstack command works on this folder: waiting for it")
                told = True
        os.close(descriptor)
        if time.monotonic() > limit:
            raise DevstackError(
                f"another devstack command has worked on {folder} for more than {LIMIT_S:.0f} s: "
                "look for it, end it, and try again."
            )
        time.sleep(LOOK_S)
    try:
        yield descriptor
    finally:
        os.close(descriptor)

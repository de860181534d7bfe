"""One `run_sale` at a time on a folder of services: a second would reset the stock of the first.

Owns the mark of the running sale: a file that its process holds locked. The kernel lets go of it
when the process ends, however it ends.
"""

import contextlib
import fcntl
import json
import os
from collections.abc import Iterator
from pathlib import Path

from devstack.endpoints import DevstackError

MARK = "sale.lock"


class SaleRuns(Exception):
    """Another process plays a sale on these services. The message names it."""


@contextlib.contextmanager
def alone(folder: Path, address: str) -> Iterator[None]:
    """Hold the folder's mark, with this process and its address for people in it.

    The folder must exist. Raises SaleRuns, and DevstackError if the mark cannot be written.
    """
    path = folder / MARK
    try:
        mark = os.fdopen(os.open(path, os.O_RDWR | os.O_CREAT, 0o600), "r+", encoding="utf-8")
    except OSError as wrong:
        raise DevstackError(f"{path} cannot be opened: {wrong.strerror}.") from None
    with mark:
        try:
            fcntl.flock(mark, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise SaleRuns(_told(mark.read())) from None
        mark.truncate(0)
        json.dump({"pid": os.getpid(), "address": address}, mark)
        mark.flush()
        yield


def _told(content: str) -> str:
    try:
        found = json.loads(content)
        who = f"process {found['pid']}, {found['address']}"
        end = f"Ctrl-C there or `kill {found['pid']}`"
    except (ValueError, KeyError, TypeError):
        # It has just begun, and writes its mark now.
        who, end = "it is just starting", "Ctrl-C there"
    return (
        f"a sale runs here already ({who}). Nothing was changed. End it with {end}, or play this "
        "one in another copy of the project"
    )

"""Watchers: each stops the services of one owner when that owner is gone.

This works even after kill -9, when the owner cannot stop them itself. A watcher is a separate
process, `python -m devstack.watcher FOLDER PID BIRTH`, in its own session, so that what ends the
owner does not end the watcher. Owns the start and the end of watchers.
"""

import os
import signal
import sys
from pathlib import Path

from devstack.process import Process, end
from devstack.spawn import Command, Record, environment_with_devstack, start_detached

STOP_PLAN = ((signal.SIGTERM, 5.0), (signal.SIGKILL, 5.0))


def start_watcher(folder: Path, owner: Process, lock: int) -> None:
    """Watch an owner from now on. Call this before anything is started for it."""
    file = folder / f"watch-{owner.pid}.json"
    found = Record.read(file)
    if found is not None and found.process.alive() and found.owner == owner:
        return
    command = Command(
        [sys.executable, "-m", "devstack.watcher", str(folder), str(owner.pid), owner.birth],
        Path("/"),
        environment_with_devstack(),
    )
    start_detached(command, folder / "watch.log", file, port=None, owner=owner, lock=lock)


def stop_watchers(folder: Path, owner: Process | None) -> None:
    """End the watcher of an owner; None means all watchers."""
    for file in folder.glob("watch-*.json"):
        record = Record.read(file)
        if record is None or (owner is not None and record.owner != owner):
            continue
        # The watcher itself calls this when its owner is gone.
        if record.process.pid != os.getpid():
            end(record.process, STOP_PLAN)
        file.unlink(missing_ok=True)

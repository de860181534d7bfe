"""Watchers: each stops what runs for one owner when that owner is gone.

However the owner ended: kill -9 leaves it no time to do it itself. A watcher is a process of its
own, `python -m devstack.watch FOLDER PID BIRTH`, in a session of its own, so that what ends the
owner does not end the watcher. Owns nothing but the wait.
"""

import os
import signal
import sys
import time
from pathlib import Path

from devstack.endpoints import DevstackError
from devstack.process import Process, end
from devstack.spawn import Command, Record, environment_with_devstack, start_detached

# Seconds between two looks at the owner.
LOOK_S = 0.25
STOP_PLAN = ((signal.SIGTERM, 5.0), (signal.SIGKILL, 5.0))


def start_watcher(folder: Path, owner: Process, lock: int) -> None:
    """Watch over an owner from now on: to be called before anything is started for it."""
    file = folder / f"watch-{owner.pid}.json"
    found = Record.read(file)
    if found is not None and found.process.alive() and found.owner == owner:
        return
    command = Command(
        [sys.executable, "-m", "devstack.watch", str(folder), str(owner.pid), owner.birth],
        Path("/"),
        environment_with_devstack(),
    )
    start_detached(command, folder / "watch.log", file, port=None, owner=owner, lock=lock)


def stop_watchers(folder: Path, owner: Process | None) -> None:
    """End the watcher of an owner, with None all of them."""
    for file in folder.glob("watch-*.json"):
        record = Record.read(file)
        if record is None or (owner is not None and record.owner != owner):
            continue
        # The watcher itself comes here when its owner is gone.
        if record.process.pid != os.getpid():
            end(record.process, STOP_PLAN)
        file.unlink(missing_ok=True)


def main() -> None:
    """Wait for the owner's end, then stop its services."""
    folder, owner = Path(sys.argv[1]), Process(int(sys.argv[2]), sys.argv[3])
    while owner.alive():
        time.sleep(LOOK_S)
    from devstack.stack import Stack

    try:
        Stack(folder).down(print, owner=owner)
    except DevstackError as wrong:
        # Goes to watch.log: there is nobody left to tell.
        sys.exit(f"devstack.watch: {wrong}")


if __name__ == "__main__":
    main()

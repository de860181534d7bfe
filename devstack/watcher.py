"""The watcher process: `python -m devstack.watcher FOLDER PID BIRTH` waits for the owner's end."""

import sys
import time
from pathlib import Path

from devstack.endpoints import DevstackError
from devstack.process import Process
from devstack.stack import Stack

# Seconds between two checks of the owner.
LOOK_S = 0.25


def main() -> None:
    """Wait for the owner's end, then stop its services."""
    folder, owner = Path(sys.argv[1]), Process(int(sys.argv[2]), sys.argv[3])
    while owner.alive():
        time.sleep(LOOK_S)
    try:
        Stack(folder).down(print, owner=owner)
    except DevstackError as wrong:
        # Goes to watch.log, since the owner is gone.
        sys.exit(f"devstack.watcher: {wrong}")


if __name__ == "__main__":
    main()

"""`python -m devstack.launch JOB`: starts one server in its own session and exits.

Afterwards the server is a child of init. The job is the JSON that `devstack.spawn.start_detached`
writes.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

from devstack.process import Process, process_of
from devstack.spawn import Record


def main() -> None:
    """Start the job's program and write its process file; exit 1 with one line if that fails."""
    job = json.loads(sys.argv[1])
    # No other user may read data, logs and sockets of the servers.
    os.umask(0o077)
    try:
        with Path(job["log"]).open("ab", buffering=0) as log:
            server = subprocess.Popen(
                job["argv"],
                cwd=job["cwd"],
                env=job["env"],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                **job["account"],
            )
    except OSError as wrong:
        sys.exit(str(wrong))
    process = process_of(server.pid)
    if process is None:
        # It has already ended. No process has an empty birth, so the record reads as dead.
        process = Process(server.pid, "")
    owner = job["owner"]
    Record(process, job["port"], None if owner is None else Process(**owner)).write(
        Path(job["record"])
    )
    sys.stdout.flush()
    # Exit without waiting for the child, and without a warning that it still runs.
    os._exit(0)


if __name__ == "__main__":
    main()

"""Services that people run in the place of the embedded ones: a Redis, a pgbouncer.

`make test-services` runs a part of the suite with them. Nothing here needs the suite's fixtures.
"""

import os
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

from devstack import valkey
from devstack.endpoints import HOST
from devstack.state import listens

START_S = 60


def use_redis_server(binary: Path) -> None:
    """From here on this process's Valkeys are Redis servers."""
    valkey.valkey_binary = lambda: binary
    valkey.Valkey.program = binary.name


PGBOUNCER = """\
[databases]
* = host={host} port={port} user={user} password={password}
[pgbouncer]
listen_addr = {host}
listen_port = {listen}
unix_socket_dir =
auth_type = any
pool_mode = transaction
ignore_startup_parameters = extra_float_digits
"""


@contextmanager
def pgbouncer(binary: Path, folder: Path, dsn: str) -> Iterator[int]:
    """The port of a pgbouncer in transaction mode before this PostgreSQL; ends with the block."""
    target = urlsplit(dsn)
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        port = int(probe.getsockname()[1])
    (folder / "pgbouncer.ini").write_text(
        PGBOUNCER.format(
            host=target.hostname,
            port=target.port,
            user=target.username,
            password=target.password,
            listen=port,
        )
    )
    # It does not run as root.
    user = ["-u", "nobody"] if os.getuid() == 0 else []
    with (folder / "pgbouncer.log").open("w") as log:
        server = subprocess.Popen(
            [str(binary), *user, "pgbouncer.ini"], cwd=folder, stdout=log, stderr=log
        )
    try:
        deadline = time.monotonic() + START_S
        while not listens(port):
            if server.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError((folder / "pgbouncer.log").read_text())
            time.sleep(0.05)
        yield port
    finally:
        server.kill()
        server.wait()

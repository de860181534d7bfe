"""Further servers for tests: a Valkey of one's own, a replica that is promoted."""

import contextlib
import socket
import subprocess
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import redis

from devstack import valkey
from devstack.endpoints import HOST
from seckill.lane.client import connect
from tests.conftest import wait_until


class OwnValkey:
    """A Valkey in a folder of its own, which can be killed and started again with its data."""

    def __init__(self, home: Path, url: str) -> None:
        self.home, self.url = home, url
        self._server: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it, and wait until it answers."""
        with (self.home / "log").open("a") as log:
            self._server = subprocess.Popen(
                [str(valkey.valkey_binary()), "valkey.conf"], cwd=self.home, stdout=log, stderr=log
            )
        with connect(self.url) as client:
            wait_until(lambda: _answers(client), 30, "Valkey answers")

    def kill(self) -> None:
        """As kill -9."""
        if self._server is not None:
            self._server.kill()
            self._server.wait()


@contextmanager
def valkey_to_kill(folder: Path, *, replica_of: str | None = None) -> Iterator[OwnValkey]:
    """A Valkey that ends with the block; `replica_of` another one's URL."""
    home, port, password = folder / uuid.uuid4().hex, free_port(), uuid.uuid4().hex
    home.mkdir()
    lines = [f"bind {HOST}", f"port {port}", "appendonly yes", "appendfsync always", 'save ""']
    if replica_of is not None:
        master = connect(replica_of).get_connection_kwargs()
        password = master["password"]
        lines += [f"replicaof {master['host']} {master['port']}", f"masterauth {password}"]
    lines += [f"requirepass {password}", "repl-diskless-sync-delay 0"]
    (home / "valkey.conf").write_text("\n".join(lines) + "\n")
    server = OwnValkey(home, f"redis://:{password}@{HOST}:{port}/0")
    try:
        server.start()
        if replica_of is not None:
            with connect(server.url) as client:
                wait_until(lambda: is_synced(client), 30, "the replica has all of it")
        yield server
    finally:
        server.kill()


@contextmanager
def own_valkey(folder: Path, *, replica_of: str | None = None) -> Iterator[str]:
    """The URL of such a Valkey."""
    with valkey_to_kill(folder, replica_of=replica_of) as server:
        yield server.url


def free_port() -> int:
    """A port of the loopback address that nobody listens on."""
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        return int(probe.getsockname()[1])


def _answers(client: "redis.Redis") -> bool:
    with contextlib.suppress(redis.RedisError):
        return bool(client.ping())
    return False


def is_synced(replica: "redis.Redis") -> bool:
    """Whether its master has nothing that it has not."""
    return replica.info("replication").get("master_link_status") == "up"  # type: ignore[union-attr]


def promote(replica: "redis.Redis") -> None:
    """What Sentinel does with one after a master was lost to it."""
    replica.execute_command("REPLICAOF", "NO", "ONE")

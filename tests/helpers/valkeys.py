"""Valkeys that are more than one server: a cluster, and a master with its Sentinel."""

import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import redis
from redis.crc import key_slot

from devstack.endpoints import HOST
from devstack.state import free_port
from devstack.valkey import valkey_binary
from seckill.lane.keys import DEFAULT_LIST
from tests.conftest import wait_until

PASSWORD = "the password of the tests"
QUOTED = PASSWORD.replace(" ", "%20")
SLOT, SLOTS = key_slot(DEFAULT_LIST.encode()), 16_384
SOON_S = 60.0
CONFIGURATION = """\
bind {host}
port {port}
dir {folder}
requirepass "{password}"
masterauth "{password}"
appendonly yes
appendfsync always
maxmemory-policy noeviction
save ""
repl-diskless-sync-delay 0
"""
CLUSTER = """\
cluster-enabled yes
cluster-port {bus}
cluster-node-timeout 2000
"""
SENTINEL = """\
bind {host}
port {port}
dir {folder}
sentinel monitor sale {host} {master} 1
sentinel auth-pass sale "{password}"
sentinel down-after-milliseconds sale 1000
sentinel failover-timeout sale 3000
"""


@dataclass
class Node:
    """A running server."""

    port: int
    process: "subprocess.Popen[bytes]"
    bus: int = 0
    client: "redis.Redis" = field(init=False)

    def __post_init__(self) -> None:
        self.client = redis.Redis(host=HOST, port=self.port, password=PASSWORD)
        wait_until(self._answers, SOON_S, "a Valkey answers")

    def _answers(self) -> bool:
        assert self.process.poll() is None
        try:
            return bool(self.client.ping())
        except redis.ConnectionError:
            return False

    def ask(self, *words: Any) -> Any:
        """A command, without redis-py's reading of its answer."""
        return self.client.execute_command(*words)

    def says(self, name: str) -> Any:
        """A field of INFO replication."""
        return self.client.info("replication").get(name)

    def kill(self) -> None:
        """kill -9."""
        self.process.kill()
        self.process.wait()


def _node(folder: Path, ends: ExitStack, configuration: str, **values: Any) -> Node:
    ports: list[int] = []
    for _ in range(2):
        ports.append(free_port(ports))
    home = folder / str(ports[0])
    home.mkdir()
    port, bus = ports
    text = configuration.format(
        host=HOST, port=port, bus=bus, folder=home, password=PASSWORD, **values
    )
    (home / "valkey.conf").write_text(text)
    words = ["--sentinel"] if "sentinel monitor" in text else []
    log = ends.enter_context((home / "log").open("wb"))
    process = subprocess.Popen(
        [valkey_binary(), home / "valkey.conf", *words], stdout=log, stderr=log
    )
    ends.callback(process.wait)
    ends.callback(process.kill)
    if words:
        # A Sentinel has no password here.
        node = Node.__new__(Node)
        node.port, node.process, node.bus = port, process, bus
        return node
    node = Node(port, process, bus)
    ends.callback(node.client.close)
    return node


class Cluster:
    """Three masters, which a vote needs; that of the lane's slot has a replica."""

    def __init__(self, folder: Path, ends: ExitStack) -> None:
        self.nodes = [_node(folder, ends, CONFIGURATION + CLUSTER) for _ in range(4)]
        self.master, self.other, third, self.replica = self.nodes
        # More than one slot each: a master whose last one moves becomes a replica.
        self.other.ask("CLUSTER", "ADDSLOTSRANGE", 0, SLOT - 100)
        self.master.ask("CLUSTER", "ADDSLOTSRANGE", SLOT - 99, SLOT)
        third.ask("CLUSTER", "ADDSLOTSRANGE", SLOT + 1, SLOTS - 1)
        for node in self.nodes[1:]:
            self.master.ask("CLUSTER", "MEET", HOST, node.port, node.bus)
        wait_until(lambda: all(map(self._knows_all, self.nodes)), SOON_S, "all know each other")
        self.replica.ask("CLUSTER", "REPLICATE", self.id_of(self.master))
        wait_until(
            lambda: self.replica.says("master_link_status") == "up", SOON_S, "the replica follows"
        )
        wait_until(lambda: all(map(self._is_ok, self.nodes)), SOON_S, "the cluster is well")
        # The dead are asked too, and the one that has the slot comes last.
        hosts = ",".join(f"{HOST}:{node.port}" for node in (self.other, self.replica, self.master))
        self.url = f"redis+cluster://:{QUOTED}@{hosts}"

    @staticmethod
    def id_of(node: Node) -> str:
        """As the cluster names it."""
        return str(node.ask("CLUSTER", "MYID").decode())

    def move_slot(self) -> None:
        """The lane's slot from its master to the other one, key by key, while it is in use."""
        old, new = self.master, self.other
        new.ask("CLUSTER", "SETSLOT", SLOT, "IMPORTING", self.id_of(old))
        old.ask("CLUSTER", "SETSLOT", SLOT, "MIGRATING", self.id_of(new))
        while keys := old.client.execute_command("CLUSTER GETKEYSINSLOT", SLOT, 3):
            old.ask("MIGRATE", HOST, new.port, "", 0, 30_000, "AUTH", PASSWORD, "KEYS", *keys)
        for node in (new, old):
            node.ask("CLUSTER", "SETSLOT", SLOT, "NODE", self.id_of(new))
        self.master, self.other = new, old

    def fail_over(self) -> None:
        """The lane's master is killed; its replica takes over by itself."""
        self.master.kill()
        wait_until(lambda: self.replica.says("role") == "master", SOON_S, "the replica takes over")
        self.master, self.replica = self.replica, self.master

    def _knows_all(self, node: Node) -> bool:
        lines = node.ask("CLUSTER", "NODES").decode().splitlines()
        return len(lines) == len(self.nodes) and all("handshake" not in line for line in lines)

    @staticmethod
    def _is_ok(node: Node) -> bool:
        return b"cluster_state:ok" in node.ask("CLUSTER", "INFO")


class Watched:
    """A master, its replica, and a Sentinel."""

    def __init__(self, folder: Path, ends: ExitStack) -> None:
        self.master = _node(folder, ends, CONFIGURATION)
        self.replica = _node(folder, ends, CONFIGURATION)
        self.replica.ask("REPLICAOF", HOST, self.master.port)
        wait_until(
            lambda: self.replica.says("master_link_status") == "up", SOON_S, "the replica follows"
        )
        sentinel = _node(folder, ends, SENTINEL, master=self.master.port)
        self.url = f"redis+sentinel://:{QUOTED}@{HOST}:{sentinel.port}/sale/0"
        with redis.Redis(host=HOST, port=sentinel.port) as asked:
            wait_until(lambda: _knows_replica(asked), SOON_S, "the Sentinel knows the replica")

    def fail_over(self) -> None:
        """The master is killed; the Sentinel makes its replica the master."""
        self.master.kill()
        wait_until(lambda: self.replica.says("role") == "master", SOON_S, "the replica takes over")
        self.master, self.replica = self.replica, self.master


def _knows_replica(sentinel: "redis.Redis") -> bool:
    try:
        return bool(sentinel.sentinel_slaves("sale"))
    except redis.RedisError:
        return False


@contextmanager
def cluster(folder: Path) -> Iterator[Cluster]:
    """A cluster that ends with the block."""
    with ExitStack() as ends:
        yield Cluster(folder, ends)


@contextmanager
def watched(folder: Path) -> Iterator[Watched]:
    """A master behind a Sentinel that ends with the block."""
    with ExitStack() as ends:
        yield Watched(folder, ends)

"""Valkeys that are more than one server: a cluster, and a master with its Sentinel."""

import os
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import redis

from devstack.endpoints import HOST
from devstack.stack import Stack
from devstack.state import State, free_port
from devstack.valkey import valkey_binary
from tests.conftest import wait_until

PASSWORD = "the password of the tests"
QUOTED = PASSWORD.replace(" ", "%20")
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
    port = free_port(())
    home = folder / str(port)
    home.mkdir()
    text = configuration.format(host=HOST, port=port, folder=home, password=PASSWORD, **values)
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
        node.port, node.process = port, process
        return node
    node = Node(port, process)
    ends.callback(node.client.close)
    return node


class Cluster:
    """The embedded cluster of three masters, which a vote needs, with a replica each."""

    def __init__(self, stack: Stack, ends: ExitStack) -> None:
        self.stack = stack
        endpoints = stack.up(owner_pid=os.getpid(), masters=3, replicas=1)
        # The sale's other services are the session's.
        for service in ("kafka", "postgres"):
            stack.stop(service)
        self.url = endpoints.redis_url
        state = State.load(stack.folder)
        assert state is not None
        self.ports = {name: state.ports[name] for name in state.valkeys()}
        self._password = state.passwords["valkey"]
        self.clients = {
            name: ends.enter_context(redis.Redis(host=HOST, port=port, password=self._password))
            for name, port in self.ports.items()
        }
        self.dead: set[str] = set()

    def living(self) -> dict[str, "redis.Redis"]:
        """{name: its client} of the servers that run."""
        return {name: client for name, client in self.clients.items() if name not in self.dead}

    def masters(self) -> list[str]:
        """Who has slots, of those that run."""
        return [
            name
            for name, client in self.living().items()
            if client.info("replication")["role"] == "master"  # type: ignore[index]
        ]

    def owner(self, slot: int) -> str:
        """The master of this slot."""
        for name in self.masters():
            for first, last, master, *_ in self.clients[name].execute_command("CLUSTER SLOTS"):
                if first <= slot <= last and master[1] == self.ports[name]:
                    return name
        raise AssertionError(f"nobody has slot {slot}")

    def move_slot(self, slot: int) -> None:
        """From its master to another one, key by key, while it is in use."""
        old = self.owner(slot)
        new = next(name for name in self.masters() if name != old)
        ids = {name: self._ask(name, "CLUSTER", "MYID").decode() for name in (old, new)}
        self._ask(new, "CLUSTER", "SETSLOT", slot, "IMPORTING", ids[old])
        self._ask(old, "CLUSTER", "SETSLOT", slot, "MIGRATING", ids[new])
        while keys := self._ask(old, "CLUSTER GETKEYSINSLOT", slot, 3):
            to = (HOST, self.ports[new], "", 0, 30_000, "AUTH", self._password, "KEYS")
            self._ask(old, "MIGRATE", *to, *keys)
        for name in (new, old):
            self._ask(name, "CLUSTER", "SETSLOT", slot, "NODE", ids[new])

    def fail_over(self, slot: int) -> None:
        """The slot's master is killed; its replica takes over by itself."""
        master = self.owner(slot)
        replica = next(
            name
            for name, client in self.living().items()
            if client.info("replication").get("master_port") == self.ports[master]  # type: ignore[union-attr]
        )
        self.stack.kill(master)
        self.dead.add(master)
        wait_until(lambda: replica in self.masters(), SOON_S, "the replica takes over")

    def _ask(self, name: str, *words: Any) -> Any:
        """A command, without redis-py's reading of its answer."""
        return self.clients[name].execute_command(*words)


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
    stack = Stack(folder / "cluster")
    with ExitStack() as ends:
        ends.callback(stack.remove)
        yield Cluster(stack, ends)


@contextmanager
def watched(folder: Path) -> Iterator[Watched]:
    """A master behind a Sentinel that ends with the block."""
    with ExitStack() as ends:
        yield Watched(folder, ends)

"""Makes a cluster of a folder's Valkeys: who knows whom, who has which slots, who follows whom.

Owns the servers' own file of the cluster's members only as far as addresses go: ports may be other
ones at the next start, and those in a copied folder are the original's.
"""

import re
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import redis

from devstack.endpoints import HOST, DevstackError
from devstack.service import Say, Service
from devstack.state import State, write_private

VALKEY = "valkey"
# The port by which the servers know each other, behind a server's name.
BUS = "_bus"
SLOTS = 16_384
# A server that is silent for so long is voted on.
NODE_TIMEOUT_MS = 2_000
LOOK_S = 0.05
# The members, as each server writes them down beside its data: id, address, flags.
MEMBERS = "nodes.conf"
MEMBER = re.compile(r"^([0-9a-f]{40}) \S*?:\d+@\d+", re.MULTILINE)
MYSELF = re.compile(r"^([0-9a-f]{40}) \S+ myself", re.MULTILINE)


def settle_cluster(state: State, silent: Sequence[Service], fixed: Mapping[str, int]) -> None:
    """Choose the ports of servers that do not run, before the first of them starts."""
    for service in silent:
        if service.name in state.valkeys():
            service.choose_ports(fixed.get(service.name))


def readdress(folder: Path, state: State, name: str) -> None:
    """Have the server of this name know the others, and itself, by the ports that they have now.

    It must not run. Without it a copy of a folder would join the original.
    """
    names = {}
    for each in state.valkeys():
        if found := MYSELF.search(_members(folder, each)):
            names[found[1]] = each

    def current(member: re.Match[str]) -> str:
        known = names.get(member[1])
        if known is None:
            return member[0]
        return f"{member[1]} {HOST}:{state.ports[known]}@{state.ports[known + BUS]}"

    if text := _members(folder, name):
        write_private(folder / name / "data" / MEMBERS, MEMBER.sub(current, text))


def form_cluster(state: State, say: Say, wait_s: float) -> None:
    """Make the cluster if it is not made yet, and wait until it is well. May be repeated.

    Raises DevstackError.
    """
    with ExitStack() as ends:
        words: dict[str, Any] = {"password": state.passwords[VALKEY], "decode_responses": True}
        servers = [
            ends.enter_context(redis.Redis(HOST, state.ports[name], socket_timeout=wait_s, **words))
            for name in state.valkeys()
        ]
        limit = time.monotonic() + wait_s

        def until(done: Callable[[], bool], what: str) -> None:
            while not done():
                if time.monotonic() > limit:
                    raise DevstackError(f"{VALKEY}: {what} did not happen in {wait_s:.0f} s.")
                time.sleep(LOOK_S)

        try:
            if _facts(servers[0])["cluster_slots_assigned"] != str(SLOTS):
                say(f"{VALKEY}: making a cluster of {state.masters} masters")
                _form(servers, state, until)
            until(lambda: all(map(_is_well, servers)), "a cluster that is well")
        except redis.RedisError as wrong:
            raise DevstackError(f"{VALKEY}: no cluster could be made: {wrong}") from None


def _form(
    servers: Sequence["redis.Redis"], state: State, until: Callable[[Callable[[], bool], str], None]
) -> None:
    """Introduce them, set the replicas, and share out the slots: last, because it is the sign that
    all is done.
    """
    for name in state.valkeys()[1:]:
        _ask(servers[0], "CLUSTER", "MEET", HOST, state.ports[name], state.ports[name + BUS])
    until(lambda: all(_knows(server, len(servers)) for server in servers), "an introduction")
    ids = [_ask(server, "CLUSTER", "MYID") for server in servers]
    masters = servers[: state.masters]
    for number, replica in enumerate(servers[state.masters :]):
        _ask(replica, "CLUSTER", "REPLICATE", ids[number % state.masters])
    for number, server in enumerate(masters):
        first = SLOTS * number // state.masters
        last = SLOTS * (number + 1) // state.masters - 1
        if f" {first}-{last}" not in _ask(server, "CLUSTER", "NODES"):
            _ask(server, "CLUSTER", "ADDSLOTSRANGE", first, last)


def _knows(server: "redis.Redis", number: int) -> bool:
    lines = _ask(server, "CLUSTER", "NODES").splitlines()
    return len(lines) == number and all("handshake" not in line for line in lines)


def _is_well(server: "redis.Redis") -> bool:
    """It knows an owner of each slot, and a replica follows its master."""
    facts = _facts(server)
    if (facts["cluster_state"], facts["cluster_slots_ok"]) != ("ok", str(SLOTS)):
        return False
    following: Any = server.info("replication")
    return following["role"] == "master" or following["master_link_status"] == "up"


def _facts(server: "redis.Redis") -> dict[str, str]:
    lines = _ask(server, "CLUSTER", "INFO").splitlines()
    return dict(line.split(":", 1) for line in lines if line)


def _ask(server: "redis.Redis", *words: str | int) -> str:
    """A command, without redis-py's reading of its answer."""
    return str(server.execute_command(*words))


def _members(folder: Path, name: str) -> str:
    """What the server of this name knows of the members; "" before its first start."""
    try:
        return (folder / name / "data" / MEMBERS).read_text(encoding="utf-8")
    except FileNotFoundError:
        return ""

"""A folder whose Valkey is a secured cluster: who may ask it, what `devstack` says, and that it
outlives ports, deaths and copies.
"""

import os
import re
import shutil
from collections.abc import Iterator
from io import StringIO
from pathlib import Path

import pytest
import redis
from django.core.management import call_command

from devstack.endpoints import HOST, DevstackError, Endpoints
from devstack.stack import Stack
from devstack.state import State
from seckill.formats.redis_address import for_key
from seckill.lane.client import connect
from seckill.lane.keys import Lane
from seckill.lane.pools import server_of
from seckill.monitoring import fitness
from seckill.monitoring.fitness import Unfit, check_redis
from tests.conftest import wait_until

MASTERS, REPLICAS = 3, 1
OTHERS = ("kafka", "postgres")


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    stack = Stack(tmp_path_factory.mktemp("own"))
    stack.up(owner_pid=os.getpid(), secured=True, masters=MASTERS, replicas=REPLICAS)
    for name in OTHERS:
        stack.stop(name)
    yield stack
    stack.remove()


@pytest.fixture(scope="module")
def addresses(own: Stack) -> Endpoints:
    found = own.endpoints()
    assert found is not None
    return found


def roles(stack: Stack) -> list[str]:
    """What `devstack status` says of each Valkey that is up, without its version."""
    found = {each.name: each for each in stack.status() if each.state == "up"}
    return [found[name].detail.rpartition(", ")[2] for name in names(stack) if name in found]


def names(stack: Stack) -> tuple[str, ...]:
    state = State.load(stack.folder)
    assert state is not None
    return state.valkeys()


def ports(stack: Stack) -> dict[str, int]:
    state = State.load(stack.folder)
    assert state is not None
    return {name: state.ports[name] for name in state.valkeys()}


def known_ports(stack: Stack) -> set[int]:
    """The ports of all members that any server of the stack knows."""
    state, found = State.load(stack.folder), set()
    assert state is not None
    for port in ports(stack).values():
        with redis.Redis(HOST, port, password=state.passwords["valkey"]) as client:
            nodes: bytes = client.execute_command("CLUSTER", "NODES")  # type: ignore[assignment]
        found |= {int(port) for port in re.findall(rb":(\d+)@", nodes)}
    return found


def home(url: str, lane: Lane) -> tuple[str, bytes | None]:
    """The server of a lane, and what it keeps at the lane's key for the audit."""
    with connect(for_key(url, lane.list)) as client:
        return server_of(client), client.get(lane.audit_turn)  # type: ignore[return-value]


def test_the_application_finds_its_lane_with_its_own_rights(
    own: Stack, addresses: Endpoints
) -> None:
    assert addresses.redis_url.startswith("redis+cluster://seckill:")
    assert roles(own) == ["master"] * MASTERS + ["replica"] * MASTERS
    with connect(addresses.redis_url) as client:
        client.set(Lane().audit_turn, b"a mark")
    state = State.load(own.folder)
    assert state is not None
    # The last third of the slots.
    assert home(addresses.redis_url, Lane()) == (f"{HOST}:{state.ports['valkey-3']}", b"a mark")


def test_its_version_is_checked_where_the_lane_is(
    addresses: Endpoints, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And its rights: north's list is not this user's."""
    with connect(addresses.redis_url) as client:
        check_redis(client, Lane(), print)
        monkeypatch.setattr(fitness, "VALKEY_SINCE", (99, 0))
        with pytest.raises(Unfit, match=r"Valkey [0-9.]+ is too old .* need Valkey 99.0 or later"):
            check_redis(client, Lane(), print)
    monkeypatch.undo()
    north = Lane.named("north")
    with (
        connect(for_key(addresses.redis_url, north.list)) as client,
        pytest.raises(Unfit, match="this user of Redis lacks rights"),
    ):
        check_redis(client, north, print)


def test_env_names_all_servers_and_no_password(own: Stack) -> None:
    out = StringIO()
    call_command("devstack", "env", "--folder", str(own.folder), stdout=out)
    state = State.load(own.folder)
    assert state is not None
    hosts = ",".join(f"{HOST}:{state.ports[name]}" for name in names(own))
    assert f"export SECKILL_REDIS_URL=redis+cluster://seckill@{hosts}\n" in out.getvalue()


def test_a_folder_stays_as_it_was_made(own: Stack, tmp_path: Path) -> None:
    with pytest.raises(DevstackError, match="a Valkey cluster of 3 masters with 1 replica"):
        own.up(masters=4)
    with pytest.raises(DevstackError, match="--valkey-cluster 3 as well"):
        Stack(tmp_path / "new").up(replicas=1)


def test_a_copy_is_a_cluster_of_its_own(own: Stack, addresses: Endpoints, tmp_path: Path) -> None:
    """With the original's data, and without a word to it."""
    own.down()
    copy = Stack(tmp_path / "copy")
    shutil.copytree(own.folder, copy.folder)
    for stack in (own, copy):
        stack.up(owner_pid=os.getpid())
    try:
        found = copy.endpoints()
        assert found is not None
        of_copy, of_own = home(found.redis_url, Lane()), home(addresses.redis_url, Lane())
        assert of_copy[1] == of_own[1] == b"a mark"
        assert of_copy[0] != of_own[0]
        for stack in (own, copy):
            assert known_ports(stack) == set(ports(stack).values())
        with connect(found.redis_url) as client:
            client.set(Lane().audit_turn, b"the copy's")
        assert home(addresses.redis_url, Lane())[1] == b"a mark"
    finally:
        copy.remove()


def test_a_replica_takes_over_and_the_dead_one_comes_back(own: Stack, addresses: Endpoints) -> None:
    before = home(addresses.redis_url, Lane())
    own.kill("valkey-3")
    wait_until(lambda: roles(own).count("master") == MASTERS, 30, "a replica takes over")
    after = home(addresses.redis_url, Lane())
    assert after[0] != before[0]
    assert after[1] == before[1]
    own.up(owner_pid=os.getpid())
    assert sorted(roles(own)) == ["master"] * MASTERS + ["replica"] * MASTERS
    assert home(addresses.redis_url, Lane()) == after

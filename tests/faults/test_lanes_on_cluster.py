"""Three lanes on the three masters of one cluster: each is where its own slot is, and what happens
to one master or slot stops its lane alone.
"""

import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from seckill.broker.topics import Topics
from seckill.config.sections import Server
from seckill.errors import RedisAway
from seckill.lane.keys import Lane
from seckill.models import Record
from tests.conftest import Manage, wait_until
from tests.faults.command import stop
from tests.faults.lanes import Lanes
from tests.helpers.commands import Ended
from tests.helpers.valkeys import Cluster, cluster

# Their slots are a third of all apart.
NAMES = ("main", "north", "south")
# Lane north sells out, the others do not.
UNITS = {"main": 1_000_000, "north": 2_000, "south": 1_000_000}
# It is told when to stop.
CROWD = {"rate": 300, "requests": 10**9, "users": 10**8, "items": [1001], "quantity": 1}
SOON_S = 60.0


@pytest.fixture
def on_cluster(tmp_path: Path) -> Iterator[Cluster]:
    with cluster(tmp_path) as servers:
        yield servers


@pytest.fixture
def three(
    manage: Manage, server: Server, topics: Topics, on_cluster: Cluster, tmp_path: Path
) -> Iterator[Lanes]:
    server = server.model_copy(update={"redis_url": on_cluster.url})
    with Lanes(manage, server, tmp_path, NAMES[1:], {}, CROWD) as three:
        yield three


def is_home(three: Lanes, on_cluster: Cluster) -> None:
    """Each lane is wholly on the server that `manage.py lanes` names, beside no other."""
    nodes = set()
    for name, row in three.listed().items():
        owner = on_cluster.owner(row["slot"])
        assert row["node"] == f"127.0.0.1:{on_cluster.ports[owner]}"
        assert on_cluster.clients[owner].exists(Lane.named(name).positions)
        nodes.add(row["node"])
    filled = [name for name in on_cluster.masters() if on_cluster.clients[name].dbsize()]
    assert len(filled) == len(nodes)


def went_on(three: Lanes, decided: list[int]) -> bool:
    """All lanes have decided more than so many. One that is fenced is recovered first."""
    try:
        for name in three.names:
            if three.look(name).fence is not None:
                three.run("recover", "--lane", name, "--apply")
        now = three.decided()
    except RedisAway:
        return False
    return all(more > before + 300 for more, before in zip(now, decided, strict=True))


def test_a_master_dies_and_a_slot_moves(three: Lanes, on_cluster: Cluster) -> None:
    for name, units in UNITS.items():
        three.create(name, units)
    before = three.listed()
    assert [row["slot"] * 3 // 16_384 for row in before.values()] == [2, 0, 1]
    workers = [start(name) for name in NAMES for start in (three.consumer, three.log_worker)]
    crowds = [three.load(name) for name in NAMES]
    wait_until(lambda: min(three.decided()) > 300, SOON_S, "all decide")
    is_home(three, on_cluster)
    for fault, name in ((on_cluster.fail_over, "north"), (on_cluster.move_slot, "south")):
        decided = three.decided()
        fault(before[name]["slot"])
        wait_until(lambda n=decided: went_on(three, n), SOON_S, "all lanes sell on")
        is_home(three, on_cluster)
    after = three.listed()
    assert [name for name in NAMES if after[name]["node"] != before[name]["node"]] == [
        *("north", "south")
    ]
    for crowd in crowds:
        crowd.send_signal(signal.SIGTERM)
    for crowd in crowds:
        ended = Ended(crowd)
        assert ended.code == 0, ended.output
    report = three.prove()
    stop(*workers)
    for name in NAMES:
        sold = Record.objects.filter(activity_id=three.activity(name)).count()
        assert sold == report["lanes"][name]["units_sold"]
    assert report["lanes"]["north"]["units_sold"] == UNITS["north"]

"""A fail-over: the master of a lane's slot is killed under load, until the next decision."""

import time

from bench.deciding import EVEN
from bench.figures import Figure
from bench.lanes import beside
from bench.rig import CLIENTS, LIMIT_S, LOOK_S, UNLIMITED, Rig
from devstack.endpoints import DevstackError
from devstack.state import State
from devstack.valkey_cluster import NODE_TIMEOUT_MS, form_cluster
from seckill.errors import RedisAway
from seckill.lane.pools import server_of
from seckill.lane.status import read_lane
from seckill.recovery.rebuild import recover

# Requests/s meanwhile, and how many are decided before the kill.
RATE, BEFORE = 1_000, 1_000
# Seconds beside the cluster's own time-out.
OWN_S = 3.0


def failover(rig: Rig) -> list[Figure]:
    """Seconds from the kill to the next decision; a lane that is fenced is recovered meanwhile."""
    took, fenced = [], 0
    with beside(rig, masters=3, replicas=1) as on_cluster:
        for repeat in range(1, rig.size.repeats + 1):
            rig.say(f"failover: repeat {repeat} of {rig.size.repeats}")
            on_cluster.clean(UNLIMITED)
            topic = f"bench-failover-{repeat}"
            rig.topics.ensure(topic, 4)
            on_cluster.start_consumer(on_cluster.section(topic, CLIENTS[0]))
            load = on_cluster.load(topic, EVEN, 600 * RATE, RATE)
            on_cluster.crew.start("run_loadgen", *load)
            began = time.monotonic()
            while on_cluster.decided() < BEFORE:
                on_cluster.check_time(began, "run_consumer")
                time.sleep(LOOK_S)
            victim = _master(on_cluster)
            killed = time.monotonic()
            on_cluster.stack.kill(victim)
            recovered = _next_decision(on_cluster, topic, killed)
            took.append(time.monotonic() - killed)
            fenced += recovered
            on_cluster.crew.stop()
            on_cluster.audit()
            on_cluster.stack.start(victim)
            state = State.load(on_cluster.stack.folder)
            assert state is not None
            form_cluster(state, rig.say, LIMIT_S)
    note = f"fenced and recovered in {fenced} of {rig.size.repeats}" if fenced else ""
    name, goal = "from the kill of a master to the next decision", OWN_S + NODE_TIMEOUT_MS / 1000
    return [Figure("failover", name, took, "s", goal=goal, most=True, note=note)]


def _master(rig: Rig) -> str:
    """The name of the server that has the lane."""
    port = int(server_of(rig.client).rpartition(":")[2])
    return next(each.name for each in rig.stack.status() if each.port == port)


def _next_decision(rig: Rig, topic: str, killed: float) -> bool:
    """Wait for it, on the server that took over. True if the lane had to be recovered."""
    first, recovered = -1, False
    while True:
        rig.check_time(killed, "run_consumer")
        time.sleep(LOOK_S)
        try:
            lane = read_lane(rig.client, rig.lane)
            if lane.fence is not None and not recovered:
                source, partitions = rig.topics.source(topic) or "", rig.topics.partitions(topic)
                recover(rig.client, rig.lane, source, partitions, "bench", rig.say)
                recovered = True
        except RedisAway:
            continue
        if first < 0:
            first = lane.decided
        elif lane.decided > first and lane.fence is None:
            return recovered
        if time.monotonic() - killed > LIMIT_S:
            raise DevstackError(f"nothing was decided {LIMIT_S:.0f} s after the kill")

"""Settling: confirms from Kafka until they are settled, and unpaid holds until they expire."""

import random
import time
from collections.abc import Callable
from uuid import uuid4

from bench import limits
from bench.deciding import EVEN
from bench.figures import Figure
from bench.rig import CLIENTS, LOOK_S, SEED, UNLIMITED, Rig, Run, rate_of
from devstack.endpoints import DevstackError
from seckill.broker.opening import open_producer
from seckill.formats import settle
from seckill.formats.settle import Result, Settlement
from seckill.lane.held import holds_in
from seckill.lane.keys import Lane
from seckill.lane.settle_status import SettleStatus, read_settle_status

# Holds that a settler process settles, and lets expire, a second.
GOAL = 25_000
PARTITIONS = 4
# Requests for each hold of a run.
SHARE = 5
# Seconds to pay in: nothing expires within a run, and everything before it.
LONG_S, SHORT_S = 86_400, 1
FLUSH_S = 120.0
# Nothing counts as overdue: to count that takes Redis's time.
NEVER_MS = 3_600_000


def settling(rig: Rig) -> list[Figure]:
    """One settler process: confirms of holds in a random order, then holds that nobody pays."""
    found = []
    for name, one_run in (("confirms", _confirms), ("expiry", _expiry)):
        runs: list[Run] = []
        for repeat in range(1, rig.size.repeats + 1):
            rig.say(f"holds, {name}: repeat {repeat} of {rig.size.repeats}")
            runs.append(one_run(rig))
            rig.audit()
        what = "confirms settled" if name == "confirms" else "holds expired"
        found.append(Figure("holds", what, [r.rate for r in runs], "/s", GOAL, busy=runs[-1].busy))
        for process in ("valkey", "settler"):
            micros = [run.busy.get(process, 0.0) / run.rate * 1e6 for run in runs]
            found.append(Figure("holds", f"{name}: CPU of {process} each", micros, "us"))
    return found


def _confirms(rig: Rig) -> Run:
    holds = _hold(rig, LONG_S)
    topic = f"bench-settling-{time.monotonic_ns()}"
    section = rig.section(settle.settle_topic(topic), CLIENTS[0])
    rig.topics.ensure(section.topic, PARTITIONS)
    messages = []
    for name, text in rig.client.hscan_iter(Lane().activity(1).held, count=1_000):
        for hold in holds_in(name, text):
            place = (hold.place.source, hold.place.partition, hold.place.offset)
            messages.append(Settlement(1, hold.user_id, place, Result.PAID, 1, "pi_1"))
    random.Random(SEED).shuffle(messages)
    producer = open_producer(section, section.topic)
    for message in messages:
        producer.send(settle.encode(message), key=settle.key_of(message.user_id))
    if producer.flush(FLUSH_S) or producer.failed:
        raise DevstackError(f"Kafka did not take all confirms: {producer.last_error}")
    producer.close()
    return _measure(rig, topic, holds, lambda status: status.total("paid"))


def _expiry(rig: Rig) -> Run:
    holds = _hold(rig, SHORT_S)
    time.sleep(SHORT_S)
    topic = f"bench-settling-{time.monotonic_ns()}"
    rig.topics.ensure(settle.settle_topic(topic), PARTITIONS)
    return _measure(rig, topic, holds, lambda status: status.total("expired"))


def _hold(rig: Rig, hold_s: int) -> int:
    """A clean sale in which everything is held. Returns the number of holds."""
    rig.clean(UNLIMITED, hold_s=hold_s)
    bodies = rig.bodies(EVEN, rig.size.requests // SHARE)
    return limits.script_alone(rig.server, bodies, str(uuid4()))[2]


def _measure(rig: Rig, topic: str, holds: int, done: Callable[[SettleStatus], int]) -> Run:
    """Let one settler process do all of it."""
    rig.crew.start(
        "run_settler",
        *("run_settler", "--topic", topic, "--group-id", topic, "--kafka-client", CLIENTS[0]),
        *("--status-interval", "3600"),
    )
    looks: list[tuple[float, int]] = []
    with rig.busy() as busy:
        while not looks or looks[-1][1] < holds:
            time.sleep(LOOK_S)
            looks.append((time.monotonic(), done(read_settle_status(rig.client, Lane(), NEVER_MS))))
            if not looks[-1][1]:
                busy.begin()
            rig.check_time(looks[0][0], "run_settler")
        busy.look()
    rig.crew.stop()
    return Run(rate_of(looks), 0.0, busy.cores)

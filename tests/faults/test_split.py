"""One sale over two lanes, whatever dies: consumers, log workers, a Valkey, and who moves units, at
every step of a move. In the end everything is sold, and nothing and nobody twice.
"""

import itertools
import random
import signal
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis
from django.db.models import Sum

from seckill.broker.topics import Topics
from seckill.config.sections import Server
from seckill.control.part_rows import parts_of
from seckill.formats.parts import part_of_user
from seckill.lane.client import connect
from seckill.lane.keys import Lane
from seckill.lane.status import read_lane
from seckill.models import Item, Move, Record
from tests.conftest import Manage, wait_until
from tests.faults.command import Command
from tests.faults.dying_balance import DIED, POINTS
from tests.faults.lanes import Lanes
from tests.helpers.messages import send
from tests.helpers.sale import body
from tests.helpers.servers import OwnValkey, valkey_to_kill

NORTH = Lane.named("north")
HEAD, PART, ITEM = 1, 2, 1001
# Far more buyers in one lane than it has units, few in the other; all together more than units.
UNITS, OF_MAIN, OF_NORTH = 3_000, 500, 2_700


class Crowd(threading.Thread):
    """Everybody asks again and again for one unit, each in the lane that serves them."""

    def __init__(self, server: Server, topics: dict[int, str]) -> None:
        super().__init__(daemon=True)
        self._brokers, self._topics = server.brokers, topics
        mine: dict[int, list[int]] = {0: [], 1: []}
        for user in itertools.count(1):
            part = part_of_user(user, 2)
            if len(mine[part]) < (OF_MAIN, OF_NORTH)[part]:
                mine[part].append(user)
            elif all(len(mine[n]) == most for n, most in ((0, OF_MAIN), (1, OF_NORTH))):
                break
        self._users, self.stopping = mine, threading.Event()
        self.failure: BaseException | None = None

    def run(self) -> None:
        """Wave after wave."""
        try:
            while not self.stopping.wait(0.7):
                for part, activity in ((0, HEAD), (1, PART)):
                    wanted = [body(user, activity_id=activity) for user in self._users[part]]
                    send(self._brokers, self._topics[part], wanted)
        except BaseException as failure:
            self.failure = failure
            raise


@pytest.fixture
def valkey(tmp_path: Path) -> Iterator[OwnValkey]:
    with valkey_to_kill(tmp_path) as server:
        yield server


@pytest.fixture
def two(
    manage: Manage, server: Server, topics: Topics, valkey: OwnValkey, tmp_path: Path
) -> Iterator[Lanes]:
    with Lanes(manage, server, tmp_path, ("north",), {"north": valkey.url}, {}) as two:
        yield two


def units(clients: tuple["redis.Redis", "redis.Redis"], what: str) -> int:
    """Units of both lanes: `left`, or `loaded`."""
    lanes = ((clients[0], Lane(), HEAD), (clients[1], NORTH, PART))
    items = (read_lane(client, lane).activities[n].items[ITEM] for client, lane, n in lanes)
    return sum(getattr(item, what) for item in items)


def killed(command: Command) -> None:
    for process in command.group():
        process.send_signal(signal.SIGKILL)
    command.process.wait()


def test_a_split_sale_sells_everything_once_whatever_dies(
    two: Lanes, valkey: OwnValkey, redis_client: "redis.Redis", rng: random.Random
) -> None:
    two.run("activity", "create", "1", "--stock", f"{ITEM}:{UNITS}", "--user-limit", "1")
    told = two.run("activity", "split", "1", "--lanes", "main,north")
    assert "part 1 of 2: activity 2 in north" in told
    assert [part.pk for part in parts_of(HEAD)] == [HEAD, PART]

    consumers = {name: two.consumer(name) for name in two.names}
    workers = {name: two.log_worker(name) for name in two.names}
    crowd = Crowd(two.server, {0: two.server.topic, 1: two.topics["north"]})
    crowd.start()
    with connect(valkey.url) as north:
        clients = redis_client, north
        wait_until(lambda: units(clients, "left") < UNITS - 600, 90, "both lanes sell")
        # The last one leaves an act that nobody knows of, in the lane whose Valkey is killed next.
        for point in (*rng.sample(POINTS, len(POINTS)), "after the give's script"):
            print(f"balance dies {point}; {units(clients, 'left')} are left")
            dying = two.start("-m", "tests.faults.dying_balance", point, str(HEAD))
            assert dying.ended(90) == DIED, dying.output
            assert units(clients, "loaded") <= UNITS
        # Every kind of worker in either lane, and the Valkey of one, with a move under way.
        killed(consumers["north"])
        consumers["north"] = two.consumer("north")
        killed(workers["main"])
        workers["main"] = two.log_worker("main")
        valkey.kill()
        told = two.run("activity", "balance", str(HEAD))
        assert "waits: lane north, activity 2: Redis is away" in told
        valkey.start()
        balance = two.start("activity", "balance", str(HEAD), "--watch", "0.3")
        balance.wait_for("every part is over", 150)
        assert balance.ended() == 0
        crowd.stopping.set()
        crowd.join(60)
        assert crowd.failure is None
        assert units(clients, "left") == 0

    report = two.prove()
    assert report["units_loaded"] == report["units_sold"] == UNITS
    sold = Record.objects.filter(activity_id__in=(HEAD, PART))
    assert sold.aggregate(units=Sum("quantity"))["units"] == UNITS
    # One unit a user, in whichever lane they asked.
    assert sold.values("user_id").distinct().count() == sold.count() == UNITS
    assert Item.objects.aggregate(units=Sum("allocation"))["units"] == UNITS
    assert not Move.objects.filter(state__in=["planned", "taken"]).exists()
    assert Move.objects.filter(state="given").count() > len(POINTS) // 2
    assert f"sale {HEAD} over main, north: loaded {UNITS:,}" in two.run("audit", "--all")

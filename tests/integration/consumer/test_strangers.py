"""Members of the group that are none of ours: named, with what it means, and a drain says so."""

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import closing

import psutil
import pytest
import redis
from confluent_kafka import Consumer

from seckill.broker.members import Members
from seckill.broker.opening import open_consumer
from seckill.broker.strangers import Strangers
from seckill.broker.topics import Topics
from seckill.config.sections import Server
from seckill.errors import BrokerAway
from seckill.lane.keys import Lane
from seckill.lane.status import read_lane
from seckill.process.exit_codes import OK
from tests.conftest import Manage, wait_until
from tests.helpers.messages import send
from tests.helpers.node import SOON_S
from tests.helpers.sale import body, put_on_sale

LANE = Lane()
# A name that would turn a terminal red.
NAME = "a-ui\x1b[31m"
SHOWN = r"'a-ui\x1b[31m'"


class Stranger:
    """Another program in the group, with commits of its own, until it is closed."""

    def __init__(self, server: Server, protocol: str) -> None:
        options = {
            "bootstrap.servers": server.brokers,
            "group.id": server.group_id,
            "client.id": NAME,
            "group.protocol": protocol,
        }
        if protocol == "classic":
            options["partition.assignment.strategy"] = "range"
        self.consumer = Consumer(options)
        self.consumer.subscribe([server.topic])
        self.partitions: list[int] = []
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self) -> None:
        while not self._ended.is_set():
            self.consumer.poll(1.0)
            self.partitions = sorted(place.partition for place in self.consumer.assignment())
        self.consumer.close()

    def close(self) -> None:
        self._ended.set()
        self._thread.join(120)


@pytest.fixture(params=["classic", "consumer"])
def stranger(
    request: pytest.FixtureRequest, server: Server, topics: Topics
) -> Iterator[Callable[[], Stranger]]:
    """One joins, of either of Kafka's kinds of groups."""
    joined: list[Stranger] = []

    def join() -> Stranger:
        joined.append(Stranger(server, request.param))
        return joined[-1]

    yield join
    for one in joined:
        one.close()


def test_a_stranger_is_named_and_told_again(
    server: Server, stranger: Callable[[], Stranger], caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch, kafka_client: str,
) -> None:  # fmt: skip
    server = server.model_copy(update={"kafka_client": kafka_client})

    def said() -> list[str]:
        """By us: the library has warnings of its own."""
        return [r.getMessage() for r in caplog.records if r.name.startswith("seckill")]

    strangers = Strangers(server)
    strangers.run_once()
    ours = open_consumer(server)
    wait_until(lambda: ours.poll(1.0, 1) == [] and ours.assignments()[1], SOON_S, "we are in")
    strangers.run_once()
    assert (strangers.found, strangers.in_words(), said()) == ((), "", [])

    other = stranger()
    wait_until(lambda: ours.poll(1.0, 1) == [] and len(other.partitions) == 1, SOON_S, "it has one")
    wait_until(lambda: strangers.run_once() is None and strangers.found, SOON_S, "it is seen")
    [found] = strangers.found
    assert found.partitions == tuple(other.partitions)
    last = said()[-1]
    assert (
        f"members that are not ours: {SHOWN} at '127.0.0.1' (partitions: {found.partitions[0]}"
        in last
    )
    assert f"the requests of partitions {found.partitions[0]} wait and are not decided" in last
    told = len(said())
    strangers.run_once()
    assert len(said()) == told
    monkeypatch.setattr("seckill.broker.strangers.TELL_AGAIN_S", 0.0)
    strangers.run_once()
    assert len(said()) == told + 1

    other.close()
    wait_until(
        lambda: (ours.poll(1.0, 1), strangers.run_once()) and not strangers.found, SOON_S, "it left"
    )
    assert said()[-1] == "going on: all members of the group are ours again"
    ours.close()
    strangers.close()


def askers() -> list[psutil.Process]:
    children = psutil.Process().children()
    return [child for child in children if "seckill.broker.members" in child.cmdline()]


def test_who_asks_may_end_as_librdkafka_ends_it(
    server: Server, stranger: Callable[[], Stranger]
) -> None:
    """Only one question is lost, and nobody else ends."""
    other = stranger()
    wait_until(lambda: other.partitions, SOON_S, "it is a member")
    with closing(Members(server)) as members:
        [before] = wait_until(members.ask, SOON_S, "it is seen")
        [child] = askers()
        child.send_signal(signal.SIGABRT)
        child.wait(SOON_S)
        with pytest.raises(BrokerAway, match="ended"):
            members.ask()
        assert members.ask() == (before,)
    assert not askers()


def test_a_drain_says_who_keeps_its_partitions(
    manage: Manage, server: Server, redis_client: "redis.Redis",
    stranger: Callable[[], Stranger],
) -> None:  # fmt: skip
    put_on_sale(redis_client, {1001: 10_000})
    other = stranger()
    wait_until(lambda: other.partitions == [0, 1], SOON_S, "it has all of them")
    for partition in (0, 1):
        send(server.brokers, server.topic, [body(n) for n in range(1, 11)], partition)
    process = manage(
        "run_consumer", "--drain", "--brokers", server.brokers, "--topic", server.topic,
        "--group-id", server.group_id,
    )  # fmt: skip
    assert process.stdout is not None

    def kept_from_us() -> bool:
        line = process.stdout.readline()  # type: ignore[union-attr]
        kept, *more = other.partitions or [-1]
        told = f"members that are not ours: {SHOWN} at '127.0.0.1' (partitions: {kept})"
        return waits in line and told in line and not more

    # At first its own partition may not be decided yet either, nor ours be known for ours.
    waits = "--drain waits: 10 requests are not decided yet"
    wait_until(kept_from_us, 60, "it says what it waits for, and who keeps it")
    assert process.poll() is None
    other.close()
    said = process.communicate(timeout=240)[0]
    assert process.returncode == OK, said
    assert sum(read_lane(redis_client, LANE).positions.values()) == 20

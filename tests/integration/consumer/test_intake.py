"""Where a consumer reads on: after rebalances and other topics, and behind what Kafka removed."""

import threading
from collections.abc import Callable, Sequence
from typing import Any

import pytest
from confluent_kafka import Producer, TopicPartition
from confluent_kafka.admin import AdminClient
from kafka import KafkaAdminClient
from kafka import TopicPartition as KafkaPlace

from seckill import broker
from seckill.broker import Position
from seckill.broker.opening import open_consumer, open_producer
from seckill.consumer.batch import Batch
from seckill.consumer.engine import Engine, Reply
from seckill.consumer.intake import LONGEST_POLL_S
from seckill.dead_letters.writer import DeadLetters, dead_topic
from seckill.errors import RedisAway
from seckill.lane.keys import Lane, position_field
from tests.conftest import wait_until
from tests.helpers.messages import read
from tests.helpers.node import SOON_S, Node, running
from tests.helpers.sale import body, put_on_sale, waiting

LANE = Lane()


class Waiting(Engine):
    """Answers the first calls, then none until `go`. Notes what it was asked to decide."""

    def __init__(self, *args: Any, answers: int) -> None:
        super().__init__(*args)
        self.answers = answers
        self.held, self.go = threading.Event(), threading.Event()
        self.decided: list[tuple[int, int]] = []

    def submit(self, batches: Sequence[Batch]) -> None:
        if self.answers <= 0 and not self.go.is_set():
            self.held.set()
            raise RedisAway("not now")
        super().submit(batches)

    def collect(self) -> list[Reply]:
        self.answers -= 1
        batches = list(self._in_flight)
        replies = super().collect()
        self.decided += [(batch.start, batch.end) for batch in batches]
        return replies


class Looks:
    """What a client has, seen on the thread that polls: that one nearly always has its lock."""

    def __init__(self, client: broker.Consumer, monkeypatch: pytest.MonkeyPatch) -> None:
        self.changes, self.partitions = -1, frozenset[int]()
        self._asked: list[Callable[[], object]] = []
        poll = client.poll

        def watched(timeout_s: float, max_messages: int) -> list[broker.Slice]:
            slices = poll(timeout_s, max_messages)
            while self._asked:
                self._asked.pop()()
            self.changes, self.partitions = client.assignments()
            return slices

        monkeypatch.setattr(client, "poll", watched)

    def ask(self, question: Callable[[], object]) -> object:
        """The answer to a question that is asked on that thread."""
        answers: list[object] = []
        self._asked.append(lambda: answers.append(question()))
        wait_until(lambda: answers, SOON_S, "the thread that polls answers")
        return answers[0]


@pytest.mark.parametrize("commit", [0, 8], ids=["older", "higher"])
def test_a_rebalance_moves_no_partition_whose_answers_are_awaited(
    node: Node, monkeypatch: pytest.MonkeyPatch, commit: int
) -> None:
    """As after a recovery: the group's commit is another one than what this consumer has read."""
    monkeypatch.setattr("seckill.consumer.consumer.LONGEST_PAUSE_S", 0.1)
    # Short heartbeats: members hear of each other soon.
    node.server = node.server.model_copy(update={"session_timeout": 10_000})
    put_on_sale(node.client, {1001: 1000})
    node.send([body(n) for n in range(1, 13)], 0)
    engine = Waiting(node.server.redis_url, LANE, answers=1)
    consumer = node.consumer(engine, batch_size=2)
    client = consumer.client
    looks = Looks(client, monkeypatch)
    with running(consumer):
        wait_until(engine.held.is_set, SOON_S, "a batch waits, another one is ready")
        wait_until(lambda: looks.partitions == {0, 1}, SOON_S, "both partitions are here")
        before = looks.changes
        elsewhere = Position(commit, 0, consumer.source)
        assert looks.ask(lambda: client.commit_and_wait({0: elsewhere}, 10))
        other = open_consumer(node.server)
        wait_until(
            lambda: other.poll(0.1, 1) == [] and other.assignments()[1], 2 * SOON_S, "it joins"
        )
        other.close()
        wait_until(
            # Once is enough: on a busy machine it may have been out of the group meanwhile.
            lambda: looks.changes > before and looks.partitions == {0, 1},
            2 * SOON_S,
            "both partitions are here again",
        )
        engine.go.set()
        wait_until(lambda: node.lane().decided + node.lane().skipped == 12, SOON_S, "all")
    node.consumers.clear()
    assert engine.decided == [(n, n + 2) for n in range(0, 12, 2)]
    assert (node.lane().decided, node.lane().skipped) == (12, 0)
    assert [r["user_id"] for r in waiting(node.client)] == list(range(1, 13))


def test_what_was_taken_away_in_a_hold_is_read_when_it_comes_back_after_it(
    node: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A client may know it as paused all that time."""
    monkeypatch.setattr("seckill.consumer.consumer.LONGEST_PAUSE_S", 0.1)
    node.server = node.server.model_copy(update={"session_timeout": 10_000})
    put_on_sale(node.client, {1001: 1000})
    for partition in (0, 1):
        node.send([body(n) for n in range(1, 7)], partition)
    engine = Waiting(node.server.redis_url, LANE, answers=0)
    consumer = node.consumer(engine, batch_size=2)
    looks = Looks(consumer.client, monkeypatch)
    with running(consumer):
        wait_until(engine.held.is_set, SOON_S, "a batch waits")
        wait_until(lambda: looks.partitions == {0, 1}, SOON_S, "both partitions are here")
        other = open_consumer(node.server)
        wait_until(lambda: other.poll(0.1, 1) and other.assignments()[1], 2 * SOON_S, "it joins")
        engine.go.set()
        wait_until(lambda: node.lane().decided >= 6, SOON_S, "what is still here is decided")
        other.close()
        wait_until(lambda: node.lane().decided == 12, SOON_S, "what came back is decided too")
    node.consumers.clear()
    assert node.lane().skipped == 0


def test_a_hold_is_spent_in_polls(node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of all partitions, paused anew for each poll; a stop ends it before the next one."""
    consumer = node.consumer()
    client, calls, timeouts = consumer.client, list[str](), list[float]()
    poll, pause, resume = client.poll, client.pause, client.resume

    def watched(timeout_s: float, max_messages: int) -> list[broker.Slice]:
        calls.append("poll")
        timeouts.append(timeout_s)
        return poll(timeout_s, max_messages)

    monkeypatch.setattr(client, "poll", watched)
    monkeypatch.setattr(client, "pause", lambda: calls.append("pause") or pause())
    monkeypatch.setattr(client, "resume", lambda: calls.append("resume") or resume())
    consumer._intake.wait(3 * LONGEST_POLL_S)
    assert timeouts
    assert calls == ["pause", "poll", "resume"] * len(timeouts)
    assert all(0 < timeout <= LONGEST_POLL_S for timeout in timeouts)
    consumer.shutdown.request()
    consumer._intake.wait(3600)
    assert calls == ["pause", "poll", "resume"] * len(timeouts)


def commit(node: Node, position: Position) -> None:
    """Commit for partition 0 in the group's name, as a member of it."""
    member = open_consumer(node.server)
    wait_until(lambda: member.poll(1.0, 1) is not None and member.assignments()[1], SOON_S, "in")
    assert member.commit_and_wait({0: position}, 10)
    member.close()


def test_a_commit_of_an_earlier_topic_passes_nothing_over(node: Node) -> None:
    put_on_sale(node.client, {1001: 1000})
    node.send([body(n) for n in range(1, 7)], 0)
    commit(node, Position(4, 0, "0f9a2c51-6f0e-4b8e-9d0c-3a54f1f2a111"))
    consumer = node.consumer()
    node.turns(consumer, lambda: node.lane().decided + node.lane().skipped == 6, "all of it")
    assert (node.lane().decided, node.lane().skipped) == (6, 0)


@pytest.mark.parametrize("stranger", [4, 6])
def test_a_commit_of_another_program_moves_nothing(node: Node, stranger: int) -> None:
    """Another program in the group, a tool, a reset by hand: Redis says where the lane stands."""
    put_on_sale(node.client, {1001: 1000})
    node.send([body(n) for n in range(1, 7)], 0)
    # Whatever it says beside its offset, it is no topic of ours.
    commit(node, Position(stranger))
    consumer = node.consumer()
    node.decided(consumer, 6)
    assert node.lane().skipped == 0
    node.ended(consumer)
    assert node.committed() == {0: 6}


def test_a_commit_of_another_program_is_overwritten_before_anything_is_decided(node: Node) -> None:
    """Tools that look at the group show what it has."""
    put_on_sale(node.client, {1001: 1000})
    group, topic = node.server.group_id, node.server.topic
    commit(node, Position(4))
    consumer = node.consumer()
    node.turns(consumer, lambda: node.topics.committed(group, topic)[0].offset == 0, "overwritten")
    assert node.lane().decided == 0
    node.ended(consumer)
    assert node.topics.committed(group, topic)[0] == Position(0, 0, consumer.source)


@pytest.mark.parametrize("client", ["kafka-python", "confluent-kafka"])
def test_what_is_committed_has_an_end_that_each_client_finds(node: Node, client: str) -> None:
    """librdkafka reads what stands beside an offset up to a NUL, wherever that is in memory."""
    writer = open_consumer(node.server.model_copy(update={"kafka_client": client}))
    wait_until(lambda: writer.poll(1.0, 1) is not None and writer.assignments()[1], SOON_S, "in")
    stands = Position(4, 3, str(node.topics.source(node.server.topic)), 2)
    assert writer.commit_and_wait({0: stands}, 10)
    writer.close()
    admin = KafkaAdminClient(bootstrap_servers=node.server.brokers)
    group = node.server.group_id
    [kept] = admin.list_group_offsets({group: [KafkaPlace(node.server.topic, 0)]})[group].values()
    admin.close()
    assert kept.metadata == stands.metadata + "\x00"
    reader = open_consumer(node.server)
    wait_until(lambda: reader.poll(1.0, 1) is not None and reader.assignments()[1], SOON_S, "in")
    assert reader.committed(0) == stands
    reader.close()


def test_a_new_group_goes_on_where_the_lane_stands(
    node: Node, caplog: pytest.LogCaptureFixture
) -> None:
    """Even where Kafka has deleted what was decided: nothing of it is missing."""
    put_on_sale(node.client, {1001: 1000})
    node.send([body(n) for n in range(1, 11)], 0)
    first = node.consumer()
    node.decided(first, 10)
    node.ended(first)
    admin = AdminClient({"bootstrap.servers": node.server.brokers})
    cut = TopicPartition(node.server.topic, 0, 10)
    admin.delete_records([cut])[cut].result(20)
    node.send([body(11)], 0)
    node.server = node.server.model_copy(update={"group_id": f"{node.server.group_id}-new"})
    consumer = node.consumer()
    node.decided(consumer, 11)
    lane = node.lane()
    assert (lane.skipped, lane.positions[position_field(consumer.source, 0)]) == (0, 11)
    assert "hold no requests" not in caplog.text


def test_producers_may_compress_as_they_like(node: Node) -> None:
    put_on_sale(node.client, {1001: 1000})
    consumer = node.consumer()
    for count, codec in enumerate(["none", "gzip", "lz4", "snappy", "zstd"], 1):
        producer = Producer(
            {"bootstrap.servers": node.server.brokers, "compression.type": codec, "linger.ms": 50}
        )
        for _ in range(20):
            producer.produce(node.server.topic, body(7), partition=0)
        assert producer.flush(20) == 0
        producer.close()
        node.decided(consumer, 20 * count)
    assert node.lane().activities[1].success == 100


def test_the_sale_goes_on_while_no_dead_letter_can_be_parked(node: Node) -> None:
    put_on_sale(node.client, {1001: 1000})
    there = threading.Event()

    def late() -> Any:
        assert there.wait(120)
        return open_producer(node.server, dead_topic(node.server.topic))

    consumer = node.consumer()
    consumer.dead_letters = DeadLetters(node.server, late)
    for count in range(1, 4):
        node.send([b"bad", body(count)])
        node.decided(consumer, 2 * count)

    def committed() -> int:
        return node.topics.committed(node.server.group_id, node.server.topic)[0].offset

    assert committed() == 0
    there.set()
    node.turns(consumer, lambda: committed() == 6, "parked, and then committed")
    assert len(read(node.server.brokers, dead_topic(node.server.topic), 3)) == 3


def test_letters_that_kafka_never_takes_hold_no_commits(node: Node) -> None:
    put_on_sale(node.client, {1001: 1000})
    topic = dead_topic(node.server.topic)
    node.topics.ensure(topic, 1, {"max.message.bytes": "10"})
    consumer = node.consumer()
    consumer.dead_letters = DeadLetters(
        node.server, lambda: open_producer(node.server, topic), give_up_s=0.0
    )
    node.send([b"bad", body(1), b"bad"])
    node.decided(consumer, 3)

    def committed() -> int:
        return node.topics.committed(node.server.group_id, node.server.topic)[0].offset

    node.turns(consumer, lambda: committed() == 3, "given up, and then committed")
    assert (consumer.dead_letters.lost, node.lane().invalid) == (2, 2)

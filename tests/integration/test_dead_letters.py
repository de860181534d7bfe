"""Dead letters in real Kafka: each with its origin, acknowledged before anything is committed."""

import logging
import threading
from collections.abc import Callable, Iterator, Sequence

import pytest
from confluent_kafka.admin import AdminClient, ConfigResource

from seckill.batch import Batch
from seckill.broker.producer import Producer, open_producer
from seckill.broker.topics import Topics
from seckill.dead_letters import (
    MAX_PENDING_BYTES,
    MAX_VALUE_BYTES,
    TOPIC_CONFIGS,
    DeadLetters,
    dead_topic,
)
from seckill.errors import BrokerAway
from seckill_project.config import Server
from tests.conftest import wait_until
from tests.messages import headers, read
from tests.sale import SOURCE, batch, body


@pytest.fixture
def section(server: Server, topics: Topics, kafka_client: str) -> Iterator[Server]:
    """The configuration for each of the two clients; the dead topic goes after the test."""
    logging.getLogger("kafka").setLevel(logging.CRITICAL)
    yield server.model_copy(update={"kafka_client": kafka_client})
    topics.delete(dead_topic(server.topic))


def bad(start: int, *values: bytes | None) -> Batch:
    """A batch of a good request and bad ones after it."""
    return batch([body(1), *values], start, partition=3)


class Parked:
    """Dead letters of a section, with producers that the test may bend."""

    def __init__(self, section: Server) -> None:
        self.section = section
        self.opened: list[Producer] = []
        self.bend: Callable[[Producer], None] = lambda producer: None
        self.letters = DeadLetters(section, self._open)

    def _open(self) -> Producer:
        producer = open_producer(self.section, dead_topic(self.section.topic))
        self.opened.append(producer)
        self.bend(producer)
        return producer

    def read(self, count: int) -> list[tuple[bytes | None, dict[str, str]]]:
        found = read(self.section.brokers, dead_topic(self.section.topic), count)
        return [(message.value(), headers(message)) for message in found]


@pytest.fixture
def parked(section: Server) -> Iterator[Parked]:
    """Nothing parked yet."""
    parked = Parked(section)
    yield parked
    parked.letters.close()


def test_a_letter_has_its_origin_and_its_reason(parked: Parked) -> None:
    parked.letters.park(bad(70, b"{", None))
    assert parked.letters.flush()
    assert parked.letters.parked == 2
    (broken, first), (tombstone, second) = parked.read(2)
    assert broken == b"{"
    assert (first["source"], first["partition"], first["offset"]) == (SOURCE, "3", "71")
    assert "truncated" in first["reason"]
    assert tombstone is None
    assert (second["offset"], second["reason"]) == ("72", "no body (null value)")
    assert "size" not in first


def test_a_long_one_is_cut_and_says_how_long_it_was(parked: Parked) -> None:
    parked.letters.park(bad(0, b"x" * MAX_VALUE_BYTES, b"y" * 1_000_000))
    assert parked.letters.flush()
    (whole, first), (cut, second) = parked.read(2)
    assert whole == b"x" * MAX_VALUE_BYTES
    assert "size" not in first
    assert cut == b"y" * MAX_VALUE_BYTES
    assert second["size"] == "1000000"


def test_without_letters_there_is_no_producer_and_no_topic(parked: Parked, topics: Topics) -> None:
    parked.letters.park(bad(0))
    assert parked.letters.flush()
    assert parked.opened == []
    assert topics.source(dead_topic(parked.section.topic)) is None


def test_kafka_away_keeps_them(parked: Parked) -> None:
    def away(producer: Producer) -> None:
        parked.bend = lambda producer: None
        producer.close()
        raise BrokerAway("not now")

    parked.bend = away
    parked.letters.park(bad(0, b"{"))
    assert not parked.letters.flush()
    parked.letters.park(bad(10, b"}"))
    assert parked.letters.flush()
    assert [said["offset"] for _, said in parked.read(2)] == ["1", "11"]
    assert parked.letters.parked == 2


def test_a_late_acknowledgement_sends_nothing_twice(
    parked: Parked, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The time to wait was over; what the producer has is not given to it again."""
    monkeypatch.setattr("seckill.dead_letters.FLUSH_S", 0.3)
    heard = threading.Event()

    def slow(producer: Producer) -> None:
        flush = producer.flush
        producer.flush = lambda timeout_s: flush(timeout_s) if heard.is_set() else 1  # type: ignore[method-assign]

    parked.bend = slow
    parked.letters.park(bad(0, b"{"))
    assert not parked.letters.flush()
    heard.set()
    parked.letters.park(bad(10, b"}"))
    wait_until(parked.letters.flush, 60, "the second")
    parked.letters.park(bad(20, b"]"))
    wait_until(parked.letters.flush, 60, "the third")
    assert [said["offset"] for _, said in parked.read(3)] == ["1", "11", "21"]


def test_what_kafka_gave_up_is_sent_again(parked: Parked) -> None:
    def failing(producer: Producer) -> None:
        send = producer.send

        def lose(value: bytes | None, more: Sequence[tuple[str, bytes]] = ()) -> None:
            """One that is too long for Kafka fails in its place."""
            producer.send = send  # type: ignore[method-assign]
            send(b"x" * 2_000_000, more)

        producer.send = lose  # type: ignore[method-assign]

    parked.bend = failing
    parked.letters.park(bad(0, b"{", b"}"))
    assert not parked.letters.flush()
    assert parked.letters.parked == 0
    assert parked.letters.flush()
    # All of them again: the second one stands there twice, the first one is not lost.
    offsets = [said["offset"] for _, said in parked.read(3)]
    assert sorted(offsets) == ["1", "2", "2"]


def test_a_flood_fills_no_memory(parked: Parked) -> None:
    assert not parked.letters.full
    flood = bad(0, *[b"z" * MAX_VALUE_BYTES] * (MAX_PENDING_BYTES // MAX_VALUE_BYTES))
    parked.letters.park(flood)
    assert parked.letters.full
    assert parked.letters.flush()
    assert not parked.letters.full


def test_the_topic_is_bounded(parked: Parked, topics: Topics) -> None:
    parked.letters.park(bad(0, b"{"))
    assert parked.letters.flush()
    topic = dead_topic(parked.section.topic)
    assert topics.partitions(topic) == [0]
    resource = ConfigResource(ConfigResource.Type.TOPIC, topic)
    admin = AdminClient({"bootstrap.servers": parked.section.brokers})
    configs = admin.describe_configs([resource])[resource].result(60)
    assert {name: configs[name].value for name in TOPIC_CONFIGS} == TOPIC_CONFIGS


def test_a_topic_that_is_away_costs_no_turn(
    parked: Parked, caplog: pytest.LogCaptureFixture
) -> None:
    """Whoever opens a producer waits for long; whoever asks does not, and hears of it once."""
    there = threading.Event()
    parked.bend = lambda producer: assert_true(there.wait(60))
    parked.letters.park(bad(0, b"{"))
    for _ in range(3):
        assert not parked.letters.flush_in_turn()
    parked.letters.park(bad(10, b"}"))
    assert not parked.letters.flush_in_turn()
    assert caplog.text.count("dead letters wait") == 1
    there.set()
    wait_until(parked.letters.flush_in_turn, 60, "they are parked")
    assert "going on: dead letters are parked again" in caplog.text
    assert [said["offset"] for _, said in parked.read(2)] == ["1", "11"]
    assert len(parked.opened) == 1


def test_more_letters_than_the_producer_takes(section: Server) -> None:
    """Nothing of them is given up, and none is sent twice."""
    topic = dead_topic(section.topic)
    letters = DeadLetters(section, lambda: open_producer(section, topic, max_in_flight=10))
    letters.park(bad(0, *[b"%d" % n for n in range(300)]))
    wait_until(letters.flush, 60, "they are parked")
    letters.close()
    assert [m.value() for m in read(section.brokers, topic, 300)] == [b"%d" % n for n in range(300)]
    assert letters.parked == 300


def test_a_bug_on_the_way_is_told(parked: Parked) -> None:
    def broken(producer: Producer) -> None:
        producer.close()
        raise LookupError("a bug")

    parked.bend = broken
    parked.letters.park(bad(0, b"{"))
    with pytest.raises(LookupError, match="a bug"):
        parked.letters.flush()


def assert_true(answer: bool) -> None:
    assert answer

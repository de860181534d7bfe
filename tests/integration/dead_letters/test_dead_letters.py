"""Dead letters in real Kafka: each with its origin, acknowledged before anything is committed."""

import logging
import random
import threading
from collections.abc import Callable, Iterator, Sequence

import pytest
from confluent_kafka.admin import AdminClient, ConfigResource

from seckill.broker.opening import open_producer
from seckill.broker.producer import Done, Producer
from seckill.broker.topics import Topics
from seckill.config.sections import Server
from seckill.consumer.batch import Batch
from seckill.dead_letters.writer import (
    MAX_PENDING_BYTES,
    MAX_VALUE_BYTES,
    TOPIC_CONFIGS,
    DeadLetters,
    dead_topic,
)
from seckill.errors import BrokerAway
from tests.conftest import wait_until
from tests.helpers.messages import configure, headers, read
from tests.helpers.sale import SOURCE, batch, body


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

    def __init__(self, section: Server, topics: Topics, **options: float) -> None:
        self.section, self.topics = section, topics
        self.opened: list[Producer] = []
        self.bend: Callable[[Producer], None] = lambda producer: None
        self.letters = DeadLetters(section, self._open, **options)

    def _open(self) -> Producer:
        producer = open_producer(self.section, dead_topic(self.section.topic))
        self.opened.append(producer)
        self.bend(producer)
        return producer

    def read(self, count: int) -> list[tuple[bytes | None, dict[str, str]]]:
        found = read(self.section.brokers, dead_topic(self.section.topic), count)
        return [(message.value(), headers(message)) for message in found]


@pytest.fixture
def parked(section: Server, topics: Topics) -> Iterator[Parked]:
    """Nothing parked yet."""
    parked = Parked(section, topics)
    yield parked
    parked.letters.close()


@pytest.fixture
def impatient(section: Server, topics: Topics) -> Iterator[Parked]:
    """The same, and what Kafka does not take is given up with the next attempt."""
    parked = Parked(section, topics, give_up_s=0.0)
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
    monkeypatch.setattr("seckill.dead_letters.writer.FLUSH_S", 0.3)
    heard = threading.Event()

    answers: list[Callable[[], None]] = []

    def slow(producer: Producer) -> None:
        send, flush = producer.send, producer.flush

        def note(value: bytes | None, more: Sequence[tuple[str, bytes]] = (), *done: Done) -> None:
            send(value, more, lambda why: answers.append(lambda: done[0](why)))

        def answer(timeout_s: float) -> int:
            if not heard.is_set():
                return 1
            left = flush(timeout_s)
            while answers:
                answers.pop()()
            return left

        producer.send, producer.flush = note, answer  # type: ignore[assignment, method-assign]

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
        parked.bend = lambda producer: None
        send = producer.send

        def lose(
            value: bytes | None, more: Sequence[tuple[str, bytes]] = (), done: Done | None = None
        ) -> None:
            """One that is too long for Kafka fails in its place."""
            producer.send = send  # type: ignore[method-assign]
            send(b"x" * 2_000_000, more, done)

        producer.send = lose  # type: ignore[method-assign]

    parked.bend = failing
    parked.letters.park(bad(0, b"{", b"}"))
    assert parked.letters.flush()
    assert (parked.letters.parked, parked.letters.lost) == (2, 0)
    # The first one again, and only that.
    assert [said["offset"] for _, said in parked.read(2)] == ["2", "1"]
    assert parked.topics.end_offsets(dead_topic(parked.section.topic)) == {0: 2}


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
    assert "going on: no dead letter waits any more" in caplog.text
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


def small(parked: Parked, most: int) -> None:
    """A topic of dead letters that takes so many bytes at once."""
    parked.topics.ensure(dead_topic(parked.section.topic), 1, {"max.message.bytes": str(most)})


def test_what_is_too_large_for_its_topic_comes_without_its_body(parked: Parked) -> None:
    small(parked, 1_000)
    noise = random.Random(7).randbytes(20_000)
    parked.letters.park(bad(0, b"{", noise[:5_000], b"}", noise))
    wait_until(parked.letters.flush, 60, "all are parked")
    assert (parked.letters.parked, parked.letters.lost) == (4, 0)
    letters = sorted(parked.read(4), key=lambda letter: letter[1]["offset"])
    assert [(body, said["offset"], said.get("size")) for body, said in letters] == [
        (b"{", "1", None), (b"", "2", "5000"), (b"}", "3", None), (b"", "4", "20000")
    ]  # fmt: skip


def test_what_kafka_never_takes_is_given_up_and_named(
    impatient: Parked, caplog: pytest.LogCaptureFixture
) -> None:
    """Commits go on: for those after them at once, or a flow of them would hold these for ever."""
    small(impatient, 10)
    letters = impatient.letters
    letters.park(bad(0, *[b"{"] * 12))
    wait_until(letters.flush, 60, "they are given up")
    assert (letters.parked, letters.lost) == (0, 12)
    named = [text for text in caplog.messages if text.startswith("dead letter given up: ")]
    assert len(named) == 10
    assert named[0].startswith(f"dead letter given up: {SOURCE}:3:1 ('Input data was truncated'")
    assert "counted as INVALID, and stays in topic" in named[0]
    assert "12 dead letters given up, 12 since this consumer began; commits go on" in caplog.text
    letters._give_up_s = 3600.0
    letters.park(bad(20, b"{"))
    wait_until(letters.flush, 60, "the next one is given up too, and does not wait as long")
    assert letters.lost == 13
    # Mended, nothing is given up any more.
    configure(impatient.section.brokers, dead_topic(impatient.section.topic), {
        "max.message.bytes": "100000"
    })  # fmt: skip
    letters.park(bad(30, b"{"))
    wait_until(letters.flush, 60, "it is parked")
    assert (letters.parked, letters.lost) == (1, 13)
    assert [said["offset"] for _, said in impatient.read(1)] == ["31"]


def test_before_the_limit_nothing_is_given_up(parked: Parked) -> None:
    small(parked, 10)
    parked.letters.park(bad(0, b"{"))
    for _ in range(3):
        assert not parked.letters.flush()
    assert parked.letters.lost == 0
    configure(
        parked.section.brokers, dead_topic(parked.section.topic), {"max.message.bytes": "100000"}
    )
    wait_until(parked.letters.flush, 60, "mended, it is parked")
    assert (parked.letters.parked, parked.letters.lost) == (1, 0)


def test_what_is_never_acknowledged_is_given_up(
    impatient: Parked, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """As of a topic without a leader. What comes after that has a producer of its own."""
    monkeypatch.setattr("seckill.dead_letters.writer.FLUSH_S", 0.3)

    def mute(producer: Producer) -> None:
        """It takes all, and nobody hears of it again."""
        producer.send = lambda value, more=(), done=None: None  # type: ignore[method-assign]
        producer.flush = lambda timeout_s: 1  # type: ignore[method-assign]

    impatient.bend = mute
    impatient.letters.park(bad(0, b"{"))
    wait_until(impatient.letters.flush, 60, "it is given up")
    assert impatient.letters.lost == 1
    assert "Kafka has not acknowledged all of them" in caplog.text
    impatient.bend = lambda producer: None
    monkeypatch.setattr("seckill.dead_letters.writer.FLUSH_S", 60.0)
    impatient.letters.park(bad(10, b"}"))
    wait_until(impatient.letters.flush, 60, "the next one is parked")
    assert [said["offset"] for _, said in impatient.read(1)] == ["11"]
    assert (impatient.letters.parked, impatient.letters.lost) == (1, 1)


def test_while_nothing_of_kafka_answers_nothing_is_lost(
    impatient: Parked, monkeypatch: pytest.MonkeyPatch
) -> None:
    def away(section: Server) -> Topics:
        raise BrokerAway("not now")

    with monkeypatch.context() as broken:
        broken.setattr("seckill.dead_letters.writer.Topics", away)
        impatient.letters.park(bad(0, b"{"))
        for _ in range(3):
            assert not impatient.letters.flush()
    assert (impatient.letters.parked, impatient.letters.lost) == (0, 0)
    wait_until(impatient.letters.flush, 60, "it is parked")
    assert (impatient.letters.parked, impatient.letters.lost) == (1, 0)


def assert_true(answer: bool) -> None:
    assert answer

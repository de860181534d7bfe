"""The buyers of a test's sale: its topic, what they send, and what has arrived."""

import contextlib
import json
import threading
import time
from collections.abc import Iterator

from confluent_kafka import Consumer, KafkaError, KafkaException, Producer, TopicPartition
from confluent_kafka.admin import AdminClient

from seckill.broker.topics import Topics
from seckill.config.sections import Server
from seckill.dead_letters.writer import dead_topic
from tests.conftest import wait_until

# Every so many requests one is no request at all.
MALFORMED_EACH = 701
# Seconds for an answer of Kafka that runs.
ANSWER_S = 60.0
# While another broker takes a partition over.
LEADERLESS = (KafkaError.NOT_LEADER_FOR_PARTITION, KafkaError.LEADER_NOT_AVAILABLE)


def request(number: int) -> bytes:
    """The body of request `number`: one or two items, sometimes a broken one."""
    if number % MALFORMED_EACH == 0:
        return b'{"user_id": %d, "items": ' % number
    items = {"1001": 1, "1002": 2} if number % 5 == 0 else {"1001": 1 + number % 3}
    now_ms = time.time_ns() // 1_000_000
    return json.dumps(
        {"user_id": number, "items": items, "request_initiation_time": now_ms}
    ).encode()


def _end(asker: Consumer, place: TopicPartition) -> int:
    """The end of a partition, as soon as it has a leader that says it."""

    def asked() -> tuple[int, int] | None:
        try:
            return asker.get_watermark_offsets(place, ANSWER_S)
        except KafkaException as moved:
            if moved.args[0].code() not in LEADERLESS:
                raise
            return None

    return wait_until(asked, ANSWER_S, "a partition has a leader")[1]


class Load:
    """Buyers that go on sending, so many a second, whatever breaks, until they are told to stop."""

    def __init__(self, buyers: "Buyers", rate: int) -> None:
        self._buyers, self._rate = buyers, rate
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> "Load":
        self._thread.start()
        return self

    def __exit__(self, failed: object, *_: object) -> None:
        self._stop.set()
        self._thread.join(ANSWER_S)
        if failed is None:
            self._buyers.flush()

    def _run(self) -> None:
        began, sent = time.monotonic(), 0
        while not self._stop.wait(0.02):
            due = int((time.monotonic() - began) * self._rate) - sent
            self._buyers.send(due)
            sent += due


class Buyers:
    """All requests of a topic of their own, each known by its number."""

    def __init__(self, server: Server) -> None:
        self.server = server
        self.source = ""
        self.sent = 0
        self.delivered = 0
        self.refused: list[str] = []
        self._producer: Producer | None = None

    def open(self, partitions: int) -> None:
        """Make the topic."""
        with Topics(self.server, ANSWER_S) as topics:
            topics.ensure(self.server.topic, partitions)
            self.source = str(topics.source(self.server.topic))

    def send(self, count: int) -> None:
        """Send the next `count` requests; whether they arrived is known after `flush`."""
        if self._producer is None:
            self._producer = Producer(
                {
                    "bootstrap.servers": self.server.brokers,
                    "enable.idempotence": True,
                    "linger.ms": 5,
                    "sticky.partitioning.linger.ms": 10,
                    "reconnect.backoff.max.ms": 500,
                    "log_level": 0,
                    "on_delivery": self._on_delivery,
                }
            )
        for _ in range(count):
            self.sent += 1
            while True:
                try:
                    self._producer.produce(self.server.topic, request(self.sent))
                    break
                except BufferError:
                    self._producer.poll(0.05)
        self._producer.poll(0)

    def flush(self) -> None:
        """Wait until Kafka has acknowledged all that was sent."""
        if self._producer is not None:
            self._producer.flush(2 * ANSWER_S)
        assert not self.refused, self.refused[0]
        assert self.delivered == self.sent

    def backlog(self, count: int) -> None:
        """Put requests into the topic that nobody reads yet."""
        self.send(count)
        self.flush()

    def load(self, rate: int = 4_000) -> Load:
        """Go on sending inside a `with`."""
        return Load(self, rate)

    def ends(self) -> dict[int, int]:
        """{partition: requests that it holds}."""
        with self._questions() as asker:
            return {each.partition: _end(asker, each) for each in self._partitions(asker)}

    def committed(self) -> dict[int, int]:
        """{partition: the offset that the group has committed}, without those that have none."""
        with self._questions() as asker:
            return {
                each.partition: each.offset
                for each in asker.committed(self._partitions(asker), timeout=ANSWER_S)
                if each.offset >= 0
            }

    def members(self) -> int:
        """Members of the group, also of one that is sharing out its partitions."""
        admin = AdminClient({"bootstrap.servers": self.server.brokers, "log_level": 0})
        group = self.server.group_id
        return len(admin.describe_consumer_groups([group])[group].result(ANSWER_S).members)

    def _partitions(self, asker: Consumer) -> list[TopicPartition]:
        topic = asker.list_topics(self.server.topic, ANSWER_S).topics[self.server.topic]
        return [TopicPartition(self.server.topic, number) for number in topic.partitions]

    @contextlib.contextmanager
    def _questions(self) -> Iterator[Consumer]:
        """A client that only asks. kafka-python would leave sockets behind while Kafka is away."""
        asker = Consumer(
            {
                "bootstrap.servers": self.server.brokers,
                "group.id": self.server.group_id,
                "log_level": 0,
            }
        )
        try:
            yield asker
        finally:
            asker.close()

    def leave(self) -> None:
        """Close the producer, and remove the topics."""
        if self._producer is not None:
            self._producer.purge()
            self._producer.close()
        with Topics(self.server, ANSWER_S) as topics:
            for topic in (self.server.topic, dead_topic(self.server.topic)):
                topics.delete(topic)

    def _on_delivery(self, error: object, message: object) -> None:
        if error is None:
            self.delivered += 1
        else:
            self.refused.append(str(error))

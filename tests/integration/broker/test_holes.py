"""Offsets that bring no request: counted, and told with the reason that is true."""

import pytest
from confluent_kafka import Producer

from seckill.broker.reader import Reader
from seckill.broker.unpack import Message
from seckill.errors import BrokerAway
from tests.conftest import wait_until
from tests.helpers.messages import configure
from tests.helpers.node import SOON_S, Node
from tests.helpers.sale import body, put_on_sale

COMPACTING = {
    "cleanup.policy": "compact",
    "min.cleanable.dirty.ratio": "0.01",
    "segment.ms": "100",
    "max.compaction.lag.ms": "100",
}


def holes(caplog: pytest.LogCaptureFixture) -> list[str]:
    """What was told of holes."""
    return [r.getMessage() for r in caplog.records if getattr(r, "event", "") == "offsets-lost"]


def first_seen(node: Node) -> int:
    """The offset of the first message of partition 0."""
    reader = Reader(node.server)
    reader.go_to(node.server.topic, 0, 0)
    found: list[Message] = wait_until(lambda: reader.read(1)[0], SOON_S, "a message")
    reader.close()
    return found[0].offset()


def send_in_transactions(node: Node, requests: int) -> None:
    """Requests, each in a transaction of its own: a marker stands behind each."""
    producer = Producer(
        {"bootstrap.servers": node.server.brokers, "transactional.id": node.server.topic}
    )
    producer.init_transactions(30)
    for number in range(requests):
        producer.begin_transaction()
        producer.produce(node.server.topic, body(1 + number), partition=0)
        producer.commit_transaction(30)
    producer.close()


def test_markers_of_transactions_are_no_loss(node: Node, caplog: pytest.LogCaptureFixture) -> None:
    put_on_sale(node.client, {1001: 1000})
    send_in_transactions(node, 3)
    node.send([body(9)], 0)
    consumer = node.consumer(batch_size=2)
    node.decided(consumer, 4)
    assert node.lane().skipped == 3
    # Three of them, and one line: who sends in transactions would fill the log.
    [told] = holes(caplog)
    assert "partition 0: offsets 1 to 1 hold no requests" in told
    assert "transaction markers or aborted messages" in told
    assert "retention" not in told


def test_a_compacted_topic_is_told_as_that(node: Node, caplog: pytest.LogCaptureFixture) -> None:
    put_on_sale(node.client, {1001: 1000})
    topic = node.server.topic
    # The cleaner looks each 15 s unless it is told otherwise.
    configure(node.server.brokers, "", {"log.cleaner.backoff.ms": "100"})
    configure(node.server.brokers, topic, COMPACTING)
    producer = Producer({"bootstrap.servers": node.server.brokers})

    def compacted() -> bool:
        """One more, in a segment of its own; whether the first of them is gone."""
        producer.produce(topic, body(7), key=b"one buyer", partition=0)
        producer.flush(20)
        return first_seen(node) > 0

    wait_until(compacted, SOON_S, "the cleaner was there")
    producer.close()
    consumer = node.consumer()
    node.turns(consumer, lambda: holes(caplog), "a hole is told")
    assert all("compacted" in told and "retention" not in told for told in holes(caplog))


def test_nothing_is_made_up_where_kafka_does_not_say_it(
    node: Node, caplog: pytest.LogCaptureFixture
) -> None:
    put_on_sale(node.client, {1001: 1000})
    send_in_transactions(node, 1)
    node.send([body(9)], 0)
    consumer = node.consumer()

    def away(partition: int) -> int:
        raise BrokerAway("no answer")

    consumer.client.oldest = away  # type: ignore[method-assign]
    node.decided(consumer, 2)
    [told] = holes(caplog)
    assert "the reason is unknown now: Kafka is away: no answer" in told
    assert "retention" not in told

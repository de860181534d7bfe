"""The lag behind what nobody sees: transaction markers and aborted messages at a topic's end."""

from confluent_kafka import Producer

from seckill.broker.topics import Topics
from seckill.consumer.group import ConsumerGroup
from seckill.process.shutdown import Shutdown
from seckill.telemetry.lag import LagWatch, Tails
from tests.conftest import wait_until
from tests.helpers.node import SOON_S, Node
from tests.helpers.sale import body, put_on_sale


def test_a_trailing_transaction_is_no_lag(node: Node) -> None:
    put_on_sale(node.client, {1001: 1000})
    producer = Producer(
        {"bootstrap.servers": node.server.brokers, "transactional.id": node.server.topic}
    )
    producer.init_transactions(30)
    # Partition 0 ends with a marker, partition 1 with an aborted message and its marker.
    for partition, commits in ((0, [True]), (1, [True, False])):
        for commit in commits:
            producer.begin_transaction()
            producer.produce(node.server.topic, body(1), partition=partition)
            producer.flush(20)
            producer.commit_transaction(30) if commit else producer.abort_transaction(30)
    # The markers are written after the answer.
    wait_until(
        lambda: node.topics.end_offsets(node.server.topic) == {0: 2, 1: 4}, SOON_S, "the markers"
    )
    group = ConsumerGroup(node.server, node.client, node.topics, Shutdown())
    watch = LagWatch(node.server.topic, lambda: Topics(node.server), Tails(node.server))
    for _ in range(3):
        # What is there and not decided stays lag, however often one looks.
        watch.run_once()
        assert watch.lag(node.lane().positions) == {0: 2, 1: 4}
        assert not group.drained()
    consumer = node.consumer()
    node.decided(consumer, 2)
    wait_until(group.drained, SOON_S, "the group is drained")
    assert group.lag(node.lane()) == 0

    def looked() -> object:
        watch.run_once()
        return watch.lag(node.lane().positions)

    wait_until(lambda: looked() == {0: 0, 1: 0}, SOON_S, "no lag is shown")
    # The next request is lag again, until it is decided.
    producer.begin_transaction()
    producer.produce(node.server.topic, body(2), partition=0)
    producer.commit_transaction(30)
    assert not group.drained()
    assert not group.drained()
    node.decided(consumer, 3)
    wait_until(group.drained, SOON_S, "drained again")
    watch.stop()
    watch.run()
    group.close()

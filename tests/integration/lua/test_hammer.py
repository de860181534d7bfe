"""Eight processes at one item of a thousand units, through Kafka, Redis and PostgreSQL.

Every buyer clicks twice, into two partitions that two processes decide at the same time.
"""

import pytest
import redis

from seckill.audit.kafka import KafkaAudit
from seckill.broker.reader import TopicReader
from seckill.broker.topics import Topics
from seckill.control.control import Control
from seckill.errors import BrokerAway
from seckill.formats.outcomes import Outcome
from seckill.lane.keys import Lane
from seckill.models import Activity, Record
from tests.conftest import wait_until
from tests.faults.harness import Sale
from tests.faults.opening import OpenSale
from tests.helpers.messages import send
from tests.helpers.sale import body

PROCESSES = 8
UNITS = 1_000
BUYERS = 10_000
# Seconds for eight interpreters to start on a machine that is busy.
START_S = 120


@pytest.fixture
def sale(open_sale: OpenSale, redis_client: "redis.Redis") -> Sale:
    """A thousand units, one for each buyer, and a partition for each process."""
    sale = open_sale(PROCESSES)
    sale.kafka_client = "confluent-kafka"
    control = Control(redis_client, "test", Lane())
    control.set_stock(1, {1001: UNITS})
    activity = Activity.objects.get(pk=1)
    activity.user_limit = 1
    control.configure(activity)
    return sale


@pytest.mark.timeout(1200)
def test_exactly_a_thousand_go_each_to_one_buyer(sale: Sale) -> None:
    topic, brokers = sale.server.topic, sale.server.brokers
    consumers = sale.consumer("--consumers", str(PROCESSES), "--batch-size", "50", stock=False)
    with Topics(sale.server) as topics:

        def shared_out() -> bool:
            try:
                return len(topics.group_members(sale.server.group_id)) == PROCESSES
            except BrokerAway:
                # A new Kafka has no coordinator of groups yet.
                return False

        wait_until(shared_out, START_S, "all processes share the partitions")
    # Each partition gets buyers of its own, and those of the one before once more.
    shares = [range(1 + n, BUYERS + 1, PROCESSES) for n in range(PROCESSES)]
    for partition in range(PROCESSES):
        mine, again = shares[partition], shares[partition - 1]
        clicks = [body(user) for pair in zip(mine, again, strict=True) for user in pair]
        send(brokers, topic, clicks, partition)
    wait_until(lambda: sale.decided() == 2 * BUYERS, 90, "all clicks are decided")
    consumers.process.terminate()
    assert consumers.ended(60) == 0
    sale.drain_records()

    activity = sale.look().activities[1]
    assert activity.items[1001].left == 0
    assert activity.outcomes[Outcome.ACCEPTED] == UNITS
    refused = {Outcome.LIMIT, Outcome.OVER, Outcome.SOLD_OUT}
    assert sum(activity.outcomes[outcome] for outcome in refused) == 2 * BUYERS - UNITS
    assert Record.objects.count() == UNITS
    assert Record.objects.values("user_id").distinct().count() == UNITS
    assert set(Record.objects.values_list("quantity", flat=True)) == {1}
    with TopicReader(sale.server) as reader:
        report = KafkaAudit(sale.redis, reader, Lane()).run()
    assert report.findings == []
    assert report.exact
    assert (report.sum("requests"), report.sum("records")) == (2 * BUYERS, UNITS)
    # Each process had a partition, and decided all of it.
    assert [look.requests for look in report.partitions] == [2 * BUYERS // PROCESSES] * PROCESSES

"""The lost reply: the request was done, the answer never arrives. And lines that are slow or dead.

Through a proxy in front of each service. What the other side does not know was done, it repeats.
"""

import random
from collections.abc import Iterator
from contextlib import closing

import pytest
from kafka.admin import KafkaAdminClient

from seckill.broker.opening import open_consumer
from tests.conftest import wait_until
from tests.faults.command import stop
from tests.faults.harness import Sale
from tests.faults.lines import on_line, port_of
from tests.faults.proxy import KafkaProxy, Loses, Proxy, kafka_request

# Kafka's numbers of requests: fetch, offset fetch, join, sync.
READS_AND_JOINS = kafka_request(1, 9, 11, 14)
OFFSET_COMMIT = kafka_request(8)
SYNC = kafka_request(14)
# Answers that are lost in each scenario, at least.
LOST = 4
SESSION_MS = "2000"
ALL_FOUR = r"assigned partitions: \[0, 1, 2, 3\]"
TWO = r"assigned partitions: \[\d, \d\]"


@pytest.fixture
def redis_line(sale: Sale) -> Iterator[Proxy]:
    """A line to Valkey."""
    with Proxy(port_of(sale.server.redis_url)) as proxy:
        yield proxy


@pytest.fixture
def postgres_line(sale: Sale) -> Iterator[Proxy]:
    """A line to PostgreSQL."""
    with Proxy(port_of(sale.environment["SECKILL_PG_DSN"])) as proxy:
        yield proxy


@pytest.fixture
def kafka_line(sale: Sale) -> Iterator[KafkaProxy]:
    """A line to Kafka."""
    with KafkaProxy(port_of(sale.server.brokers)) as proxy:
        yield proxy


def sometimes(rng: random.Random, word: bytes, share: float) -> Loses:
    """Requests with this word, a share of them."""
    return lambda request: word in request and rng.random() < share


def test_the_script_ran_and_its_answer_is_lost(
    sale: Sale, redis_line: Proxy, rng: random.Random
) -> None:
    url = on_line(sale.server.redis_url, redis_line)
    consumer = sale.consumer("--redis-url", url, "--batch-size", "200")
    log_worker = sale.log_worker("--redis-url", url, "--batch-size", "200")
    with sale.load(2_000):
        sale.wait_decided(1_000)
        redis_line.lose_answers(sometimes(rng, b"EVALSHA", 0.3))
        wait_until(lambda: redis_line.lost >= LOST, 60, "answers are lost")
        consumer.wait_for("HOLD: Redis is away: .* Requests wait in Kafka, nothing is lost")
        redis_line.behave()
        sale.wait_decided(sale.sent)
    sale.wait_all_decided()
    sale.wait_all_stored()
    stop(consumer, log_worker)
    sale.prove()


def test_the_commit_ran_and_its_answer_is_lost(
    sale: Sale, postgres_line: Proxy, rng: random.Random
) -> None:
    sale.backlog(8_000)
    assert sale.consumer("--drain").ended(40) == 0
    dsn = on_line(sale.environment["SECKILL_PG_DSN"], postgres_line)
    postgres_line.lose_answers(sometimes(rng, b"COMMIT", 0.3))
    log_worker = sale.log_worker("--pg-dsn", dsn, "--batch-size", "100")
    wait_until(lambda: postgres_line.lost >= LOST, 60, "answers are lost")
    log_worker.wait_for("PostgreSQL is away: .*; records wait in Redis, nothing is lost")
    postgres_line.behave()
    sale.wait_all_stored()
    # What was committed was read again, and known.
    log_worker.wait_for("already stored [1-9]")
    stop(log_worker)
    sale.prove()


def test_a_start_waits_for_a_service_that_fails_between_its_checks(
    sale: Sale, postgres_line: Proxy
) -> None:
    commits = 0

    def loses(request: bytes) -> bool:
        nonlocal commits
        commits += b"COMMIT" in request
        return b"COMMIT" in request and commits == 1

    postgres_line.lose_answers(loses)
    dsn = on_line(sale.environment["SECKILL_PG_DSN"], postgres_line)
    log_worker = sale.log_worker("--pg-dsn", dsn)
    log_worker.wait_for(r"PostgreSQL is away: .*Trying for \d+ s more")
    log_worker.wait_for("stored 0 ")
    assert postgres_line.lost == 1
    stop(log_worker)


def test_kafka_did_it_and_its_answer_is_lost(
    sale: Sale, kafka_line: KafkaProxy, kafka_client: str, rng: random.Random
) -> None:
    sale.kafka_client = kafka_client
    commits = 0

    def loses(frame: bytes) -> bool:
        nonlocal commits
        if OFFSET_COMMIT(frame) and rng.random() < 0.7:
            commits += 1
            return True
        return READS_AND_JOINS(frame) and rng.random() < 0.1

    kafka_line.lose_answers(loses)
    consumer = sale.consumer(
        *("--brokers", f"127.0.0.1:{kafka_line.port}", "--session-timeout", SESSION_MS),
        *("--batch-size", "200"),
    )
    with sale.load(2_000):
        wait_until(lambda: min(commits, kafka_line.lost - commits) >= 2, 60, "both kinds are lost")
        sale.wait_decided(500)
        kafka_line.behave()
        sale.wait_decided(sale.sent)
    sale.wait_all_decided()
    stop(consumer)
    # Again from the start, in a new group, and in this one from what it committed.
    sale.finish()


def test_slow_lines(
    sale: Sale, redis_line: Proxy, postgres_line: Proxy, kafka_line: KafkaProxy
) -> None:
    redis_line.delay_s = postgres_line.delay_s = kafka_line.delay_s = 0.05
    url = on_line(sale.server.redis_url, redis_line)
    consumer = sale.consumer(
        "--redis-url", url, "--brokers", f"127.0.0.1:{kafka_line.port}", "--batch-size", "500"
    )
    dsn = on_line(sale.environment["SECKILL_PG_DSN"], postgres_line)
    log_worker = sale.log_worker("--redis-url", url, "--pg-dsn", dsn, "--batch-size", "500")
    with sale.load(500):
        sale.wait_decided(1_500, 60)
    sale.wait_all_decided()
    sale.wait_all_stored()
    stop(consumer, log_worker)
    sale.prove()


def test_a_consumer_behind_a_dead_line_loses_its_partitions_and_nothing_else(
    sale: Sale, kafka_line: KafkaProxy, kafka_client: str
) -> None:
    sale.kafka_client = kafka_client
    small = ("--batch-size", "200", "--session-timeout", SESSION_MS)
    cut_off = sale.consumer("--brokers", f"127.0.0.1:{kafka_line.port}", *small)
    cut_off.wait_for(ALL_FOUR, 30)
    other = sale.consumer(*small)
    with sale.load(1_000):
        for command in (cut_off, other):
            command.wait_for(TWO, 30)
        # On a busy machine a session can end earlier: what counts is what comes from here on.
        all_four, two = other.count(ALL_FOUR), cut_off.count(TWO)
        kafka_line.swallow()
        wait_until(lambda: other.count(ALL_FOUR) > all_four, 30, "the other one has all")
        sale.wait_decided(sale.sent)
        kafka_line.behave()
        wait_until(lambda: cut_off.count(TWO) > two, 60, "it is a member again")
        sale.wait_decided(sale.sent)
    sale.wait_all_decided()
    stop(cut_off, other)
    sale.finish()


def test_a_rejoin_whose_answer_is_lost_is_tried_again(
    sale: Sale, kafka_line: KafkaProxy, kafka_client: str
) -> None:
    line = {"kafka_client": kafka_client, "brokers": f"127.0.0.1:{kafka_line.port}"}
    consumer = open_consumer(sale.server.model_copy(update=line))

    def partitions() -> set[int]:
        consumer.poll(0.1, 1)
        return set(consumer.assignments()[1])

    with closing(consumer):
        wait_until(lambda: partitions() == {0, 1, 2, 3}, 30, "it has all partitions")
        syncs = 0

        def loses(frame: bytes) -> bool:
            nonlocal syncs
            syncs += SYNC(frame)
            return SYNC(frame) and syncs == 1

        kafka_line.lose_answers(loses)
        # The client learns by its metadata that the topic grew, and rejoins for that reason.
        with closing(KafkaAdminClient(bootstrap_servers=sale.server.brokers)) as admin:
            admin.create_partitions({sale.server.topic: 5})
        wait_until(lambda: partitions() == {0, 1, 2, 3, 4}, 60, "it has the new partition too")
        assert kafka_line.lost == 1

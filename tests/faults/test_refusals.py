"""Services that answer, and refuse: full, read-only, no room on disk; a topic that is not the same.

What is refused is refused whole. It waits, it is told, and it goes on when the reason is gone.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import psycopg
import pytest
from confluent_kafka import TopicPartition
from confluent_kafka.admin import AdminClient

from seckill.broker.topics import Topics
from seckill.models import Record
from tests.conftest import wait_until
from tests.faults.command import stop
from tests.faults.harness import Sale

PARTITIONS = 4


def test_a_full_valkey(sale: Sale) -> None:
    """Records that nobody stores fill it. The log worker makes room, and the sale goes on."""
    consumer = sale.consumer("--batch-size", "300")
    sale.wait_decided(-1)
    room = int(sale.redis.info("memory")["used_memory"]) + (3 << 20)  # type: ignore[index]
    sale.redis.config_set("maxmemory", room)
    try:
        sale.backlog(20_000)
        consumer.wait_for("HOLD: Redis is away: .*(OOM|maxmemory).* nothing is lost", 60)
        full = sale.decided()
        assert full < sale.sent
        log_worker = sale.log_worker("--batch-size", "300")
        consumer.wait_for("going on: Redis decides again", 30)
        sale.wait_decided(full)
        sale.wait_all_decided()
        sale.wait_all_stored()
        stop(consumer, log_worker)
    finally:
        sale.redis.config_set("maxmemory", 0)
    sale.prove()


@contextmanager
def read_only(execute: Callable[[str], object]) -> Iterator[None]:
    """PostgreSQL as a standby is, or a primary whose operator stopped the writing."""
    execute("ALTER SYSTEM SET default_transaction_read_only = on")
    execute("SELECT pg_reload_conf()")
    try:
        yield
    finally:
        execute("SET default_transaction_read_only = off")
        execute("ALTER SYSTEM RESET default_transaction_read_only")
        execute("SELECT pg_reload_conf()")


@contextmanager
def no_room_on_disk(execute: Callable[[str], object]) -> Iterator[None]:
    """Each row is refused with PostgreSQL's own error for a disk that is full."""
    execute(
        "CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION"
        " 'could not extend file: No space left on device' USING ERRCODE = 'disk_full'; END $$"
    )
    execute(
        "CREATE TRIGGER refuse BEFORE INSERT ON seckill_record"
        " FOR EACH STATEMENT EXECUTE FUNCTION refuse()"
    )
    try:
        yield
    finally:
        execute("DROP TRIGGER refuse ON seckill_record")
        execute("DROP FUNCTION refuse")


@pytest.mark.parametrize(
    ("refusing", "said"),
    [(read_only, "read-only transaction"), (no_room_on_disk, "No space left on device")],
)
def test_postgresql_refuses(
    sale: Sale, refusing: Callable[[Callable[[str], object]], Iterator[None]], said: str
) -> None:
    consumer, log_worker = sale.consumer(), sale.log_worker("--batch-size", "500")
    with (
        psycopg.connect(sale.environment["SECKILL_PG_DSN"], autocommit=True) as postgres,
        sale.load(1_000),
    ):
        wait_until(lambda: sale.stored() > 500, 40, "some records are stored")
        with refusing(postgres.execute):  # type: ignore[arg-type]
            log_worker.wait_for(f"PostgreSQL is away: .*{said}.* records wait in Redis, nothing is")
            rows = Record.objects.count()
            # The sale itself needs no PostgreSQL.
            sale.wait_decided(sale.sent)
            assert Record.objects.count() == rows
        log_worker.wait_for("going on: all services answer again")
    sale.wait_all_decided()
    sale.wait_all_stored()
    stop(consumer, log_worker)
    sale.prove()


def test_the_topic_is_deleted_and_made_again(sale: Sale) -> None:
    """Its offsets begin anew: nothing is taken for a duplicate of what had the same offset."""
    consumer = sale.consumer()
    sale.backlog(3_000)
    sale.wait_all_decided()
    before = sale.source
    with Topics(sale.server) as topics:
        topics.delete(sale.server.topic)
    sale.open(PARTITIONS)
    assert sale.source != before
    sale.backlog(6_000)
    consumer.wait_for("the topic was deleted and created again", 40)
    sale.wait_all_decided()
    stop(consumer)
    sale.finish()
    sources = Record.objects.values_list("source", flat=True).distinct()
    assert {str(source) for source in sources} == {before, sale.source}


def test_retention_overtakes_the_consumer(sale: Sale, kafka_client: str) -> None:
    """What Kafka no longer has cannot be decided: it is counted, and told."""
    sale.kafka_client = kafka_client
    consumer = sale.consumer()
    sale.backlog(2_000)
    sale.wait_all_decided()
    stop(consumer)
    decided = sale.ends()
    sale.backlog(3_000)
    admin = AdminClient({"bootstrap.servers": sale.server.brokers, "log_level": 0})
    new_start = {partition: max(0, end - 100) for partition, end in sale.ends().items()}
    for answer in admin.delete_records(
        [TopicPartition(sale.server.topic, *pair) for pair in new_start.items()]
    ).values():
        answer.result(60)
    lost = {p: start - decided[p] for p, start in new_start.items() if start > decided[p]}
    assert sum(lost.values()) > 2_000
    consumer = sale.consumer()
    sale.wait_all_decided()
    for partition, requests in lost.items():
        consumer.wait_for(
            rf"partition {partition}: offsets {decided[partition]} to "
            rf"{new_start[partition] - 1} .*retention.*: {requests} are counted as skipped"
        )
    stop(consumer)
    sale.drain_records()
    sale.prove(skipped=sum(lost.values()))

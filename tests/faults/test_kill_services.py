"""kill -9 of the servers in mid-load: the workers hold, say so, and go on when they are back."""

import time

from tests.faults.command import stop
from tests.faults.harness import Sale


def test_killed_valkey(sale: Sale, kafka_client: str) -> None:
    sale.kafka_client = kafka_client
    consumer, log_worker = sale.consumer(), sale.log_worker()
    with sale.load():
        decided = sale.wait_decided(2_000)
        sale.kill("valkey")
        consumer.wait_for("HOLD: Redis is away: .* Requests wait in Kafka, nothing is lost")
        consumer.wait_for(r"\[status\] Redis is away")
        log_worker.wait_for("Redis is away: .*; records wait in Redis, nothing is lost")
        sale.revive("valkey")
        consumer.wait_for("going on: Redis decides again")
        log_worker.wait_for("going on: all services answer again")
        sale.wait_decided(decided + 6_000)
    sale.wait_all_decided()
    sale.wait_all_stored()
    stop(consumer, log_worker)
    # Told now and then, not with each attempt; how many status lines that is depends on the clock.
    assert len(consumer.lines) - consumer.count(r"^\[status\]|^ ") < 60
    sale.prove()


def test_killed_kafka(sale: Sale, kafka_client: str) -> None:
    sale.kafka_client = kafka_client
    consumer, log_worker = sale.consumer(), sale.log_worker()
    with sale.load():
        decided = sale.wait_decided(2_000)
        sale.kill("kafka")
        consumer.wait_for("Kafka is away: .*The sale waits for it, nothing is lost")
        consumer.wait_for(r"\[status\] .*lag unknown \(Kafka is away\)")
        sale.revive("kafka")
        consumer.wait_for("going on: Kafka answers again")
        sale.wait_decided(decided + 6_000)
    sale.wait_all_decided()
    sale.wait_all_stored()
    consumer.wait_for(r"\[status\] .*\| lag 0 \|")
    stop(consumer, log_worker)
    sale.prove()


def test_killed_postgres(sale: Sale) -> None:
    consumer, log_worker = sale.consumer(), sale.log_worker()
    with sale.load():
        sale.wait_decided(2_000)
        sale.kill("postgres")
        log_worker.wait_for("PostgreSQL is away: .*; records wait in Redis, nothing is lost")
        # The sale itself needs no PostgreSQL.
        decided = sale.decided()
        sale.wait_decided(decided + 6_000)
        log_worker.wait_for(r"\[log worker\] waiting [1-9]")
        sale.revive("postgres")
        log_worker.wait_for("going on: all services answer again")
    sale.wait_all_decided()
    sale.wait_all_stored()
    stop(consumer, log_worker)
    sale.prove()


def test_stop_while_all_services_are_away(sale: Sale, kafka_client: str) -> None:
    sale.kafka_client = kafka_client
    consumer, log_worker = sale.consumer(), sale.log_worker()
    with sale.load():
        sale.wait_decided(2_000)
        sale.kill("valkey")
        consumer.wait_for("HOLD: Redis is away")
        sale.kill("kafka")
        sale.kill("postgres")
        log_worker.wait_for("Redis is away")
        began = time.monotonic()
        stop(consumer, log_worker)
        print(f"stopped in {time.monotonic() - began:.1f} s")
        for service in ("valkey", "postgres", "kafka"):
            sale.revive(service)
    sale.finish()

"""The process is gone between two steps: each step of the consumer, each step of the log worker.

One sale dies at all of its points in turn, in the order and at the batches that the seed says.
"""

import random

from tests.faults.dying import CONSUMER_POINTS, DIED, LOG_WORKER_POINTS
from tests.faults.harness import Sale

# A worker comes to its point at this batch, at the latest.
LATEST = 4


def test_a_consumer_dies_between_any_two_steps(
    sale: Sale, kafka_client: str, rng: random.Random
) -> None:
    sale.kafka_client = kafka_client
    sale.load_stock()
    for number, point in enumerate(rng.sample(CONSUMER_POINTS, len(CONSUMER_POINTS))):
        # Enough for each to come to its point, and not all: the next one finds something too.
        sale.backlog(2_500)
        # Commits come by the clock, so that there may be one alone.
        nth = 1 if "commit" in point or "parking" in point else rng.randint(1, LATEST)
        print(f"consumer dies {point}, time {nth}")
        variables = {
            "SECKILL_TOPIC": sale.server.topic,
            # Its own group: the partitions of the dead are not waited for.
            "SECKILL_GROUP_ID": f"{sale.server.group_id}-{number}",
            "SECKILL_KAFKA_CLIENT": kafka_client,
            "SECKILL_BATCH_SIZE": "150",
        }
        assert sale.run_module("dying", "consumer", point, str(nth), **variables).ended(60) == DIED
    assert 0 < sale.decided() < sale.sent
    sale.finish()


def test_a_log_worker_dies_between_any_two_steps(sale: Sale, rng: random.Random) -> None:
    sale.backlog(12_000)
    assert sale.consumer("--drain").ended(60) == 0
    for point in rng.sample(LOG_WORKER_POINTS, len(LOG_WORKER_POINTS)):
        nth = rng.randint(1, LATEST)
        print(f"log worker dies {point}, time {nth}")
        died = sale.run_module("dying", "log worker", point, str(nth), SECKILL_BATCH_SIZE="200")
        assert died.ended(60) == DIED
    assert sale.look().waiting > 0
    sale.drain_records()
    sale.prove()

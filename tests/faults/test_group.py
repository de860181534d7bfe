"""Several at once: a zombie, members that come and go, two hosts, two log workers on one list."""

import random
import signal

from tests.conftest import wait_until
from tests.faults.command import stop
from tests.faults.harness import Sale

# Short, so that the dead and the silent are soon found out; and small batches, so that any moment
# is in the middle of something.
SESSION = ("--session-timeout", "2000", "--batch-size", "100")
ALL_FOUR = r"assigned partitions: \[0, 1, 2, 3\]"
TWO = r"assigned partitions: \[\d, \d\]"
ONE = r"assigned partitions: \[\d\]"
LIVES = 8


def test_a_zombie(sale: Sale, kafka_client: str) -> None:
    sale.kafka_client = kafka_client
    first, second = sale.consumer(*SESSION), sale.consumer(*SESSION)
    for command in (first, second):
        command.wait_for(TWO, 40)
    (zombie,) = first.consumers()
    # Whoever came first had all of them before: what counts is what comes from here on.
    all_four, two = second.count(ALL_FOUR), first.count(TWO)
    with sale.load(1_500):
        sale.wait_decided(1_500)
        zombie.suspend()
        # Its session is over: the other one has all, and what the zombie had in its hands too.
        wait_until(lambda: second.count(ALL_FOUR) > all_four, 40, "the other one has all")
        sale.wait_decided(sale.sent)
        zombie.resume()
        wait_until(
            lambda: first.count(TWO) > two, 40, "the zombie finds out, and is a member again"
        )
        sale.wait_decided(sale.sent)
    sale.wait_all_decided()
    stop(first, second)
    sale.finish()


def test_members_come_and_go_all_the_time(sale: Sale, rng: random.Random) -> None:
    steady = sale.consumer(*SESSION)
    variables = {
        "SECKILL_TOPIC": sale.server.topic,
        "SECKILL_GROUP_ID": sale.server.group_id,
        "SECKILL_SESSION_TIMEOUT": "2000",
        "SECKILL_BATCH_SIZE": "100",
    }
    with sale.load(1_000):
        restless = [
            sale.run_module(
                "restless", str(rng.random()), SECKILL_KAFKA_CLIENT=kafka_client, **variables
            )
            for kafka_client in ("kafka-python", "confluent-kafka")
        ]
        for each in restless:
            each.wait_for(f"^lives {LIVES}$", 60)
        stop(*restless)
    sale.wait_all_decided()
    stop(steady)
    sale.finish()


def test_one_of_two_hosts_goes_dark(sale: Sale, rng: random.Random) -> None:
    hosts = [
        [sale.consumer("--consumers", "2", *SESSION), sale.log_worker("--batch-size", "100")]
        for _ in range(2)
    ]
    dark, lit = rng.sample(hosts, 2)
    with sale.load(1_500):
        for consumers, _ in hosts:
            consumers.wait_for(ONE, 40)
        sale.wait_decided(sale.sent)
        for command in dark:
            command.tell_group(signal.SIGKILL)
        sale.wait_decided(sale.sent)
    sale.wait_all_decided()
    sale.wait_all_stored()
    stop(*lit)
    sale.prove()

"""The way to Kafka at the start of a run: patient up to a limit. Owns the pauses of that."""

import time
from collections.abc import Callable

from loadgen.sender import Stop
from seckill.broker.producer import CONNECT_S, Producer, open_producer
from seckill.broker.topics import Topics
from seckill.errors import BrokerAway
from seckill_project.config import Client

# Seconds of the first and of the longest pause between two attempts.
FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.5, 5.0
# Seconds that an attempt gets even where the time is over.
SHORTEST_ATTEMPT_S = 1.0


def open_patiently(
    client: Client, partitions: int, shutdown: Stop, say: Callable[[str], None]
) -> Producer | None:
    """A producer for `client.topic`, which is made with so many partitions if it is missing.

    Tries again until `client.connect_timeout` is over, then raises BrokerAway; one attempt at
    least. None when a stop was asked for before.
    """
    deadline = time.monotonic() + client.connect_timeout
    pause = FIRST_PAUSE_S
    while not shutdown.requested:
        try:
            # The first contact is always this one: an attempt lasts no longer than what is left.
            attempt = min(CONNECT_S, max(deadline - time.monotonic(), SHORTEST_ATTEMPT_S))
            with Topics(client, bootstrap_timeout_s=attempt) as topics:
                if topics.ensure(client.topic, partitions):
                    say(f"made topic {client.topic} with {partitions} partitions")
            return open_producer(client, client.topic)
        except BrokerAway as away:
            left = deadline - time.monotonic()
            reason = str(away).removeprefix(f"{away.service} is away: ")
            if left <= 0:
                raise BrokerAway(
                    f"{reason}; gave up after {client.connect_timeout:g} s, nothing was sent. "
                    "Start Kafka, or name another one with --brokers"
                ) from None
            say(f"{away}; trying again for {left:.0f} s")
            shutdown.wait(min(pause, left))
            pause = min(pause * 2, LONGEST_PAUSE_S)
    return None

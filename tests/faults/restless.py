"""A member that joins and leaves the group all the time: `python -m tests.faults.restless SEED`.

Each life is a real consumer with a client of its own. It ends in order, or by falling silent:
then its partitions wait until its session is over, and it never hears of that.
"""

import random
import sys
import time

from seckill.broker.topics import Topics
from seckill.config.layers import load
from seckill.config.sections import Server
from seckill.consumer.engine import Engine
from seckill.lane.keys import Lane
from seckill.process.shutdown import Shutdown
from tests.faults.dying import build, log_as_a_consumer

# Seconds of a life.
SHORTEST_S, LONGEST_S = 0.2, 2.0


def main() -> None:
    """Live again and again, until SIGTERM."""
    rng, server, lives = random.Random(sys.argv[1]), load(Server), 0
    log_as_a_consumer()
    with Shutdown() as asked, Topics(server) as topics:
        while not asked.requested:
            life = Shutdown()
            consumer = build(server, topics, life, Engine(server.redis_url, Lane(), server.timeout))
            end = time.monotonic() + rng.uniform(SHORTEST_S, LONGEST_S)
            while time.monotonic() < end and not asked.requested:
                consumer.run_once()
            # The end of `run`: settled, committed, left. Else what was in flight is just dropped.
            if rng.random() < 0.5:
                life.request()
                consumer.run()
            else:
                consumer.client.close()
                consumer.dead_letters.close()
                consumer.engine.close()
            lives += 1
            print(f"lives {lives}", flush=True)


if __name__ == "__main__":
    main()

"""Workers that are wrong on purpose: `python -m tests.faults.wrong WORKER`.

Each lacks one thing that the promise stands on, and is the product's own but for that.
"""

import os
import sys
import time
from collections.abc import Sequence

from seckill.broker.topics import Topics
from seckill.config.layers import load as load_section
from seckill.config.sections import LogWorker as LogWorkerSection
from seckill.config.sections import Server
from seckill.consumer.engine import Batch, Engine, Look, Reply
from seckill.formats.outcomes import Outcome, digit_of
from seckill.lane.client import connect
from seckill.lane.keys import Lane
from seckill.log_worker.storage import Storage
from seckill.log_worker.worker import LogWorker
from seckill.process.shutdown import Shutdown
from tests.faults.dying import DIED, build, log_as_a_consumer
from tests.helpers.wrong_scripts import POSITION, changed

LANE = Lane()
# The batch at which the log worker dies.
DIES_AT = 3
# Seconds between looking and writing, as on a busy machine.
HESITATION_S = 0.02


class IgnoresThePosition(Engine):
    """Decides whatever comes, whether it was decided before or not."""

    def __init__(self, redis_url: str) -> None:
        super().__init__(redis_url, LANE)
        self._script = changed("decide_batch", POSITION, "local stored = from")

    def look(self, source: str, partitions: Sequence[int]) -> Look:
        """Without the positions: the consumer begins where the group is, at the start."""
        return Look(super().look(source, partitions).claim, dict.fromkeys(partitions))


class ForgetsACounter(Engine):
    """Does not count what is INVALID."""

    def __init__(self, redis_url: str) -> None:
        super().__init__(redis_url, LANE)
        self._script = changed(
            "decide_batch",
            "  {[INVALID] = invalid, [NO_SUCH_ACTIVITY] = no_such_activity, skipped = skipped})",
            "  {[NO_SUCH_ACTIVITY] = no_such_activity, skipped = skipped})",
        )


class ReadsThenWrites(Engine):
    """Decides by the stock that it saw when the batch came, and writes what is left of that."""

    def __init__(self, redis_url: str) -> None:
        super().__init__(redis_url, LANE)
        self._redis, self._stock = connect(redis_url), LANE.activity(1).stock
        self._batches: list[Batch] = []
        self._seen: dict[bytes, bytes] = {}

    @property
    def busy(self) -> bool:
        return bool(self._batches)

    def submit(self, batches: Sequence[Batch]) -> None:
        self._batches = list(batches)
        self._seen = self._redis.hgetall(self._stock)  # type: ignore[assignment]

    def collect(self) -> list[Reply]:
        time.sleep(HESITATION_S)
        self._redis.hset(self._stock, mapping=self._seen)  # type: ignore[arg-type]
        batches, self._batches = self._batches, []
        super().submit(batches)
        return super().collect()


class WritesTheBoard(Engine):
    """Writes the board itself: the script does not."""

    def __init__(self, redis_url: str) -> None:
        super().__init__(redis_url, LANE)
        self._redis = connect(redis_url)
        self._script = changed(
            "decide_batch",
            "  write_board(span[1], span[2] or string.rep(loser_byte, span[3]))\n",
            "",
        )

    def write(self, batch: Batch, outcomes: bytes) -> None:
        """The bytes of a batch. The tests stay within one string of a board."""
        key = self.lane.board(batch.source, batch.partition, 0)
        self._redis.setrange(key, batch.start, outcomes)  # type: ignore[arg-type]


class WritesTheBoardFirst(WritesTheBoard):
    """Tells yes as long as something is left, and has it decided afterwards."""

    def submit(self, batches: Sequence[Batch]) -> None:
        left = any(
            int(n)
            for n in self._redis.hmget(LANE.activity(1).stock, ["1002"])
            if n is not None  # type: ignore[union-attr]
        )
        outcome = Outcome.ACCEPTED if left else Outcome.SOLD_OUT
        for batch in batches:
            self.write(batch, bytes([digit_of(outcome)]) * (batch.end - batch.start))
        super().submit(batches)


class WritesTheBoardLast(WritesTheBoard):
    """Writes what the script has answered."""

    def submit(self, batches: Sequence[Batch]) -> None:
        self._batches = [batch.whole() for batch in batches]
        super().submit(self._batches)

    def collect(self) -> list[Reply]:
        replies = super().collect()
        time.sleep(HESITATION_S)
        for batch, reply in zip(self._batches, replies, strict=True):
            self.write(batch, reply.outcomes)
        return replies


class TrimsFirst(LogWorker):
    """Takes records off the list, and stores them afterwards; dies in between."""

    turns = 0

    def run_once(self) -> int:
        batch = self._read(0)
        if batch.entries:
            # The product's own trim says what was stored: a log worker would find the loss by it.
            self.client.ltrim(LANE.list, 0, -len(batch.entries) - 1)
            self.turns += 1
            if self.turns == DIES_AT:
                os._exit(DIED)
            self._store(batch)
        return len(batch.entries)


def main() -> None:
    """Run until SIGTERM."""
    name = sys.argv[1]
    if name == "trims first":
        settings = load_section(LogWorkerSection)
        TrimsFirst(
            connect(settings.redis_url), Storage(settings.pg_dsn), Shutdown(), batch_size=100
        ).run(drain=True)
        return
    engine = {
        "ignores the position": IgnoresThePosition,
        "forgets a counter": ForgetsACounter,
        "reads, then writes": ReadsThenWrites,
        "writes the board first": WritesTheBoardFirst,
        "writes the board last": WritesTheBoardLast,
    }[name]
    server = load_section(Server)
    log_as_a_consumer()
    with Shutdown() as shutdown, Topics(server) as topics:
        build(server, topics, shutdown, engine(server.redis_url)).run()


if __name__ == "__main__":
    main()

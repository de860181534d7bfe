"""The settler's engine: sends batches of settlements to `settle_batch.lua`.

Every call may be repeated: the stored position tells the script what it has settled already.
"""

from collections.abc import Callable, Mapping, Sequence

from seckill.consumer.batch import Batch
from seckill.consumer.engine import Gatekeeper, Look, Reply, Status
from seckill.errors import BrokerAway
from seckill.lane.clicks import Place
from seckill.lane.client import redis_errors
from seckill.lane.holds import SettleBatch, SettleStatus, settle_batch
from seckill.lane.keys import Lane, position_field
from seckill.postgres.lease import Claim
from seckill.settler.batch import Settlements
from seckill.settler.guarded import Guarded

WAITS = (
    "a settlement in partition {partition} names a request that is not decided (again) yet; it "
    "goes on once manage.py run_consumer has decided it"
)
# Ends of the request topic: {source:partition: the offset that its next message will get}.
FindEnds = Callable[[], Mapping[str, int]]


class SettleEngine:
    """See `seckill.consumer.engine.Decider`: for `Settlements` only. Not thread-safe.

    `find_ends` asks Kafka for the ends of the request topic's partitions. It may raise BrokerAway.
    """

    def __init__(self, redis_url: str, lane: Lane, guard: Gatekeeper, find_ends: FindEnds) -> None:
        self._redis = Guarded(redis_url, lane, guard)
        self._find_ends = find_ends
        self._in_flight: list[Settlements] = []

    @property
    def claim(self) -> Claim:
        """See `Decider`."""
        return self._redis.claim

    @property
    def busy(self) -> bool:
        """See `Decider`."""
        return bool(self._in_flight)

    def submit(self, batches: Sequence[Batch]) -> None:
        """See `Decider`. The calls are made by `collect`."""
        for batch in batches:
            assert isinstance(batch, Settlements)
            self._in_flight.append(batch)

    def collect(self) -> list[Reply]:
        """See `Decider`."""
        batches, self._in_flight = self._in_flight, []
        return [self._settle(batch) for batch in batches]

    def look(self, source: str, partitions: Sequence[int]) -> Look:
        """See `Decider`."""
        claim = self._redis.refresh()
        if not partitions:
            return Look(claim, {})
        fields = [position_field(source, partition) for partition in partitions]
        with redis_errors():
            stands = self._redis.client.hmget(self._redis.lane.settle_positions, fields)
        return Look(
            claim,
            {p: None if at is None else int(at) for p, at in zip(partitions, stands, strict=True)},
        )

    def close(self) -> None:
        """See `Decider`."""
        self._in_flight = []
        self._redis.drop()

    def _settle(self, batch: Settlements) -> Reply:
        self._redis.ready()
        while True:
            reply = settle_batch(
                self._redis.client,
                self._redis.lane,
                SettleBatch(
                    batch.source,
                    batch.partition,
                    batch.start,
                    batch.end,
                    batch.generation,
                    batch.told,
                ),
                self._redis.claim.identity,
            )
            if reply.status is not SettleStatus.UNSEEN:
                break
            # Another lane than the one that was admitted: the guard looks at it first.
            self._redis.drop()
            self._redis.ready()
        waits = ""
        if reply.waiting:
            waits = WAITS.format(partition=batch.partition)
            try:
                self._mark_lost(batch)
            except BrokerAway as away:
                waits = f"{waits}; whether Kafka still has that request is not known: {away}"
        return Reply(
            status=Status(reply.status),
            position=reply.position,
            outcomes=reply.outcomes,
            now_ms=reply.now_ms,
            generation=reply.generation,
            why=reply.why,
            waits=waits,
        )

    def _mark_lost(self, batch: Settlements) -> None:
        """Find out for which of the requests it would wait for ever. Raises BrokerAway.

        An acknowledged request is below the end of its partition, unless Kafka lost it.
        """
        ends = self._find_ends()

        def is_lost(hold: Place) -> bool:
            return hold.offset >= ends.get(position_field(hold.source, hold.partition), 0)

        batch.mark_lost(is_lost)

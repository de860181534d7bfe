"""An engine with traces: each batch and each script call is a span."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from seckill.consumer.batch import Batch
from seckill.consumer.engine import Decider, Look, Reply
from seckill.errors import RedisAway
from seckill.postgres.lease import Claim
from seckill.telemetry.tracing import Tracing

if TYPE_CHECKING:
    from opentelemetry.trace import Span


class TracedEngine:
    """An engine around another one, whose batches and script calls are spans."""

    def __init__(self, engine: Decider, tracing: Tracing) -> None:
        self._engine, self._tracing = engine, tracing
        self._spans: list[tuple[Span, Span]] = []

    @property
    def claim(self) -> Claim:
        """See `Decider`."""
        return self._engine.claim

    @property
    def busy(self) -> bool:
        """See `Decider`."""
        return self._engine.busy

    def look(self, source: str, partitions: Sequence[int]) -> Look:
        """See `Decider`."""
        return self._engine.look(source, partitions)

    def submit(self, batches: Sequence[Batch]) -> None:
        """See `Decider`."""
        if not self._spans:
            self._spans = [self._begin(batch) for batch in batches]
        try:
            self._engine.submit(batches)
        except RedisAway as away:
            self._fail(away)
            raise

    def collect(self) -> list[Reply]:
        """See `Decider`."""
        try:
            replies = self._engine.collect()
        except RedisAway as away:
            self._fail(away)
            raise
        for (batch, script), reply in zip(self._spans, replies, strict=True):
            script.set_attribute("seckill.status", reply.status.name)
            script.end()
            batch.end()
        self._spans = []
        return replies

    def close(self) -> None:
        """See `Decider`. Also sends the remaining spans."""
        self._engine.close()
        self._tracing.close()

    def _begin(self, batch: Batch) -> "tuple[Span, Span]":
        attributes = {
            "messaging.system": "kafka",
            "messaging.destination.partition.id": str(batch.partition),
            "messaging.batch.message_count": batch.requests,
            "seckill.from": batch.start,
            "seckill.to": batch.end,
        }
        outer = self._tracing.begin("batch", "CONSUMER", attributes, links=batch.traces.values())
        return outer, self._tracing.begin("script", "CLIENT", {"db.system": "redis"}, below=outer)

    def _fail(self, away: RedisAway) -> None:
        for batch, script in self._spans:
            self._tracing.failed(script, away)
            self._tracing.failed(batch, away)
        self._spans = []

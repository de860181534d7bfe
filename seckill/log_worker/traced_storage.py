"""The storage of a log worker with traces: each transaction and each sampled row is a span."""

from collections.abc import Mapping, Sequence

from seckill.dead_letters.records import Dead
from seckill.errors import ServiceAway
from seckill.formats.record import WireRecord
from seckill.lane.keys import DEFAULT_LIST
from seckill.log_worker.storage import Storage, Stored
from seckill.postgres.lease import Claim
from seckill.telemetry.tracing import Tracing


class TracedStorage(Storage):
    """A storage whose transactions are spans. A sampled row is a span below its request."""

    def __init__(self, tracing: Tracing, dsn: str, lane: str = DEFAULT_LIST) -> None:
        super().__init__(dsn, lane)
        self._tracing = tracing

    def store(
        self,
        claim: Claim,
        records: Sequence[WireRecord],
        texts: Sequence[bytes],
        dead: Sequence[Dead] = (),
        stored: Mapping[str, int] | None = None,
    ) -> Stored:
        """See `Storage`."""
        traced = [record for record in records if record.trace is not None]
        span = self._tracing.begin(
            "store",
            "CONSUMER",
            {"db.system": "postgresql", "seckill.records": len(records)},
            links={record.trace or "": None for record in traced},
        )
        try:
            result = super().store(claim, records, texts, dead, stored)
        except ServiceAway as away:
            self._tracing.failed(span, away)
            raise
        span.set_attribute("seckill.stored", result.new)
        span.end()
        for record in traced:
            attributes = {
                "seckill.source": record.source,
                "seckill.partition": record.partition,
                "seckill.offset": record.offset,
                "seckill.item": record.item_id,
            }
            with self._tracing.below(record.trace or "", "row", attributes):
                pass
        return result

    def close(self) -> None:
        """See `Storage`. Also sends the remaining spans."""
        super().close()
        self._tracing.close()

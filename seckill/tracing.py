"""Traces by OpenTelemetry, for those who set `otlp_endpoint`; without it nothing here is imported.

One request's way: `request` at its sender, which sends it on in the header `traceparent`; a `batch`
of the consumer that links to the sampled requests in it, with the `script` call below; the record
carries the trace on, so that the `store` of the log worker links to it too; and its `row`, below
the request itself. Only a sampled share of requests is traced, a few of each poll at most.
"""

from collections.abc import Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any

from seckill.batch import Batch
from seckill.broker.producer import Done, Producer
from seckill.broker.traces import HEADER
from seckill.dead_records import Dead
from seckill.engine import Engine, Reply
from seckill.errors import RedisAway, ServiceAway
from seckill.keys import DEFAULT_LIST
from seckill.lease import Claim
from seckill.records import WireRecord
from seckill.storage import Storage, Stored
from seckill_project.config import Client, ConfigError

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.trace import Span

# Seconds that sending spans may take; what cannot be sent is dropped.
EXPORT_TIMEOUT_S = 2


class Tracing:
    """The spans of one process."""

    def __init__(self, provider: "TracerProvider") -> None:
        from opentelemetry import trace
        from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

        self._provider = provider
        self._tracer = provider.get_tracer("seckill")
        self._api = trace
        self._propagator = TraceContextTextMapPropagator()

    def begin(
        self,
        name: str,
        kind: str,
        attributes: Mapping[str, Any],
        *,
        below: "Span | None" = None,
        links: Iterable[str] = (),
    ) -> "Span":
        """A span that the caller ends. `links` are traceparents."""
        api = self._api
        return self._tracer.start_span(
            name,
            context=None if below is None else api.set_span_in_context(below),
            kind=api.SpanKind[kind],
            attributes=dict(attributes),
            links=[api.Link(self._context(text)) for text in links],
        )

    def below(
        self, traceparent: str, name: str, attributes: Mapping[str, Any]
    ) -> AbstractContextManager["Span"]:
        """A span below a request's own."""
        return self._tracer.start_as_current_span(
            name,
            context=self._propagator.extract({HEADER: traceparent}),
            attributes=dict(attributes),
        )

    def traceparent(self, span: "Span") -> str:
        """The header by which others go on from a span."""
        carrier: dict[str, str] = {}
        self._propagator.inject(carrier, self._api.set_span_in_context(span))
        return carrier[HEADER]

    def failed(self, span: "Span", reason: object) -> None:
        """End a span of something that did not succeed."""
        span.set_status(self._api.Status(self._api.StatusCode.ERROR, str(reason)))
        span.end()

    def close(self) -> None:
        """Send what is left; what cannot be sent is dropped."""
        self._provider.shutdown()

    def _context(self, traceparent: str) -> Any:
        context = self._propagator.extract({HEADER: traceparent})
        return self._api.get_current_span(context).get_span_context()


def open_tracing(service: str, endpoint: str | None) -> Tracing | None:
    """Spans to an OTLP collector; None without an endpoint. Raises ConfigError: not installed."""
    if endpoint is None:
        return None
    try:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
        from opentelemetry.sdk.resources import Resource
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor
    except ImportError as missing:
        raise ConfigError(
            f"otlp_endpoint is set, but {missing.name} is not installed; install "
            "opentelemetry-sdk and opentelemetry-exporter-otlp-proto-http, or unset it"
        ) from None
    provider = TracerProvider(resource=Resource({"service.name": service}))
    exporter = OTLPSpanExporter(f"{endpoint.rstrip('/')}/v1/traces", timeout=EXPORT_TIMEOUT_S)
    provider.add_span_processor(BatchSpanProcessor(exporter))
    return Tracing(provider)


def traced_producer(producer: Producer, client: Client) -> Producer:
    """The producer, traced where the section asks for it. Raises ConfigError."""
    tracing = open_tracing("run_loadgen", client.otlp_endpoint)
    return producer if tracing is None else TracedProducer(producer, tracing, client.trace_every)


class TracedProducer:
    """A producer that begins the trace of every n-th request."""

    def __init__(self, producer: Producer, tracing: Tracing, every: int) -> None:
        self._producer, self._tracing, self._every = producer, tracing, every
        self._sent = 0

    @property
    def delivered(self) -> int:
        """See `Producer`."""
        return self._producer.delivered

    @property
    def failed(self) -> int:
        """See `Producer`."""
        return self._producer.failed

    @property
    def last_error(self) -> str:
        """See `Producer`."""
        return self._producer.last_error

    def send(
        self,
        value: bytes | None,
        headers: Sequence[tuple[str, bytes]] = (),
        done: Done | None = None,
    ) -> None:
        """See `Producer`."""
        self._sent += 1
        if self._sent % self._every:
            self._producer.send(value, headers, done)
            return
        span = self._tracing.begin("request", "PRODUCER", {"seckill.number": self._sent})
        header = (HEADER, self._tracing.traceparent(span).encode())
        self._producer.send(value, (*headers, header), done)
        span.end()

    def room(self, timeout_s: float = 0.0) -> int:
        """See `Producer`."""
        return self._producer.room(timeout_s)

    def flush(self, timeout_s: float) -> int:
        """See `Producer`."""
        return self._producer.flush(timeout_s)

    def close(self) -> None:
        """Also sends the spans that are left."""
        self._producer.close()
        self._tracing.close()


class TracedEngine(Engine):
    """An engine whose batches and script calls are spans."""

    def __init__(self, tracing: Tracing, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._tracing = tracing
        self._spans: list[tuple[Span, Span]] = []

    def submit(self, batches: Sequence[Batch]) -> None:
        """See `Engine`."""
        if not self._spans:
            self._spans = [self._begin(batch) for batch in batches]
        try:
            super().submit(batches)
        except RedisAway as away:
            self._fail(away)
            raise

    def collect(self) -> list[Reply]:
        """See `Engine`."""
        try:
            replies = super().collect()
        except RedisAway as away:
            self._fail(away)
            raise
        # Where Redis did not know the script, the second attempt has ended them.
        for (batch, script), reply in zip(self._spans, replies if self._spans else (), strict=True):
            script.set_attribute("seckill.status", reply.status.name)
            script.end()
            batch.end()
        self._spans = []
        return replies

    def close(self) -> None:
        """Also sends the spans that are left."""
        super().close()
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


class TracedStorage(Storage):
    """A storage whose transactions are spans, each sampled row one below its request."""

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
        """Also sends the spans that are left."""
        super().close()
        self._tracing.close()

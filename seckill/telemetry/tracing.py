"""Traces by OpenTelemetry, if `otlp_endpoint` is set. Otherwise nothing is imported here.

The path of one request: its sender, a door for instance, makes a `request` span and sends it in the
header `traceparent`.
A consumer's `batch` span links to the sampled requests in the batch, and has a `script` span below
it. The record carries the trace on: the log worker's `store` span links to it, and there is a `row`
span below the request's own. Only a share of requests is sampled, and only a few per poll.
"""

from collections.abc import Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any

from seckill.broker.producer import Done, Producer
from seckill.broker.traces import HEADER
from seckill.config.layers import ConfigError
from seckill.config.sections import Client

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.trace import Span

# Seconds that an export of spans may take. Spans that cannot be sent are dropped.
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
        """A span below a request's own span."""
        return self._tracer.start_as_current_span(
            name,
            context=self._propagator.extract({HEADER: traceparent}),
            attributes=dict(attributes),
        )

    def traceparent(self, span: "Span") -> str:
        """The header by which other spans refer to this span."""
        carrier: dict[str, str] = {}
        self._propagator.inject(carrier, self._api.set_span_in_context(span))
        return carrier[HEADER]

    def failed(self, span: "Span", reason: object) -> None:
        """End the span of something that failed."""
        span.set_status(self._api.Status(self._api.StatusCode.ERROR, str(reason)))
        span.end()

    def close(self) -> None:
        """Send the remaining spans. Spans that cannot be sent are dropped."""
        self._provider.shutdown()

    def _context(self, traceparent: str) -> Any:
        context = self._propagator.extract({HEADER: traceparent})
        return self._api.get_current_span(context).get_span_context()


def open_tracing(service: str, endpoint: str | None) -> Tracing | None:
    """The spans' exporter, or None without an endpoint. Raises ConfigError if not installed."""
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
    """The producer, with traces if the section asks for them. Raises ConfigError."""
    tracing = open_tracing("run_loadgen", client.otlp_endpoint)
    return producer if tracing is None else TracedProducer(producer, tracing, client.trace_every)


class TracedProducer:
    """A producer that starts a trace for every n-th request."""

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
        key: bytes | None = None,
        partition: int | None = None,
    ) -> None:
        """See `Producer`."""
        self._sent += 1
        if self._sent % self._every:
            self._producer.send(value, headers, done, key, partition)
            return
        span = self._tracing.begin("request", "PRODUCER", {"seckill.number": self._sent})
        header = (HEADER, self._tracing.traceparent(span).encode())
        self._producer.send(value, (*headers, header), done, key, partition)
        span.end()

    def room(self, timeout_s: float = 0.0) -> int:
        """See `Producer`."""
        return self._producer.room(timeout_s)

    def flush(self, timeout_s: float) -> int:
        """See `Producer`."""
        return self._producer.flush(timeout_s)

    def close(self) -> None:
        """See `Producer`. Also sends the remaining spans."""
        self._producer.close()
        self._tracing.close()

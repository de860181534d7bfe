"""A door's outbox with traces: the trace of a click begins here, and ends at its row."""

from collections.abc import Sequence

from seckill.broker.outbox import Done, Outbox
from seckill.broker.traces import HEADER
from seckill.config.sections import Door
from seckill.telemetry.tracing import Tracing, open_tracing


def traced_outbox(outbox: Outbox, section: Door) -> Outbox:
    """The outbox, with traces if the section asks for them. Raises ConfigError."""
    tracing = open_tracing("run_door", section.otlp_endpoint)
    return outbox if tracing is None else TracedOutbox(outbox, tracing, section.trace_every)


class TracedOutbox:
    """An outbox that starts a trace for every n-th request. Its span ends with the result."""

    def __init__(self, outbox: Outbox, tracing: Tracing, every: int) -> None:
        self._outbox, self._tracing, self._every = outbox, tracing, every
        self._sent = 0

    @property
    def partitions(self) -> int:
        """See `Outbox`."""
        return self._outbox.partitions

    @property
    def waiting(self) -> int:
        """See `Outbox`."""
        return self._outbox.waiting

    def send(
        self,
        value: bytes,
        partition: int,
        done: Done,
        headers: Sequence[tuple[str, bytes]] = (),
        key: bytes | None = None,
    ) -> bool:
        """See `Outbox`."""
        self._sent += 1
        if self._sent % self._every:
            return self._outbox.send(value, partition, done, headers, key)
        span = self._tracing.begin("request", "PRODUCER", {"seckill.partition": partition})

        def ended(offset: int, error: str) -> None:
            if error:
                self._tracing.failed(span, error)
            else:
                span.set_attribute("seckill.offset", offset)
                span.end()
            done(offset, error)

        header = (HEADER, self._tracing.traceparent(span).encode())
        sent = self._outbox.send(value, partition, ended, (*headers, header), key)
        if not sent:
            self._tracing.failed(span, "no room")
        return sent

    def poll(self) -> None:
        """See `Outbox`."""
        self._outbox.poll()

    def flush(self, timeout_s: float) -> int:
        """See `Outbox`."""
        return self._outbox.flush(timeout_s)

    def close(self) -> None:
        """See `Outbox`. Also sends the remaining spans."""
        self._outbox.close()
        self._tracing.close()

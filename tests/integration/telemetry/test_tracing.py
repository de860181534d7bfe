"""One request followed by its trace: sender, batch, script, log worker, row. And off: nothing."""

import subprocess
import sys
from collections.abc import Iterator

import pytest
import redis
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from seckill.broker.opening import open_consumer, open_outbox, open_producer
from seckill.broker.topics import Topics
from seckill.broker.traces import TRACES_A_POLL, traces_of
from seckill.config.layers import BASE_DIR
from seckill.config.sections import Server
from seckill.consumer.batch import encode
from seckill.consumer.consumer import Consumer
from seckill.consumer.engine import Engine
from seckill.consumer.traced_engine import TracedEngine
from seckill.dead_letters.writer import DeadLetters, dead_topic
from seckill.lane.keys import Lane
from seckill.log_worker.storage import Storage
from seckill.log_worker.traced_storage import TracedStorage
from seckill.log_worker.worker import LogWorker
from seckill.models import Record
from seckill.process.shutdown import Shutdown
from seckill.telemetry.traced_outbox import TracedOutbox
from seckill.telemetry.tracing import TracedProducer, Tracing
from tests.conftest import wait_until
from tests.helpers import sale

LANE = Lane()
PARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


@pytest.fixture
def exporter() -> InMemorySpanExporter:
    return InMemorySpanExporter()


@pytest.fixture
def tracing(exporter: InMemorySpanExporter) -> Iterator[Tracing]:
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    yield Tracing(provider)
    provider.shutdown()


def named(exporter: InMemorySpanExporter, name: str) -> list[ReadableSpan]:
    return [span for span in exporter.get_finished_spans() if span.name == name]


def links(span: ReadableSpan) -> set[int]:
    return {link.context.trace_id for link in span.links}


def decide(server: Server, topics: Topics, tracing: Tracing, count: int) -> None:
    """Decide so many requests of the topic, traced."""
    engine = Engine(server.redis_url, LANE)
    consumer = Consumer(
        client=open_consumer(server),
        engine=TracedEngine(engine, tracing),
        dead_letters=DeadLetters(server, lambda: open_producer(server, dead_topic(server.topic))),
        shutdown=Shutdown(),
        find_source=lambda: topics.source(server.topic),
    )
    wait_until(
        lambda: consumer.run_once() is not None and consumer.decided == count,
        60, "all is decided",
    )  # fmt: skip
    consumer.client.close()
    # Its close would end the spans of the others too.
    engine.close()


def test_one_request_through_all_of_it(
    server: Server, topics: Topics, redis_client: "redis.Redis", pg_dsn: str, kafka_client: str,
    tracing: Tracing, exporter: InMemorySpanExporter,
) -> None:  # fmt: skip
    server = server.model_copy(
        update={"kafka_client": kafka_client, "otlp_endpoint": "http://127.0.0.1:1"}
    )
    sale.put_on_sale(redis_client, {1001: 100, 1002: 100})
    producer = open_producer(server, server.topic)
    traced = TracedProducer(producer, tracing, every=5)
    for number in range(1, 11):
        traced.send(sale.body(number, {1001: 1, 1002: 1}, request_id=f"r{number}"))
    assert traced.flush(120) == 0
    producer.close()
    decide(server, topics, tracing, 10)
    storage = TracedStorage(tracing, pg_dsn)
    worker = LogWorker(redis_client, storage, Shutdown())
    while worker.run_once():
        pass
    Storage.close(storage)

    requests = named(exporter, "request")
    assert len(requests) == 2
    sampled = {span.context.trace_id for span in requests if span.context}
    batches, scripts = named(exporter, "batch"), named(exporter, "script")
    assert set().union(*map(links, batches)) == sampled
    assert {s.parent.span_id for s in scripts if s.parent} == {
        b.context.span_id for b in batches if b.context
    }
    assert {(s.attributes or {})["seckill.status"] for s in scripts} == {"DECIDED"}
    assert set().union(*map(links, named(exporter, "store"))) == sampled
    rows = named(exporter, "row")
    assert len(rows) == 4
    for request in requests:
        assert request.context
        mine = [r for r in rows if r.context and r.context.trace_id == request.context.trace_id]
        assert {r.parent.span_id for r in mine if r.parent} == {request.context.span_id}
        offsets = {(r.attributes or {})["seckill.offset"] for r in mine}
        assert len(offsets) == 1
        found = Record.objects.filter(
            offset=offsets.pop(), partition=(mine[0].attributes or {})["seckill.partition"]
        )
        assert {record.item_id for record in found} == {1001, 1002}
        number = (request.attributes or {})["seckill.number"]
        assert {record.request_id for record in found} == {f"r{number}"}


def test_the_trace_of_a_click_begins_at_the_door(
    server: Server, topics: Topics, redis_client: "redis.Redis", kafka_client: str,
    tracing: Tracing, exporter: InMemorySpanExporter,
) -> None:  # fmt: skip
    server = server.model_copy(
        update={"kafka_client": kafka_client, "otlp_endpoint": "http://127.0.0.1:1"}
    )
    sale.put_on_sale(redis_client, {1001: 100})
    outbox = open_outbox(server, server.topic)
    traced = TracedOutbox(outbox, tracing, every=5)
    told: list[tuple[int, int]] = []
    for number in range(10):
        partition = number % traced.partitions
        body = sale.body(number + 1)
        traced.send(body, partition, lambda offset, _, at=partition: told.append((at, offset)))  # type: ignore[misc]
    assert traced.flush(120) == 0
    outbox.close()
    requests = named(exporter, "request")
    assert len(requests) == 2
    places = {
        ((s.attributes or {})["seckill.partition"], (s.attributes or {})["seckill.offset"])
        for s in requests
    }
    assert len(told) == 10
    assert places <= set(told)
    decide(server, topics, tracing, 10)
    sampled = {span.context.trace_id for span in requests if span.context}
    assert set().union(*map(links, named(exporter, "batch"))) == sampled


def test_a_click_that_is_not_sent_has_a_span_that_failed(
    tracing: Tracing, exporter: InMemorySpanExporter
) -> None:
    class Full:
        partitions, waiting = 1, 0

        def send(self, *_: object) -> bool:
            return False

    assert not TracedOutbox(Full(), tracing, every=1).send(b"", 0, lambda *_: None)  # type: ignore[arg-type]
    (span,) = named(exporter, "request")
    assert span.status.description == "no room"


def test_a_record_carries_its_trace_and_stays_what_it_was(
    redis_client: "redis.Redis", server: Server
) -> None:
    sale.put_on_sale(redis_client, {1001: 100})
    values = [sale.body(1), sale.body(2, request_id='a"b'), sale.body(3)]
    engine = Engine(server.redis_url, LANE)
    traces = {0: PARENT, 1: PARENT}
    engine.decide([encode(sale.SOURCE, 0, 0, range(3), values, traces=traces)])
    engine.close()
    first, second, third = sale.waiting(redis_client)
    assert (first["trace"], "request_id" in first) == (PARENT, False)
    assert (second["trace"], second["request_id"]) == (PARENT, 'a"b')
    assert "trace" not in third
    assert list(first)[:7] == list(third)[:7]


def test_without_traces_a_batch_is_the_same_as_ever() -> None:
    values = [sale.body(1, at=5), sale.body(2, at=5, request_id="x")]
    plain = encode(sale.SOURCE, 0, 0, range(2), values)
    assert plain.blob == encode(sale.SOURCE, 0, 0, range(2), values, traces={}).blob
    assert plain.traces == {}


def test_only_well_formed_and_sampled_headers_are_taken() -> None:
    def taken(value: object) -> dict[int, str]:
        return traces_of([(7, [("other", b"x"), ("traceparent", value)])])

    assert taken(PARENT.encode()) == {7: PARENT}
    for wrong in (
        PARENT[:-1].encode() + b"0", b'","status":"lost', PARENT.encode() + b'"', None, b"",
        PARENT.upper().encode(),
    ):  # fmt: skip
        assert taken(wrong) == {}
    assert traces_of([(1, None), (2, [])]) == {}
    many = traces_of((n, [("traceparent", PARENT.encode())]) for n in range(1000))
    assert len(many) == TRACES_A_POLL


def test_nothing_of_it_is_imported_where_it_is_off() -> None:
    program = (
        "import sys, seckill.telemetry.tracing, seckill.log_worker.worker, "
        "seckill.consumer.consumer\nfrom seckill.telemetry.tracing import open_tracing\n"
        "assert open_tracing('x', None) is None\n"
        # redis-py imports what counts for it, wherever that is installed.
        "ours = ('opentelemetry.sdk.trace', 'opentelemetry.exporter')\n"
        "print([name for name in sys.modules if name.startswith(ours)])"
    )
    said = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, cwd=BASE_DIR
    )
    assert said.stdout.strip() == "[]"

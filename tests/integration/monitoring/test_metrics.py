"""`/metrics`, as Prometheus finds it: of each kind of process, and while Redis is away."""

import http.client
import socket
from collections.abc import Iterator
from typing import Any

import pytest
import redis
from prometheus_client.parser import text_string_to_metric_families

from seckill.audit.verdict import write_last_audit
from seckill.config.layers import ConfigError
from seckill.config.sections import Server
from seckill.consumer.engine import Engine
from seckill.lane.clicks import Place
from seckill.lane.held import Hold
from seckill.lane.keys import Lane
from seckill.lane.status import read_lane
from seckill.monitoring import metric_names
from seckill.monitoring.metrics import serve_metrics
from seckill.telemetry.heartbeats import Heart, Kind, worker_id
from seckill.telemetry.history import append_sample, sample_of
from tests.conftest import Manage, wait_until
from tests.helpers import blocks, sale

LANE = Lane()
Values = dict[tuple[str, tuple[str, ...]], float]


@pytest.fixture
def port() -> int:
    """A port that is free now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def text(port: int) -> str:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    connection.request("GET", "/metrics")
    answer = connection.getresponse()
    assert answer.status == 200
    return answer.read().decode()


def scrape(port: int) -> Values:
    """{(name, values by the labels' names): value}, of ours, each with its lane."""
    samples = [
        sample
        for family in text_string_to_metric_families(text(port))
        for sample in family.samples
        if sample.name.startswith("seckill_")
    ]
    assert {sample.labels.pop("lane") for sample in samples} == {"main"}
    return {
        (sample.name, tuple(v for _, v in sorted(sample.labels.items()))): sample.value
        for sample in samples
    }


@pytest.fixture
def served(redis_client: "redis.Redis", server: Server, port: int) -> Iterator[int]:
    with serve_metrics("127.0.0.1", port, {LANE.name: server.redis_url}):
        yield port


def test_a_sale_as_metrics(redis_client: "redis.Redis", server: Server, served: int) -> None:
    sale.put_on_sale(redis_client, {1001: 2, 1002: 5})
    engine = Engine(server.redis_url, LANE, 30_000)
    ago = sale.now_ms() - 60_000
    engine.decide([sale.batch([sale.body(n) for n in (1, 2, 3)] + [b"junk", sale.body(4, at=ago)])])
    engine.close()
    append_sample(redis_client, LANE, sample_of(read_lane(redis_client, LANE), {0: 7, 1: 0}))
    heart = Heart(server.redis_url, LANE, Kind.CONSUMER)
    heart.beat(5, "NOT_LOADED", decided=5)
    write_last_audit(redis_client, True, 12, "", "test", LANE)
    redis_client.hset(LANE.state, mapping={"fenced": "REWOUND", "generation": 2})
    activity = LANE.activity(1)
    for offset, due in ((7, ago), (8, sale.now_ms() + 60_000)):
        blocks.write(redis_client, Hold(Place("s", 0, offset), due, 7, {1001: 1}))
    ended = {"paid": 3, "expired": 2, "cancelled": 1, "units_paid": 4, "units_returned": 5}
    redis_client.hset(activity.stats, mapping={**ended, "too_late": 6})
    redis_client.hset(LANE.settle_stats, mapping={"paid": 3, "too_late": 7, "skipped": 8})
    redis_client.hset(LANE.settle_read, mapping={"s:0": ago, "s:1": sale.now_ms()})
    found = scrape(served)
    assert found["seckill_held_requests", ("1",)] == 2
    assert found["seckill_overdue_requests", ("1",)] == 1
    for result in ("paid", "expired", "cancelled"):
        assert found["seckill_settled_requests_total", ("1", result)] == ended[result]
    assert found["seckill_paid_units_total", ("1",)] == 4
    assert found["seckill_returned_units_total", ("1",)] == 5
    assert found["seckill_late_payments_total", ("1",)] == 6
    assert found["seckill_settlements_total", ("too_late",)] == 7
    assert found["seckill_settle_skipped_offsets_total", ()] == 8
    assert 59 < found["seckill_settle_read_age_seconds", ()] < 180
    assert found["seckill_lane_fenced", ("REWOUND",)] == 1
    assert found["seckill_lane_generation", ()] == 2
    assert found["seckill_redis_up", ()] == found["seckill_lane_loaded", ()] == 1
    assert found["seckill_stock_units", ("1", "1001")] == 0
    assert found["seckill_left_units", ("1",)] == 5
    assert found["seckill_loaded_units", ("1",)] == 7
    assert found["seckill_requests_total", ("1", "ACCEPTED")] == 2
    assert found["seckill_requests_total", ("1", "SOLD_OUT")] == 1
    assert found["seckill_requests_total", ("1", "EXPIRED")] == 1
    assert found["seckill_requests_total", ("0", "INVALID")] == 1
    assert found["seckill_expired_with_stock_total", ("1",)] == 1
    assert found["seckill_decision_latency_seconds_count", ("1",)] == 4
    assert found["seckill_decision_latency_seconds_bucket", ("1", "65.536")] == 4
    assert found["seckill_decision_latency_seconds_bucket", ("1", "32.768")] == 3
    assert 59 < found["seckill_decision_latency_seconds_sum", ("1",)] < 180
    assert found["seckill_lag_requests", ("0",)] == 7
    assert found["seckill_waiting_records", ()] == 2
    assert found["seckill_workers", ("consumer",)] == 1
    assert found["seckill_workers", ("log_worker",)] == 0
    assert found["seckill_worker_holding", ("consumer", worker_id())] == 1
    assert found["seckill_worker_done_total", ("consumer", "decided", worker_id())] == 5
    assert found["seckill_audit_verdict", ()] == 1
    assert found["seckill_audit_age_seconds", ()] < 60
    assert found["seckill_redis_memory_bytes", ()] > 0
    names = {family.name for family in text_string_to_metric_families(text(served))}
    # A door's are in test_door_metrics, of events in events/test_watching.
    ours = {metric.name for metric in metric_names.METRICS} - {metric_names.EVENTS_BEHIND.name}
    assert {name for name in ours if not name.startswith("seckill_door_")} <= names
    assert "process_cpu_seconds" in names or "process_cpu_seconds_total" in names


def test_kind_unit_and_meaning_are_served(redis_client: "redis.Redis", served: int) -> None:
    sale.put_on_sale(redis_client, {1001: 2})
    shown = text(served)
    for metric in metric_names.METRICS:
        if f"\n{metric.served_as}" in shown:
            assert f"# TYPE {metric.served_as} {metric.kind}\n" in shown
            assert f"# HELP {metric.served_as} {metric.meaning} [{metric.unit}]\n" in shown


def test_the_lag_of_long_ago_is_not_shown(redis_client: "redis.Redis", served: int) -> None:
    body = b'{"lag":{"0":7}}'
    redis_client.zadd(LANE.series, {b"1000 " + body: 1000})
    assert not [name for name, _ in scrape(served) if name == "seckill_lag_requests"]


def test_a_redis_that_is_away_is_one_metric(port: int) -> None:
    with serve_metrics("127.0.0.1", port, {LANE.name: "redis://127.0.0.1:1/0"}):
        assert scrape(port) == {("seckill_redis_up", ()): 0}


def test_a_port_that_is_taken_is_told(served: int, server: Server) -> None:
    with (
        pytest.raises(ConfigError, match=f"cannot listen on 127.0.0.1:{served}"),
        serve_metrics("127.0.0.1", served, {LANE.name: server.redis_url}),
    ):
        pass


def test_port_0_serves_nothing(server: Server) -> None:
    with serve_metrics("no such host", 0, {LANE.name: server.redis_url}):
        pass


@pytest.mark.parametrize("command", ["run_consumer", "run_log_worker", "run_control_api"])
def test_each_process_serves_it(
    manage: Manage, redis_client: "redis.Redis", kafka_topic: str, pg_dsn: str, port: int,
    command: str,
) -> None:  # fmt: skip
    sale.put_on_sale(redis_client, {1001: 3})
    flags: dict[str, list[str]] = {
        "run_consumer": ["--topic", kafka_topic, "--group-id", kafka_topic],
        "run_control_api": ["--port", "0"],
    }
    process = manage(command, "--metrics-port", str(port), *flags.get(command, []))

    def answers() -> Any:
        try:
            return scrape(port)
        except OSError:
            assert process.poll() is None
            return None

    found = wait_until(answers, 60, "it answers")
    assert found["seckill_left_units", ("1",)] == 3
    if command == "run_consumer":
        # The parent has the history written, which has the lag.
        wait_until(lambda: ("seckill_lag_requests", ("0",)) in scrape(port), 60, "the lag")
    process.terminate()
    assert process.wait(240) == 0

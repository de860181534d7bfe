"""What a door counts, as Prometheus, `manage.py status` and the desk show it."""

import http.client
import io
from collections.abc import Iterator

import pytest
import redis
from prometheus_client.parser import text_string_to_metric_families
from rich.console import Console

from devstack.endpoints import Endpoints
from seckill.lane.keys import Lane
from seckill.monitoring.look import look
from seckill.monitoring.metric_names import METRICS
from seckill.monitoring.metrics import serve_metrics
from seckill.monitoring.status_table import table
from seckill.telemetry.heartbeats import GONE_S, Heart, Kind, worker_id
from seckill.web.door.answers import State
from seckill.web.door.counts import Counts
from tests.conftest import Manage, wait_until
from tests.helpers.door import RunningDoor, open_door
from tests.helpers.node import Node, running
from tests.helpers.sale import put_on_sale
from tests.helpers.servers import free_port
from tests.integration.conftest import node  # noqa: F401

LANE = Lane()
Values = dict[tuple[str, str], float]


def scrape(port: int) -> Values:
    """{(name, the label beside the worker, or ""): value} of all doors together."""
    line = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    line.request("GET", "/metrics")
    text = line.getresponse().read().decode()
    found: Values = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            if sample.name.startswith("seckill_door_"):
                others = [v for k, v in sample.labels.items() if k not in ("worker", "lane")]
                key = sample.name, *others, ""
                found[key[:2]] = found.get(key[:2], 0.0) + sample.value
    return found


@pytest.fixture
def kafka_client() -> str:
    """The consumer's client: one is enough here."""
    return "confluent-kafka"


@pytest.fixture
def consumer(node: Node) -> Iterator[None]:  # noqa: F811
    """A consumer that runs."""
    with running(node.consumer()):
        yield


@pytest.mark.usefixtures("consumer")
def test_a_door_counts_what_it_tells(
    manage: Manage, node: Node, redis_client: "redis.Redis"  # noqa: F811
) -> None:  # fmt: skip
    put_on_sale(redis_client, {1001: 1})
    port = free_port()
    flags = ("--metrics-port", str(port), "--processes", "2")
    door = open_door(manage, node.server, *flags)
    wait_until(lambda: _answers(door), 60, "both processes or one of them listen")
    assert door.click(1, wait=20).content["state"] == "accepted"
    wait_until(lambda: door.click(2, wait=20).content.get("at_door"), 60, "a loser is shed")
    assert door.ask("POST", "/v1/requests").status == 401
    asked: Values = {}

    def counted() -> bool:
        asked.clear()
        asked.update(scrape(port))
        # Three calls, which may be of two processes, each with its own heartbeat.
        clicks = [("seckill_door_clicks_total", what) for what in ("acknowledged", "shed")]
        return all(asked.get(place, 0) >= 1 for place in clicks) and (
            asked.get(("seckill_door_refused_total", "401"), 0) >= 1
        )

    wait_until(counted, 60, "the heartbeats of both")
    assert asked["seckill_door_clicks_total", "unknown"] == 0
    assert asked["seckill_door_answers_total", "accepted"] == 1
    assert asked["seckill_door_refused_total", "401"] == 1
    assert asked["seckill_door_acknowledge_seconds_count", ""] >= 1
    assert asked["seckill_door_answer_seconds_count", ""] >= 1
    assert asked["seckill_door_answer_seconds_sum", ""] > 0
    assert asked["seckill_door_waiting_calls", ""] == 0
    assert asked["seckill_door_board_age_seconds", ""] < 60
    served = {name for name, _ in asked}
    for metric in METRICS:
        if metric.name.startswith("seckill_door_"):
            end = "_count" if metric.kind == "histogram" else ""
            assert metric.served_as + end in served
    shown = io.StringIO()
    Console(file=shown, width=400).print(table(look(redis_client, LANE)))
    assert shown.getvalue().count("\ndoor ") == 2
    assert "told accepted 1" in shown.getvalue()
    assert door.stop().code == 0


def _answers(door: RunningDoor) -> bool:
    try:
        return door.ask("GET", "/healthz").status == 200
    except OSError:
        return False


def test_a_door_that_is_gone_has_counters_and_nothing_of_the_moment(
    redis_client: "redis.Redis", stack: Endpoints
) -> None:
    port = free_port()
    counts = Counts(shed=4, not_taken=1, limited=2)
    counts.told(State.REFUSED, 0.02)
    heart = Heart(stack.redis_url, LANE, Kind.DOOR)
    heart.beat(counts.done, **counts.named(), waiting=7, board_age_ms=6_000)
    with serve_metrics("127.0.0.1", port, {LANE.name: stack.redis_url}):
        alive = scrape(port)
        assert alive["seckill_door_clicks_total", "shed"] == 4
        assert alive["seckill_door_refused_total", "429"] == 2
        assert alive["seckill_door_answer_seconds_bucket", "0.016"] == 0
        assert alive["seckill_door_answer_seconds_bucket", "0.032"] == 1
        assert alive["seckill_door_waiting_calls", ""] == 7
        assert alive["seckill_door_board_age_seconds", ""] == 6
        redis_client.zincrby(LANE.beats, -2000 * GONE_S, worker_id())
        gone = scrape(port)
        assert gone["seckill_door_clicks_total", "shed"] == 4
        assert not [name for name, _ in gone if "waiting" in name or "board_age" in name]

"""`manage.py report` on a sale whose order of arrival is known to the millisecond."""

import re
from pathlib import Path

import pytest
import redis
from confluent_kafka import Producer

from seckill.audit.audit import Report, audit
from seckill.broker.topics import Topics
from seckill.config.sections import Server
from seckill.consumer.engine import Engine
from seckill.lane.keys import Lane
from seckill.lane.status import read_lane
from seckill.report import data
from seckill.report.page import render
from seckill.telemetry.history import append_sample, sample_of
from tests.conftest import Manage
from tests.helpers import sale

LANE = Lane()


def send_at(server: Server, partition: int, bodies: list[bytes], first_ms: int) -> None:
    """One message a millisecond, from a moment on."""
    producer = Producer({"bootstrap.servers": server.brokers, "max.in.flight": 1})
    for number, value in enumerate(bodies):
        producer.produce(server.topic, value, partition=partition, timestamp=first_ms + number)
    assert producer.flush(120) == 0
    producer.close()


def test_the_picture_of_a_sale(
    manage: Manage, redis_client: "redis.Redis", server: Server, topics: Topics, pg_dsn: str,
    tmp_path: Path,
) -> None:  # fmt: skip
    """Partition 1 is decided first, though its buyers came 100 ms after those of partition 0."""
    sale.put_on_sale(redis_client, {1001: 50, 1002: 1000})
    append_sample(redis_client, LANE, sample_of(read_lane(redis_client, LANE), {0: 80, 1: 40}))
    now = sale.now_ms()
    early = [sale.body(n, at=now) for n in range(1, 81)]
    late = [sale.body(n, at=now) for n in range(101, 141)]
    send_at(server, 0, early, now)
    send_at(server, 1, late, now + 100)
    source = str(topics.source(server.topic))
    engine = Engine(server.redis_url, LANE)
    engine.decide([sale.batch(late, partition=1, source=source)])
    engine.decide([sale.batch(early, partition=0, source=source)])
    engine.close()
    log_worker = manage("run_log_worker", "--drain")
    assert log_worker.wait(240) == 0
    file = tmp_path / "sale.html"
    made = manage("report", "--topic", server.topic, "--output", str(file))
    said = made.communicate(timeout=240)[0]
    assert (made.returncode, said.strip()) == (0, str(file))
    page = file.read_text()
    # 40 late ones and 10 early ones won. In order the first 50 early ones would have: 1 ms apart,
    # so the late ones came 51 to 90 ms after the last of these.
    row = re.search(r"<tr><td>item 1001</td><td>120</td>(.*?)</tr>", page)
    assert row is not None
    assert re.findall(r"<td>(.*?)</td>", row[1]) == [
        "50", "40", "80.00 %", "70.5 ms", "90 ms",
    ]  # fmt: skip
    assert "Judged from 120 of 120 messages." in page
    assert "item 1002" in page
    assert page.count("<svg") == 10
    assert '<b class="">70</b>' not in page
    again = manage("report", "--topic", server.topic, "--output", str(file), "--messages", "60")
    assert again.wait(240) == 0
    assert "Judged from 60 of 120 messages." in file.read_text()


def test_all_figures_are_of_one_moment(
    redis_client: "redis.Redis", server: Server, kafka_topic: str, pg_dsn: str, db: None,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    """What sells between the audit and the tiles is in neither."""
    sale.put_on_sale(redis_client, {1001: 50})
    source = sale.new_source()
    engine = Engine(server.redis_url, LANE)
    engine.decide([sale.batch([sale.body(1)], source=source)])

    def audited(client: "redis.Redis", lane: Lane) -> Report:
        found = audit(client, lane)
        engine.decide([sale.batch([sale.body(n) for n in (2, 3, 4)], 1, source=source)])
        return found

    monkeypatch.setattr(data, "audit", audited)
    report = data.collect(redis_client, server, 1, LANE)
    engine.close()
    assert report.audit is not None
    assert report.audit.units_left == report.items[0].left == 49
    assert report.activity.success == report.audit.units_sold == 1
    page = render(report)
    assert "left 49 + sold 1" in page
    assert '<b class="">49</b>' in page


def test_what_cannot_be_drawn_is_told(
    manage: Manage, redis_client: "redis.Redis", server: Server, kafka_topic: str, pg_dsn: str,
    tmp_path: Path,
) -> None:  # fmt: skip
    nothing = manage("report")
    assert "activity 1 is not loaded in Redis; loaded: none" in nothing.communicate(timeout=240)[0]
    assert nothing.returncode == 1
    sale.put_on_sale(redis_client, {1001: 50})
    nowhere = manage("report", "--topic", kafka_topic, "--output", str(tmp_path / "no" / "file"))
    assert "cannot be written" in nowhere.communicate(timeout=240)[0]
    assert nowhere.returncode == 1
    away = manage("report", "--redis-url", "redis://127.0.0.1:1/0")
    assert away.wait(240) == 3

"""`manage.py report` of a sale over two lanes: all parts added up, and a part alone says so."""

import re
from pathlib import Path

from confluent_kafka import Producer

from seckill.telemetry.history import append_sample, sample_of
from tests.conftest import wait_until
from tests.helpers.known_sale import Known
from tests.helpers.sale import body, now_ms
from tests.helpers.split_sale import HEAD, PART, users_of

# More users of each lane than it has units: 51 and 50 of item 1001.
OF_MAIN, OF_NORTH = 80, 60


def send_at(known: Known, lane: str, bodies: list[bytes], first_ms: int) -> None:
    """One message a millisecond into partition 0 of a lane's topic, from a moment on."""
    producer = Producer({"bootstrap.servers": known.lanes.server.brokers, "max.in.flight": 1})
    for number, value in enumerate(bodies):
        topic = known.lanes.topics[lane]
        producer.produce(topic, value, partition=0, timestamp=first_ms + number)
    assert producer.flush(120) == 0
    producer.close()


def cells(page: str, first: str) -> list[str]:
    """The cells of the row that begins with this."""
    row = re.search(rf"<tr><td>{re.escape(first)}</td>(.*?)</tr>", page)
    assert row is not None, first
    return re.findall(r"<td>(.*?)</td>", row[1])


def card(page: str, name: str) -> str:
    """The figure of a card."""
    found = re.search(rf'<b class="[a-z]*">([^<]*)</b><span>{re.escape(name)}</span>', page)
    assert found is not None, name
    return found[1]


def test_the_report_of_the_head_is_of_the_whole_sale(known: Known, tmp_path: Path) -> None:
    sale, now = known.sale, now_ms()
    for shop in sale.both():
        append_sample(shop.client, shop.lane, sample_of(shop.control.status(), {0: 0}))
    # Those of lane north come 100 ms after those of main.
    users = {"main": users_of(0, OF_MAIN), "north": users_of(1, OF_NORTH)}
    for shop, activity, first in zip(sale.both(), (HEAD, PART), (now, now + 100), strict=True):
        bodies = [body(user, at=now, activity_id=activity) for user in users[shop.lane.name]]
        send_at(known, shop.lane.name, bodies, first)
        shop.buy(*bodies)
    # A part of what is stored is in PostgreSQL, the rest in the list.
    sale.main.store()
    file = tmp_path / "sale.html"

    known.lanes.run("report", "--activity-id", str(HEAD), "--output", str(file))
    page = file.read_text()
    assert cells(page, "main") == ["1", "53", "51", "2", "80", "51", "51"]
    assert cells(page, "north") == ["2", "53", "50", "3", "60", "50", "50"]
    assert cells(page, "all lanes") == ["", "106", "101", "5", "140", "101", "101"]
    assert card(page, "requests") == "140"
    assert card(page, "accepted") == card(page, "users") == "101"
    assert card(page, "of 106 units left") == "5"
    assert card(page, "audit") == "clean"
    assert cells(page, "accepted") == ["101", "72.14 %"]
    assert cells(page, "item 1001")[:3] == ["101", "101", "0"]
    # In order of arrival all 80 of main and the first 21 of north would have won.
    fairness = page[page.index("<h2>Fairness</h2>") :]
    assert cells(fairness, "item 1001")[:3] == ["140", "101", "29"]
    assert "Judged from 140 of 140 messages." in page
    assert "lanes main, north" in page
    assert page.count("<svg") == 10

    known.lanes.run(
        "report", "--activity-id", str(PART), "--lane", "north", "--output", str(file),
        "--language", "zh-hans",
    )  # fmt: skip
    page = file.read_text()
    assert "这是活动 1 的第 1 部分（共 2 部分），在通道 north 中" in page
    assert card(page, "请求数") == "60"

    # Without a history as well: who was accepted earlier than just now is not forgotten.
    for shop in sale.both():
        shop.client.delete(shop.lane.series)
    wait_until(lambda: now_ms() > now + 4_000, 60, "the sale is past")
    known.lanes.run("report", "--activity-id", str(HEAD), "--output", str(file))
    page = file.read_text()
    assert card(page, "users") == "101"
    assert "no request yet" not in page

    known.north.kill()
    told = known.lanes.run("report", "--activity-id", str(HEAD), "--output", str(file), code=3)
    assert "Redis of lane north, which has a part of the sale, is missing" in told
    assert file.read_text() == page

"""The buyers' door as a process, with a consumer: clicks over HTTP, and their exact answers."""

import json
import signal
import threading
import uuid
from datetime import UTC, datetime
from typing import Any

import pytest
import redis

from devstack.endpoints import Endpoints
from seckill.control.control import Control
from seckill.lane.keys import Lane
from seckill.lane.status import read_lane
from seckill.models import Record, Settlement
from seckill.telemetry.heartbeats import Kind, read_workers
from seckill.web.door.tickets import Ticket, Tickets, click_of, short_source
from tests.conftest import Manage, wait_until
from tests.helpers.commands import Ended
from tests.helpers.door import OpenDoor, RunningDoor, token_of
from tests.helpers.node import Node
from tests.helpers.sale import new_source, put_on_sale, waiting

LANE = Lane()
SOON_S = 60.0
HOUR_MS = 3_600_000


@pytest.mark.usefixtures("consumer")
class TestClicks:
    def test_a_click_is_acknowledged_and_decided(
        self, door: RunningDoor, redis_client: "redis.Redis"
    ) -> None:
        put_on_sale(redis_client, {1001: 5})
        told = door.click(7, wait=20)
        assert (told.status, told.content["state"], told.content["outcome"]) == (
            200, "accepted", "ACCEPTED",
        )  # fmt: skip
        [record] = waiting(redis_client)
        assert (record["user_id"], record["quantity"]) == (7, 1)
        again = door.answer(told.content["ticket"])
        assert (again.status, again.content["state"]) == (200, "accepted")

    def test_without_a_wait_it_is_202_and_the_ticket_waits_for_the_answer(
        self, door: RunningDoor, redis_client: "redis.Redis"
    ) -> None:
        put_on_sale(redis_client, {1001: 5})
        told = door.click()
        assert (told.status, told.content["state"]) == (202, "waiting")
        assert told.headers["location"] == f"/v1/tickets/{told.content['ticket']}"
        assert int(told.headers["retry-after"]) >= 1
        later = door.answer(told.content["ticket"], wait=20)
        assert (later.status, later.content["state"]) == (200, "accepted")

    def test_the_same_key_buys_once_through_any_door(
        self, door: RunningDoor, open_door: OpenDoor, redis_client: "redis.Redis"
    ) -> None:
        put_on_sale(redis_client, {1001: 5})
        other = open_door()
        first = door.click(key="the-same-key", wait=20)
        second = other.click(key="the-same-key", wait=20)
        assert first.content["outcome"] == second.content["outcome"] == "ACCEPTED"
        assert first.content["ticket"] != second.content["ticket"]
        assert len(waiting(redis_client)) == 1
        # Any door answers any ticket.
        assert other.answer(first.content["ticket"]).content["state"] == "accepted"

    def test_a_double_click_at_one_door_is_one_message(
        self, door: RunningDoor, redis_client: "redis.Redis"
    ) -> None:
        put_on_sale(redis_client, {1001: 5})
        tickets = [door.click(key="double-click").content["ticket"] for _ in range(2)]
        assert tickets[0] == tickets[1]

    def test_each_refusal_of_the_script_is_told(
        self, door: RunningDoor, redis_client: "redis.Redis"
    ) -> None:
        put_on_sale(redis_client, {1001: 5}, user_limit=2)
        put_on_sale(redis_client, {1001: 5}, activity=2, opens_at=2**42)
        told = [
            door.click(1, {1001: 3}, wait=20),
            door.click(2, {1001: 9}, wait=20),
            door.click(2, {77: 1}, wait=20),
            door.click(3, activity=2, wait=20),
        ]
        assert [(t.status, t.content["state"], t.content["outcome"]) for t in told] == [
            (200, "refused", "LIMIT"),
            (200, "refused", "LIMIT"),
            (200, "refused", "UNKNOWN_ITEM"),
            (200, "refused", "NOT_OPEN"),
        ]

    def test_a_certain_loser_never_reaches_kafka(
        self, door: RunningDoor, node: Node, redis_client: "redis.Redis"
    ) -> None:
        put_on_sale(redis_client, {1001: 1})
        assert door.click(1, key="winner-key", wait=20).content["state"] == "accepted"
        ends = node.topics.end_offsets(node.server.topic)
        lost = wait_until(
            lambda: (told := door.click(2, wait=20)).content.get("at_door") and told,
            SOON_S,
            "it is refused at the door",
        )
        assert (lost.status, lost.content["outcome"]) == (200, "SOLD_OUT")
        # The winner's own click, again: never no to who has a row.
        won = door.click(1, key="winner-key", wait=20)
        assert (won.status, won.content["state"]) == (200, "accepted")
        assert door.answer(won.content["ticket"]).content["state"] == "accepted"
        assert sum(node.topics.end_offsets(node.server.topic).values()) - sum(ends.values()) <= 2

    def test_sold_out_and_open_again(self, door: RunningDoor, redis_client: "redis.Redis") -> None:
        put_on_sale(redis_client, {1001: 1})
        assert door.click(1, wait=20).content["state"] == "accepted"
        wait_until(lambda: door.click(2, wait=20).content.get("at_door"), SOON_S, "it is sold out")
        put_on_sale(redis_client, {1001: 1})
        wait_until(
            lambda: door.click(2, wait=20).content["state"] == "accepted", SOON_S, "it is open"
        )

    def test_many_wait_and_all_are_told(
        self, door: RunningDoor, redis_client: "redis.Redis"
    ) -> None:
        put_on_sale(redis_client, {1001: 10})
        told: list[Any] = []
        buyers = [
            threading.Thread(target=lambda n=n: told.append(door.click(n, wait=25)))
            for n in range(1, 31)
        ]
        for buyer in buyers:
            buyer.start()
        for buyer in buyers:
            buyer.join()
        states = [t.content["state"] for t in told]
        assert (states.count("accepted"), states.count("refused")) == (10, 20)
        assert len({record["user_id"] for record in waiting(redis_client)}) == 10
        assert read_lane(redis_client, LANE).activities[1].success == 10


class TestRefusals:
    @pytest.fixture(autouse=True)
    def _on_sale(self, redis_client: "redis.Redis") -> None:
        put_on_sale(redis_client, {1001: 5})

    def test_headers(self, door: RunningDoor) -> None:
        cases: list[tuple[dict[str, str], int]] = [
            ({"Authorization": ""}, 401),
            ({"Authorization": "Bearer x.y.z"}, 401),
            ({"Authorization": "Basic abc"}, 401),
            ({"Authorization": f"Bearer {token_of(1, exp=1)}"}, 401),
            ({"Idempotency-Key": "short"}, 400),
            ({"Idempotency-Key": "x" * 65}, 400),
            ({"Idempotency-Key": "no spaces here"}, 400),
            ({"Content-Type": "text/plain"}, 415),
        ]
        for headers, status in cases:
            told = door.click(**headers)  # type: ignore[arg-type]
            assert (told.status, told.content["status"]) == (status, status), headers
            assert told.headers["content-type"] == "application/problem+json"

    def test_bodies(self, door: RunningDoor) -> None:
        fifty_one = {"activity_id": 1, "items": {str(n): 1 for n in range(1, 52)}}
        for body, status in [
            ("", 400),
            ("{", 400),
            ("[]", 422),
            ("{}", 422),
            ('{"activity_id":1,"items":{}}', 422),
            ('{"activity_id":0,"items":{"1001":1}}', 422),
            ('{"activity_id":1,"items":{"1001":0}}', 422),
            ('{"activity_id":1,"items":{"1001":1},"user_id":5}', 422),
            ('{"activity_id":1,"activity_id":2,"items":{"1001":1}}', 400),
            ('{"activity_id":1,"items":{"1001":1,"1001":2}}', 400),
            (json.dumps(fifty_one), 422),
            ('{"activity_id":1,"items":' + '{"1":' * 700, 422),
            ("x" * 5000, 413),
        ]:
            headers = {
                "Authorization": f"Bearer {token_of(1)}",
                "Idempotency-Key": uuid.uuid4().hex,
                "Content-Type": "application/json",
            }
            told = door.ask("POST", "/v1/requests", body, headers)
            assert told.status == status, (body[:80], told.content)
            assert told.headers["content-type"] == "application/problem+json"

    def test_paths(self, door: RunningDoor) -> None:
        for method, path, status in [
            ("GET", "/v1/requests", 405),
            ("DELETE", "/v1/activities/1", 405),
            ("GET", "/", 404),
            ("GET", "/v1/none", 404),
            ("GET", "/x/v1/activities/1", 404),
            ("GET", "/v1/activities/9223372036854775808", 404),
            ("GET", "/buy/9223372036854775808", 404),
            ("POST", "/healthz", 405),
            ("GET", "/v1/tickets/" + "A" * 83, 404),
            ("GET", "/v1/activities/9", 404),
            ("GET", "/v1/activities/x", 404),
        ]:
            told = door.ask(method, path)
            assert told.status == status, path
            assert ("allow" in told.headers) is (status == 405)

    def test_an_activity_that_is_not_on_sale(self, door: RunningDoor) -> None:
        assert door.click(activity=9).status == 404

    def test_the_same_key_for_another_order(self, door: RunningDoor) -> None:
        door.click(key="one-key-1", items={1001: 1})
        assert door.click(key="one-key-1", items={1001: 2}).status == 422

    def test_too_many_clicks_of_one_buyer(self, open_door: OpenDoor) -> None:
        narrow = open_door("--user-rate", "1", "--user-burst", "2")
        told = [narrow.click(1) for _ in range(4)]
        assert [t.status for t in told][:2] == [202, 202]
        assert 429 in [t.status for t in told]
        assert int(told[-1].headers["retry-after"]) >= 1
        assert narrow.click(2).status == 202

    def test_the_ticket_of_a_topic_that_is_gone(
        self, door: RunningDoor, open_door: OpenDoor, node: Node
    ) -> None:
        old = Ticket(short_source("another"), 0, 1, 1, 1, click_of(1, "key-0001"))
        text = Tickets({1: b"a secret of the tickets"}).sign(old)
        assert door.answer(text).status == 410


class TestLife:
    def test_who_waits_is_told_so_at_the_stop(
        self, door: RunningDoor, redis_client: "redis.Redis"
    ) -> None:
        """Nobody decides here: the click waits, and the stop does not wait for it."""
        put_on_sale(redis_client, {1001: 5})
        told: list[Any] = []
        buyer = threading.Thread(target=lambda: told.append(door.click(wait=25)))
        buyer.start()
        wait_until(lambda: door.ask("GET", "/healthz").status == 200, SOON_S, "it serves")
        wait_until(lambda: _ends(door, redis_client), SOON_S, "the click waits")
        ended = door.stop()
        buyer.join(SOON_S)
        assert (told[0].status, told[0].content["state"]) == (202, "waiting")
        assert (ended.code, "Traceback" in ended.output) == (0, False)

    def test_a_missing_secret_is_one_line(self, manage: Manage, node: Node) -> None:
        ended = Ended(manage("run_door", "--port", "0"))
        assert ended.code == 2
        assert "buyer_keys" in ended.output or "ticket_secret" in ended.output
        assert "Traceback" not in ended.output

    def test_redis_is_away_and_a_click_is_taken(self, open_door: OpenDoor, node: Node) -> None:
        blind = open_door(SECKILL_REDIS_URL="redis://127.0.0.1:1/0")
        told = blind.click(wait=1)
        assert (told.status, told.content["state"]) == (202, "waiting")
        assert told.content["delayed"]
        assert blind.ask("GET", "/healthz").status == 200
        assert blind.ask("GET", "/readyz").status == 503
        assert blind.stop().code == 0

    def test_several_processes_on_one_port(
        self, open_door: OpenDoor, redis_client: "redis.Redis"
    ) -> None:
        put_on_sale(redis_client, {1001: 50})
        several = open_door("--processes", "2", "--user-rate", "1000")
        wait_until(lambda: _answers(several), SOON_S, "a child listens")
        assert {several.click(n).status for n in range(1, 20)} == {202}
        several.process.send_signal(signal.SIGTERM)
        assert Ended(several.process).code == 0


class TestPage:
    def test_its_files_are_safe_and_cached(self, door: RunningDoor) -> None:
        for path in ("/buy/1", "/buy/files/buy.js", "/buy/files/texts.js", "/buy/files/buy.css"):
            told = door.ask("GET", path)
            assert told.status == 200, path
            policy = told.headers["content-security-policy"]
            assert "default-src 'none'" in policy
            assert "unsafe" not in policy
            assert told.headers["x-content-type-options"] == "nosniff"
            assert told.headers["referrer-policy"] == "no-referrer"
            again = door.ask("GET", path, None, {"If-None-Match": told.headers["etag"]})
            assert again.status == 304, path

    def test_what_is_not_there(self, door: RunningDoor) -> None:
        for path in ("/buy/", "/buy/x", "/buy/1/2", "/buy/files/page.py", "/buy/files/../page.py"):
            assert door.ask("GET", path).status == 404, path
        assert door.ask("POST", "/buy/1").status == 405


class TestForEverybody:
    def test_an_activity(
        self, door: RunningDoor, redis_client: "redis.Redis", transactional_db: None
    ) -> None:
        Control(redis_client, "test", LANE).set_stock(1, {1001: 5, 1002: 0})
        told = door.ask("GET", "/v1/activities/1")
        assert told.status == 200
        assert told.content["state"] == "open"
        assert [(i["id"], i["left"]) for i in told.content["items"]] == [
            ("1001", "many"), ("1002", "gone"),
        ]  # fmt: skip
        assert "5" not in json.dumps(told.content["items"]).replace("1001", "").replace("1002", "")

    def test_my_orders_are_mine(self, door: RunningDoor, transactional_db: None) -> None:
        Record.objects.create(
            user_id=7, activity_id=1, item_id=1001, quantity=2, cost_ms=1, status="success",
            ts=datetime.now(UTC), source=new_source(), partition=0, offset=5, version=1,
        )  # fmt: skip
        mine = door.ask("GET", "/v1/me/orders", None, {"Authorization": f"Bearer {token_of(7)}"})
        other = door.ask("GET", "/v1/me/orders", None, {"Authorization": f"Bearer {token_of(8)}"})
        assert (len(mine.content["orders"]), other.content["orders"]) == (1, [])
        assert mine.content["orders"][0]["state"] == "accepted"

    def test_my_orders_say_what_became_of_holds(
        self, door: RunningDoor, transactional_db: None
    ) -> None:
        source, due = new_source(), datetime(2030, 1, 1, tzinfo=UTC)
        for offset in (5, 6, 7):
            for item in (1001, 1002):
                Record.objects.create(
                    user_id=7, activity_id=1, item_id=item, quantity=2, cost_ms=1,
                    status="success", ts=datetime(2029, 1, offset, tzinfo=UTC), due=due,
                    source=source, partition=0, offset=offset, version=1,
                )  # fmt: skip
                if offset > 5:
                    paid = {"settle_source": source, "settle_partition": 0, "settle_offset": 1}
                    Settlement.objects.create(
                        user_id=7, activity_id=1, item_id=item, quantity=2, ts=datetime.now(UTC),
                        source=source, partition=0, offset=offset,
                        **({"kind": "paid", **paid} if offset == 6 else {"kind": "expired"}),
                    )  # fmt: skip
        mine = door.ask("GET", "/v1/me/orders", None, {"Authorization": f"Bearer {token_of(7)}"})
        orders = mine.content["orders"]
        assert [order["state"] for order in orders] == ["expired", "paid", "held"]
        assert [order.get("pay_until") for order in orders] == [None, None, 1893456000000]
        assert [order["items"] for order in orders] == [{"1001": 2, "1002": 2}] * 3

    def test_orders_without_tables(self, open_door: OpenDoor, stack: Endpoints) -> None:
        """A mistake of an operator, told as everywhere else, and no fault of ours."""
        blind = open_door(SECKILL_PG_DSN=stack.pg_dsn.rpartition("/")[0] + "/template1")
        mine = blind.ask("GET", "/v1/me/orders", None, {"Authorization": f"Bearer {token_of(7)}"})
        assert (mine.status, mine.headers["content-type"]) == (503, "application/problem+json")
        assert "manage.py migrate" in mine.content["detail"]
        assert int(mine.headers["retry-after"]) >= 1


def _answers(door: RunningDoor) -> bool:
    try:
        return door.ask("GET", "/healthz").status == 200
    except OSError:
        return False


def _ends(door: RunningDoor, client: "redis.Redis") -> bool:
    # The heartbeat says how many wait.
    return any(
        worker.kind is Kind.DOOR and worker.counts.get("waiting") == 1
        for worker in read_workers(client, LANE)
    )

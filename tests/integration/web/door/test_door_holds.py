"""Holds at the door: what their buyers hear, and how they are paid and given back.

No settler runs here. The tests write to Redis what the scripts do, and read what the door sends.
"""

import hmac
import json
import re
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from hashlib import sha256
from typing import Any

import pytest
import redis

from demo.till import Till
from seckill.formats.settle import Result, Settlement, decode, settle_topic
from seckill.lane.clicks import Place
from seckill.lane.fence import fence, new_token
from seckill.lane.held import Hold
from seckill.lane.keys import Lane
from tests.conftest import wait_until
from tests.helpers import blocks
from tests.helpers.door import OpenDoor, RunningDoor, Told, read_ticket, settle_by_hand
from tests.helpers.messages import read
from tests.helpers.node import Node, running
from tests.helpers.sale import put_on_sale

LANE = Lane()
SOON_S = 60.0
HOLD_MS = 600_000
KEY = "the key of the shop's server"
SECRET = "a secret of payment reports: 32 c"


@pytest.fixture
def settlements(node: Node) -> Iterator[str]:
    """The settle topic, with one partition."""
    topic = settle_topic(node.server.topic)
    node.topics.ensure(topic, partitions=1)
    yield topic
    node.topics.delete(topic)


@pytest.fixture
def paying_door(open_door: OpenDoor, settlements: str) -> RunningDoor:
    """A door that takes payments."""
    return open_door(
        *("--user-rate", "1000", "--address-rate", "10000"),
        *("--pay-url", "https://shop.example/pay?t={ticket}", "--buyer-cookie", "shop"),
        SECKILL_PAYMENT_KEYS=f"old:{'0' * 64},new:{sha256(KEY.encode()).hexdigest()}",
        SECKILL_PAYMENT_SECRETS=f"old:{'x' * 32},new:{SECRET}",
    )


class Held:
    """An accepted click whose hold is written as decide_batch.lua does it."""

    def __init__(self, door: RunningDoor, node: Node, user: int = 7, key: str | None = None):
        self.door, self.client = door, node.client
        told = door.click(user, key=key, wait=20)
        assert told.content["state"] in ("accepted", "held")
        self.text = told.content["ticket"]
        ticket = read_ticket(self.text)
        self.source = str(node.topics.source(node.server.topic))
        self.partition, self.offset = ticket.partition, ticket.offset
        self.place = f"{self.source}:{self.partition}:{self.offset}"
        self.due = round(time.time() * 1000) + HOLD_MS
        place = Place(self.source, self.partition, self.offset)
        blocks.write(self.client, Hold(place, self.due, user, {1001: 1}))

    def settled(self, byte: str) -> None:
        """As the settler's scripts do it."""
        settle_by_hand(self.client, self.source, self.text, byte)

    def ask(self, path: str = "", method: str = "GET", body: Any = None, **headers: str) -> Told:
        """A call on its ticket."""
        sent = {name.replace("_", "-"): value for name, value in headers.items()}
        if body is not None:
            sent.setdefault("Content-Type", "application/json")
        content = body if isinstance(body, bytes | None) else json.dumps(body)
        return self.door.ask(method, f"/v1/tickets/{self.text}{path}", content, sent)

    def pay(self, result: str = "paid", wait: int = 0, **body: Any) -> Told:
        """What the shop's server says."""
        prefer = {"Prefer": f"wait={wait}"} if wait else {}
        return self.ask(
            "/payment", "POST", {"result": result, **body},
            Authorization=f"Bearer {KEY}", **prefer,
        )  # fmt: skip


@pytest.fixture
def held(paying_door: RunningDoor, node: Node, redis_client: "redis.Redis", consumer: None) -> Held:
    put_on_sale(redis_client, {1001: 5})
    return Held(paying_door, node)


def test_a_hold_says_until_when_and_where_it_is_paid(held: Held) -> None:
    told = held.ask()
    assert (told.status, told.content["state"], told.content["outcome"]) == (
        200, "held", "ACCEPTED",
    )  # fmt: skip
    assert told.content["pay_until"] == held.due
    assert 0 < told.content["remaining_ms"] <= HOLD_MS
    assert told.content["pay_url"] == f"https://shop.example/pay?t={held.text}"


def test_its_page_without_javascript_says_so_until_it_is_settled(held: Held) -> None:
    page = held.door.ask("GET", f"/t/{held.text}", None, {})
    assert (page.status, 'data-name="held"' in page.text) == (200, True)
    assert re.search(r"Pay until \d\d:\d\d UTC \(\d+:\d\d left\)", page.text)
    assert f'href="https://shop.example/pay?t={held.text}"' in page.text
    assert "refresh" in page.headers
    held.settled("P")
    page = held.door.ask("GET", f"/t/{held.text}", None, {})
    assert ('data-name="paid"' in page.text, "refresh" in page.headers) == (True, False)


@pytest.mark.parametrize(("byte", "state"), [("P", "paid"), ("X", "expired"), ("C", "cancelled")])
def test_what_became_of_it_is_told_afresh(held: Held, byte: str, state: str) -> None:
    """To all who ask: also to a second click of the same key, and to who waits for the end."""
    assert held.ask().content["state"] == "held"
    held.settled(byte)
    told = held.ask()
    assert (told.content["state"], told.content["outcome"]) == (state, "ACCEPTED")
    assert "pay_until" not in told.content
    assert held.ask("?state=held", Prefer="wait=20").content["state"] == state


def test_the_twin_of_a_hold_has_its_answer(
    paying_door: RunningDoor, node: Node, redis_client: "redis.Redis",
    open_door: OpenDoor, consumer: None,
) -> None:  # fmt: skip
    put_on_sale(redis_client, {1001: 1})
    held = Held(paying_door, node, key="one-click-1")
    other = open_door().click(7, key="one-click-1", wait=20)
    assert (other.content["state"], other.content["pay_until"]) == ("held", held.due)
    # At the door, which sees that nothing is left.
    wait_until(
        lambda: paying_door.click(8, wait=20).content.get("at_door"), SOON_S, "it is sold out"
    )
    again = paying_door.click(7, key="one-click-1", wait=20)
    assert (again.status, again.content["state"]) == (200, "held")
    held.settled("X")
    again = paying_door.click(7, key="one-click-1", wait=20)
    assert (again.status, again.content["state"]) == (200, "expired")
    if other.content["ticket"] != held.text:
        # Its own byte says REPEATED for ever; the hold is that of the first.
        assert paying_door.answer(other.content["ticket"]).content["state"] == "expired"


def test_who_waits_for_the_end_is_told_at_the_end(held: Held) -> None:
    waiting = _in_thread(lambda: held.ask("?state=held", Prefer="wait=25"))
    assert held.ask("?state=held", Prefer="wait=1").content["state"] == "held"
    held.settled("P")
    assert waiting().content["state"] == "paid"


class TestPayment:
    def test_it_is_told_to_the_settler_once_kafka_has_it(
        self, held: Held, node: Node, settlements: str
    ) -> None:
        told = held.pay(reference="pi_1")
        assert (told.status, told.content["state"], told.content["too_late"]) == (
            202, "held", False,
        )  # fmt: skip
        assert told.headers["location"] == f"/v1/tickets/{held.text}"
        [message] = read(node.server.brokers, settlements, 1)
        assert message.key() == b"7"
        sent = decode(message.value())
        assert sent == Settlement(
            activity_id=1, user_id=7, hold=(held.source, held.partition, held.offset),
            result=Result.PAID, at=sent.at, reference="pi_1",
        )  # fmt: skip

    def test_with_a_wait_its_end_is_told(self, held: Held) -> None:
        paying = _in_thread(lambda: held.pay(wait=25))
        wait_until(lambda: held.ask().content["state"] == "held", SOON_S, "the door answers")
        held.settled("P")
        told = paying()
        assert (told.status, told.content["state"], told.content["too_late"]) == (
            200, "paid", False,
        )  # fmt: skip

    def test_a_failed_one_is_given_back(self, held: Held, node: Node, settlements: str) -> None:
        assert held.pay("failed").status == 202
        [message] = read(node.server.brokers, settlements, 1)
        assert decode(message.value()).result is Result.FAILED

    def test_a_second_report_sends_nothing(self, held: Held, node: Node, settlements: str) -> None:
        held.settled("P")
        told = held.pay()
        assert (told.status, told.content["state"], told.content["too_late"]) == (
            200, "paid", False,
        )  # fmt: skip
        assert sum(node.topics.end_offsets(settlements).values()) == 0

    @pytest.mark.parametrize(("byte", "state"), [("X", "expired"), ("C", "cancelled")])
    def test_one_that_is_too_late_goes_on_the_desks_list(
        self, held: Held, node: Node, settlements: str, byte: str, state: str
    ) -> None:
        held.settled(byte)
        told = held.pay(reference="pi_2")
        assert (told.status, told.content["state"], told.content["too_late"]) == (
            200, state, True,
        )  # fmt: skip
        [message] = read(node.server.brokers, settlements, 1)
        assert decode(message.value()).reference == "pi_2"
        # No money was taken: there is nothing to tell.
        assert held.pay("failed").content["too_late"] is False
        assert sum(node.topics.end_offsets(settlements).values()) == 1

    def test_who_may_report(self, held: Held, node: Node, settlements: str) -> None:
        body = json.dumps({"result": "paid", "ticket": held.text}).encode()
        for headers, status in [
            ({}, 401),
            ({"Authorization": "Bearer another key"}, 401),
            ({"Authorization": f"Bearer {SECRET}"}, 401),
            (signed(body, "a secret that the door does not know"), 401),
            (signed(body, SECRET, age_s=301), 401),
            (signed(body, SECRET, age_s=-301), 401),
            (signed(b"another body", SECRET), 401),
            ({"Payment-Signature": "v1=00"}, 401),
            ({"Payment-Signature": f"t={int(time.time())}"}, 401),
            # The signed body of one payment, for the ticket of another.
            (signed(b'{"result":"paid"}', SECRET), 422),
        ]:
            sent = b'{"result":"paid"}' if status == 422 else body
            told = held.ask("/payment", "POST", sent, **headers)
            assert told.status == status, headers
        assert sum(node.topics.end_offsets(settlements).values()) == 0
        assert held.ask("/payment", "POST", body, **signed(body, SECRET)).status == 202
        # Several secrets and signatures stand beside each other while they are replaced.
        both = signed(body, "x" * 32)["Payment-Signature"] + ",v1=" + "0" * 64
        assert held.ask("/payment", "POST", body, Payment_Signature=both).status == 202

    def test_bodies(self, held: Held) -> None:
        for body, status in [
            ({"result": "paid", "reference": "x" * 129}, 422),
            ({"result": "paid", "reference": "a\nb"}, 422),
            ({"result": "won"}, 422),
            ({"result": "paid", "amount": 5}, 422),
            ({"result": "paid", "ticket": "A" * 83}, 422),
            (b'{"result":"failed","result":"paid"}', 400),
            (b"{", 400),
        ]:
            told = held.ask("/payment", "POST", body, Authorization=f"Bearer {KEY}")
            assert told.status == status, body
        assert held.ask("/payment", Authorization=f"Bearer {KEY}").status == 405

    def test_what_holds_nothing(self, held: Held, node: Node, redis_client: "redis.Redis") -> None:
        redis_client.delete(LANE.activity(1).held)
        assert (held.pay().status, held.ask(method="DELETE").status) == (409, 409)


def test_nothing_is_sent_for_a_request_that_is_not_decided(
    paying_door: RunningDoor, node: Node, redis_client: "redis.Redis", settlements: str
) -> None:
    """Or a settlement could come before the decision, and settle what its sender has not seen."""
    put_on_sale(redis_client, {1001: 5})
    text = paying_door.click(7).content["ticket"]
    path, paid = f"/v1/tickets/{text}", json.dumps({"result": "paid"})
    key = {"Authorization": f"Bearer {KEY}", "Content-Type": "application/json"}

    def settle_both() -> list[Told]:
        return [
            paying_door.ask("DELETE", path, None, {"Prefer": "wait=1"}),
            paying_door.ask("POST", f"{path}/payment", paid, {"Prefer": "wait=1", **key}),
        ]

    for told in settle_both():
        assert (told.status, told.headers["retry-after"] >= "1") == (409, True)
        assert "not decided yet" in told.content["detail"]
    with running(node.consumer()):
        assert paying_door.answer(text, wait=20).content["state"] == "accepted"
    # Nor while it is not known whether this Redis is to be believed.
    assert fence(redis_client, LANE, "REWOUND", "an older copy", token=new_token())
    for told in settle_both():
        assert (told.status, told.content["taken"]) == (503, "no")
    assert sum(node.topics.end_offsets(settlements).values()) == 0


@pytest.mark.parametrize("result", ["paid", "failed"])
def test_the_demo_shops_till_tells_the_door(held: Held, result: str) -> None:
    till = Till(f"http://127.0.0.1:{held.door.port}", KEY)
    paying = _in_thread(lambda: till.settle(held.text, result, "/buy/1", chinese=False))
    assert held.ask("?state=held", Prefer="wait=1").content["state"] == "held"
    held.settled("P" if result == "paid" else "C")
    page = paying()
    assert ("paid" if result == "paid" else "cancelled") in page
    assert "Too late" not in page


class TestGivingBack:
    def test_whoever_holds_the_ticket_may(self, held: Held, node: Node, settlements: str) -> None:
        giving = _in_thread(lambda: held.ask(method="DELETE", Prefer="wait=25"))
        [message] = read(node.server.brokers, settlements, 1)
        sent = decode(message.value())
        assert (sent.result, sent.hold) == (
            Result.CANCELLED, (held.source, held.partition, held.offset),
        )  # fmt: skip
        held.settled("C")
        told = giving()
        assert (told.status, told.content["state"], told.content["too_late"]) == (
            200, "cancelled", False,
        )  # fmt: skip

    def test_what_is_paid_is_not_given_back(self, held: Held, node: Node, settlements: str) -> None:
        held.settled("P")
        told = held.ask(method="DELETE")
        assert (told.status, told.content["state"], told.content["too_late"]) == (
            200, "paid", True,
        )  # fmt: skip
        assert sum(node.topics.end_offsets(settlements).values()) == 0

    def test_a_forged_ticket(self, paying_door: RunningDoor) -> None:
        assert paying_door.ask("DELETE", "/v1/tickets/" + "A" * 83).status == 404


def test_the_settle_topic_may_come_later(
    open_door: OpenDoor, node: Node, redis_client: "redis.Redis", consumer: None
) -> None:
    """Until then nothing is taken, and the shop is told so."""
    put_on_sale(redis_client, {1001: 5})
    held = Held(open_door("--user-rate", "1000"), node)
    told = held.ask(method="DELETE")
    assert (told.status, told.content["taken"]) == (503, "no")
    assert "run_settler" in told.content["detail"]
    topic = settle_topic(node.server.topic)
    node.topics.ensure(topic, partitions=1)
    try:
        wait_until(lambda: held.ask(method="DELETE").status == 202, SOON_S, "it is taken")
    finally:
        node.topics.delete(topic)


def signed(body: bytes, secret: str, age_s: int = 0) -> dict[str, str]:
    """The header of a signed body."""
    at = int(time.time()) - age_s
    mac = hmac.new(secret.encode(), b"%d." % at + body, sha256).hexdigest()
    return {"Payment-Signature": f"t={at},v1={mac}"}


def _in_thread(work: Any) -> Any:
    """Start it now; calling what is returned awaits its result."""
    pool = ThreadPoolExecutor(1)
    future = pool.submit(work)
    pool.shutdown(wait=False)
    return lambda: future.result(SOON_S)

"""A hold from the click to its end, all of it real: door, consumer, settler, the shop's server."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from hashlib import sha256

import pytest
import redis

from seckill.formats.settle import settle_topic
from tests.conftest import Manage, wait_until
from tests.helpers.door import OpenDoor, RunningDoor, Told
from tests.helpers.node import Node
from tests.helpers.sale import put_on_sale, stock, waiting

SOON_S = 60.0
KEY = "the key of the shop's server"


@pytest.fixture
def settler(manage: Manage, node: Node) -> Iterator[None]:
    """`manage.py run_settler` on the test's topic."""
    manage(
        "run_settler", SECKILL_TOPIC=node.server.topic, SECKILL_BROKERS=node.server.brokers,
        SECKILL_GROUP_ID=node.server.group_id,
    )  # fmt: skip
    topic = settle_topic(node.server.topic)
    wait_until(lambda: node.topics.source(topic), SOON_S, "it has made its topic")
    yield
    node.topics.delete(topic)


@pytest.fixture
def shop_door(open_door: OpenDoor, settler: None) -> RunningDoor:
    """A door that takes payments."""
    keys = f"shop:{sha256(KEY.encode()).hexdigest()}"
    return open_door("--user-rate", "1000", SECKILL_PAYMENT_KEYS=keys)


def pay(door: RunningDoor, ticket: str, result: str) -> Told:
    """What the shop's server says, and hears."""
    headers = {
        "Authorization": f"Bearer {KEY}",
        "Content-Type": "application/json",
        "Prefer": "wait=25",
    }
    body = f'{{"result":"{result}","reference":"pi_1"}}'
    return door.ask("POST", f"/v1/tickets/{ticket}/payment", body, headers)


def clicked(door: RunningDoor, user: int) -> Told:
    """A click's decided answer. Where Kafka was slow the same key is asked again, as pages do."""

    def decided() -> Told | None:
        told = door.click(user, key=f"click-of-{user}", wait=20)
        return told if told.status == 200 else None

    return wait_until(decided, SOON_S, f"user {user} has an answer")


def held_by(door: RunningDoor, user: int) -> Told:
    """A click that is held."""
    told = clicked(door, user)
    assert told.content["state"] == "held", told.content
    return told


@pytest.mark.usefixtures("consumer", "transactional_db")
def test_paid_failed_given_back_and_on_sale_again(
    shop_door: RunningDoor, redis_client: "redis.Redis"
) -> None:
    put_on_sale(redis_client, {1001: 3}, hold_s=3600)
    held = [held_by(shop_door, user) for user in (1, 2, 3)]
    assert all(3_500_000 < told.content["remaining_ms"] <= 3_600_000 for told in held)
    tickets = [told.content["ticket"] for told in held]
    wait_until(lambda: shop_door.click(9, wait=20).content.get("at_door"), SOON_S, "sold out")
    epoch = shop_door.click(9, wait=20).content["epoch"]
    with ThreadPoolExecutor(1) as pool:
        asked = pool.submit(
            shop_door.ask, "GET", f"/v1/tickets/{tickets[0]}?state=held", None,
            {"Prefer": "wait=25"},
        )  # fmt: skip
        paid = pay(shop_door, tickets[0], "paid")
        assert asked.result().content["state"] == "paid"
    assert (paid.status, paid.content["state"], paid.content["too_late"]) == (200, "paid", False)
    failed = pay(shop_door, tickets[1], "failed")
    assert (failed.status, failed.content["state"]) == (200, "cancelled")
    back = shop_door.ask("DELETE", f"/v1/tickets/{tickets[2]}", None, {"Prefer": "wait=25"})
    assert (back.status, back.content["state"], back.content["too_late"]) == (
        200, "cancelled", False,
    )  # fmt: skip
    # Money for what was given back is too late, and in the list for the desk.
    late = pay(shop_door, tickets[2], "paid")
    assert (late.status, late.content["state"], late.content["too_late"]) == (
        200, "cancelled", True,
    )  # fmt: skip
    wait_until(
        lambda: (
            sorted(r["status"] for r in waiting(redis_client) if r["status"] != "success")
            == ["cancelled", "cancelled", "paid", "too_late"]
        ),
        SOON_S,
        "all is in the list",
    )
    assert stock(redis_client) == {1001: 2}
    shown = wait_until(
        lambda: (
            (told := shop_door.ask("GET", "/v1/activities/1")).content["state"] == "open" and told
        ),
        SOON_S,
        "it is open again",
    )
    assert shown.content["epoch"] > epoch
    held_by(shop_door, 9)


@pytest.mark.usefixtures("consumer", "transactional_db")
def test_who_does_not_pay_in_time_hears_so(
    shop_door: RunningDoor, redis_client: "redis.Redis"
) -> None:
    put_on_sale(redis_client, {1001: 1}, hold_s=1)
    ticket = clicked(shop_door, 1).content["ticket"]
    ended = wait_until(
        lambda: (
            (
                told := shop_door.ask(
                    "GET", f"/v1/tickets/{ticket}?state=held", None, {"Prefer": "wait=5"}
                )
            ).content["state"]
            == "expired"
            and told
        ),
        SOON_S,
        "it expires",
    )
    assert "pay_until" not in ended.content
    assert pay(shop_door, ticket, "paid").content["too_late"]
    assert clicked(shop_door, 2).content["state"] in ("held", "expired")

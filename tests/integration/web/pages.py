"""What web tests say often: addresses, people, rows of orders, and the text of a page."""

import re
from collections.abc import Callable
from typing import Any

import redis
from django.contrib.auth.models import Group, User
from django.db import connection
from django.test import Client
from django.utils import timezone

from devstack.endpoints import Endpoints
from seckill.consumer.engine import Engine
from seckill.lane.keys import Lane
from seckill.models import Activity, Item, LatePayment, StockChange
from tests.helpers import sale

SOURCE = "11111111-2222-3333-4444-555555555555"
ORDERS = "/admin/seckill/record/"
INVENTORY = "/admin/seckill/item/"
ACTIVITIES = "/admin/seckill/activity/"
LATE = "/admin/seckill/latepayment/"
JOURNAL = "/admin/seckill/stockchange/"
KEYS = "/admin/seckill/apikey/"
STEERING = ("/set_stock", "/finish_activity", "/sync_from_db")
# The fixture `ask`: any method with the steering key.
Ask = Callable[..., Any]
DEAD_REDIS = "redis://127.0.0.1:1/0"


def logged_in(user: User) -> Client:
    """A browser in which this user is logged in."""
    client = Client()
    client.force_login(user)
    return client


def member(name: str, group: str | None, *, staff: bool = True) -> User:
    """Somebody, in one of the groups or in none."""
    user = User.objects.create_user(name, is_staff=staff)
    if group:
        user.groups.add(Group.objects.get(name=group))
    return user


def seed(rows: int, *, activity: int = 1, item: int = 1001, first: int = 0) -> None:
    """Orders of users 1 to `rows`, each with its own message, a second apart, the last one now."""
    with connection.cursor() as cursor:
        cursor.execute(
            "INSERT INTO seckill_record (user_id, activity_id, item_id, quantity, cost_ms, status,"
            ' ts, source, partition, "offset", request_id, version)'
            " SELECT g, %s, %s, 1, 12, 'success', now() - (%s - g) * interval '1 second',"
            " %s, 0, %s + g, 'r-' || g, 1 FROM generate_series(1, %s) g",
            [activity, item, rows, SOURCE, first, rows],
        )


def all_orders(ask: Ask, query: str) -> list[int]:
    """The numbers of all orders of a query, page by page."""
    found, cursor = [], ""
    while True:
        page = ask("GET", f"/v1/orders?limit=2&{query}{cursor}").json()
        found += [order["order_id"] for order in page["orders"]]
        if page["next"] is None:
            return found
        cursor = f"&before={page['next']}"


def late(offset: int, reference: str | None = "pi_1", activity: int = 1) -> LatePayment:
    """Money for a hold that had ended."""
    return LatePayment.objects.create(
        settle_source=SOURCE, settle_partition=0, settle_offset=offset, source=SOURCE, partition=0,
        offset=offset, user_id=7, activity_id=activity, reference=reference, ts=timezone.now(),
    )  # fmt: skip


def sell(stack: Endpoints, *bodies: bytes) -> None:
    """Have these requests decided."""
    engine = Engine(stack.redis_url, Lane())
    engine.decide([sale.batch(list(bodies), source=sale.new_source())])
    engine.close()


def text(answer: Any) -> str:
    """A page's text without tags, spaces as one."""
    assert answer.status_code == 200, answer.status_code
    content = re.sub(r"<(script|style).*?</\1>", " ", answer.content.decode(), flags=re.DOTALL)
    return re.sub(r"\s+", " ", re.sub(r"<[^>]*>", " ", content))


def confirm(browser: Client, page: str, values: dict[str, Any] | None = None) -> Any:
    """Fill in an act's form, read what will happen, say yes. The page after it."""
    question = browser.post(page, values) if values else browser.get(page)
    assert question.status_code == 200, question.status_code
    return browser.post(page, dict(question.context["hidden"]), follow=True)


def rows(answer: Any) -> list[Any]:
    """The rows that a list shows."""
    assert answer.status_code == 200, answer.status_code
    return list(answer.context["cl"].result_list)


def messages(answer: Any) -> str:
    """What the page tells its user."""
    return " ".join(str(message) for message in answer.context["messages"])


def state(client: "redis.Redis") -> tuple[Any, ...]:
    """All that an act could change."""
    rows = [list(m.objects.order_by("pk").values()) for m in (Activity, Item, StockChange)]
    return sale.everything(client), rows

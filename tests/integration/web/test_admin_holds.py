"""Holds in the admin: what orders, inventory and desk say of them, and late payments ticked off."""

import csv
import io
import re
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import redis
from django.test import Client
from django.utils import timezone

from devstack.endpoints import Endpoints
from seckill.consumer.engine import Engine
from seckill.control.control import Control
from seckill.formats.record import SAME_ORDER
from seckill.lane.keys import Lane
from seckill.models import Item, LatePayment, Record, Settlement, StockChange
from tests.helpers import settling
from tests.helpers.sale import batch as batch_of
from tests.helpers.sale import body
from tests.integration.web.pages import (
    ACTIVITIES,
    INVENTORY,
    JOURNAL,
    LATE,
    ORDERS,
    SOURCE,
    confirm,
    late,
    logged_in,
    member,
    rows,
    text,
)

DESK = ACTIVITIES + "1/desk/data/"


def order(offset: int, *, due: datetime | None, **members: Any) -> Record:
    """An order of user 7."""
    return Record.objects.create(
        user_id=7, activity_id=1, item_id=1001, quantity=2, cost_ms=1, status="success",
        ts=datetime.now(UTC), source=SOURCE, partition=0, offset=offset, version=1, due=due,
        **members,
    )  # fmt: skip


def settled(record: Record, kind: str, **members: Any) -> None:
    """What became of it."""
    message = {"settle_source": SOURCE, "settle_partition": 0, "settle_offset": record.offset}
    Settlement.objects.create(
        **{name: getattr(record, name) for name in SAME_ORDER},
        **({} if kind == "expired" else message), kind=kind, ts=timezone.now(), **members,
    )  # fmt: skip


def decide(stack: Endpoints, *bodies: bytes) -> None:
    """Have these requests decided, from offset 0 of SOURCE on."""
    engine = Engine(stack.redis_url, Lane())
    engine.decide([batch_of(list(bodies))])
    engine.close()


class TestOrders:
    def test_each_says_where_it_stands(self, operator: Client) -> None:
        soon, past = timezone.now() + timedelta(minutes=9), timezone.now() - timedelta(minutes=9)
        order(1, due=None)
        order(2, due=soon)
        order(3, due=past)
        for offset, kind in ((4, "paid"), (5, "expired"), (6, "cancelled")):
            settled(order(offset, due=past), kind, reference="pi_7" if kind == "paid" else None)
        page = operator.get(ORDERS)
        states = [row.settlement and row.settlement.kind for row in rows(page)]
        assert states == ["cancelled", "expired", "paid", None, None, None]
        shown = text(page)
        assert re.search(r"held, [5-9]:[0-5]\d left", shown), shown
        for words in (
            "sold",
            "held, its time is over",
            "paid",
            "expired",
            "cancelled",
        ):
            assert words in shown, words
        paid = Record.objects.get(offset=4)
        assert "pi_7" in text(operator.get(f"{ORDERS}{paid.pk}/change/"))

    def test_they_are_filtered_by_it_and_the_file_has_it(self, operator: Client) -> None:
        soon = timezone.now() + timedelta(minutes=9)
        order(1, due=None)
        order(2, due=soon)
        # Of another item of a message in which one is paid.
        Record.objects.filter(pk=order(4, due=soon).pk).update(item_id=1002)
        for offset, kind in ((4, "paid"), (5, "expired"), (6, "cancelled")):
            settled(order(offset, due=soon), kind)
        for state, offsets in {
            "sold": [1], "held": [4, 2], "paid": [4], "expired": [5], "cancelled": [6], "": 6,
        }.items():  # fmt: skip
            found = [row.offset for row in rows(operator.get(f"{ORDERS}?hold={state}"))]
            assert (len(found) if state == "" else found) == offsets, state
        assert len(rows(operator.get(f"{ORDERS}?hold=x", follow=True))) == 6
        answer: Any = operator.get(f"{ORDERS}export/")
        text_ = b"".join(answer.streaming_content).decode("utf-8-sig")
        told = [(int(row["offset"]), row["hold"]) for row in csv.DictReader(io.StringIO(text_))]
        assert told == [
            (6, "cancelled"), (5, "expired"), (4, "paid"), (4, "held"), (2, "held"), (1, ""),
        ]  # fmt: skip
        answer = operator.get(f"{ORDERS}export/?hold=paid")
        assert len(b"".join(answer.streaming_content).splitlines()) == 2

    def test_the_settlements_of_a_page_are_one_query(
        self, operator: Client, django_assert_max_num_queries: Any
    ) -> None:
        for offset in range(60):
            settled(order(offset, due=timezone.now()), "expired")
        with django_assert_max_num_queries(20):
            assert len(rows(operator.get(ORDERS))) == 60


def test_held_units_stand_apart_in_the_inventory(
    operator: Client, control: Control, redis_client: "redis.Redis", stack: Endpoints
) -> None:
    control.create(1, {1001: 10, 1002: 5}, hold_s=600)
    decide(stack, body(1, {1001: 2, 1002: 1}), body(2, {1001: 3}))
    settling.settle(redis_client, settling.paid(0))
    Item.objects.filter(item_id=1001).update(returned=4)
    first, second = rows(operator.get(INVENTORY))
    held = {row.item_id: row.held_units for row in (first, second)}
    assert held == {1001: 3, 1002: 0}
    item = Item.objects.get(item_id=1001)
    assert "returned, stored 4" in text(operator.get(f"{INVENTORY}{item.pk}/change/")).lower()


class TestDesk:
    def test_the_panel_of_holds(
        self, operator: Client, control: Control, redis_client: "redis.Redis", stack: Endpoints
    ) -> None:
        control.create(1, {1001: 10}, hold_s=600)
        decide(stack, *(body(n) for n in range(1, 7)))
        settling.settle(
            redis_client, settling.paid(0), settling.cancelled(1, 2), settling.cancelled(2, 3)
        )
        settling.make_due(redis_client, 3)
        settling.expire(redis_client)
        late(1)
        answer = operator.get(DESK).json()
        assert answer["holds"] == {
            "held": 2, "paid": 1, "expired": 1, "cancelled": 2, "returned": 3, "late": 1,
        }  # fmt: skip
        assert answer["activity"]["hold_s"] == 600

    def test_who_holds_nothing_sees_no_panel(self, operator: Client, control: Control) -> None:
        control.set_stock(1, {1001: 10})
        assert operator.get(DESK).json()["holds"] is None

    def test_the_hold_is_set_with_a_question(self, operator: Client, control: Control) -> None:
        control.set_stock(1, {1001: 10})
        page = ACTIVITIES + "1/hold/"
        asked = text(operator.post(page, {"hold_s": "600"}))
        assert "held for 600 s" in asked
        confirm(operator, page, {"hold_s": "600"})
        assert control.status().activities[1].hold_s == 600


class TestLatePayments:
    def test_one_is_ticked_off_with_a_note_and_the_journal_knows(
        self, operator: Client, control: Control
    ) -> None:
        control.set_stock(1, {1001: 10})
        settled(order(3, due=timezone.now()), "expired")
        payment, other = late(3), late(4, None, activity=2)
        assert [row.pk for row in rows(operator.get(LATE))] == [other.pk, payment.pk]
        shown = text(operator.get(f"{LATE}{payment.pk}/change/"))
        assert "pi_1" in shown
        assert "expired" in shown
        page = f"{LATE}{payment.pk}/settle_one/"
        asked = operator.get(page)
        assert "pi_1" in text(asked)
        assert LatePayment.objects.filter(resolved_at=None).count() == 2, "nothing without a yes"
        answer = operator.post(
            page, {**dict(asked.context["hidden"]), "note": "refund re_9"}, follow=True
        )
        assert "1 payment is settled" in text(answer)
        payment.refresh_from_db()
        assert (payment.resolved_by, payment.note) == ("olga", "refund re_9")
        entry = StockChange.objects.get(act="late_payment")
        assert (entry.activity_id, entry.note, entry.state) == (1, "refund re_9", "applied")
        journal = text(operator.get(JOURNAL + "?act=late_payment"))
        assert "Late payment settled" in journal
        assert "pi_1: open → settled" in journal
        # Again: nothing to do, and no second entry.
        assert "settled already" in text(operator.get(page, follow=True))
        assert StockChange.objects.filter(act="late_payment").count() == 1
        assert [row.pk for row in rows(operator.get(LATE + "?state=open"))] == [other.pk]
        # No act of the sale: its version stands.
        assert control.status().activities[1].version == 1

    def test_several_at_once(self, operator: Client) -> None:
        ids = [str(late(n, f"pi_{n}").pk) for n in range(3)]
        choice = {"action": "settle_selected", "_selected_action": ids[:2]}
        asked = operator.post(LATE, choice)
        assert "pi_0" in text(asked)
        assert "pi_2" not in text(asked)
        hidden: dict[str, Any] = {}
        for name, value in asked.context["hidden"]:
            hidden.setdefault(name, []).append(value)
        operator.post(LATE, {**hidden, "note": "all refunded"}, follow=True)
        assert LatePayment.objects.filter(note="all refunded").count() == 2

    @pytest.mark.parametrize("group", ["observers", None])
    def test_who_may_not_steer(self, db: None, redis_client: "redis.Redis", group: str) -> None:
        payment = late(3)
        browser = logged_in(member("otto", group))
        seen = browser.get(LATE).status_code
        assert seen == (200 if group else 403)
        assert browser.post(f"{LATE}{payment.pk}/settle_one/").status_code == 403
        assert LatePayment.objects.get().resolved_at is None

"""The journal in words: what was done, what was not, and what nobody knows yet."""

from contextlib import suppress

import pytest
from django.test import Client

from seckill.control.control import Control, Refused
from seckill.models import StockChange
from tests.integration.web.pages import JOURNAL, text

pytestmark = pytest.mark.django_db


def entry(browser: Client, **which: object) -> str:
    """The page of the last such row."""
    row = StockChange.objects.filter(**which).latest("id")
    return text(browser.get(f"{JOURNAL}{row.pk}/change/"))


def test_an_act_is_told_in_words(boss: Client, control: Control) -> None:
    control.set_stock(1, {1001: 5, 1002: 7})
    control.add_stock(1, {1001: 1000})
    control.configure_fields(1, user_limit=3)
    said = entry(boss, act="add_stock")
    assert "Done: the activity is at version 2 since then." in said
    assert "Item 1001: 5 → 1,005 units left" in said
    assert "Units per user: – → 3" in entry(boss, act="configure")
    assert "{" not in said.partition("What happened")[2].partition("Note")[0]


def test_what_was_not_done_never_looks_done(boss: Client, control: Control) -> None:
    control.set_stock(1, {1001: 5})
    with suppress(Refused):
        control.add_stock(1, {1001: 700}, expected_version=99)
    StockChange.objects.create(
        actor="olga", act="add_stock", activity_id=1, new={"1001": "+8"}, detail="Redis is away"
    )
    listed = text(boss.get(JOURNAL))
    assert "Add units failed 1 not done; wanted: 1001: +700" in listed
    assert "Add units started 1 result unknown; wanted: 1001: +8" in listed
    assert "→ +" not in listed
    refused = entry(boss, state="failed")
    assert "Refused: nothing was changed. Why:" in refused
    assert "Item 1001: wanted: +700" in refused
    begun = entry(boss, state="started")
    assert "its result is not known" in begun
    assert "Why: Redis is away" in begun
    boss.cookies["django_language"] = "zh-hans"
    assert "已被拒绝：什么都没有改变。" in entry(boss, state="failed")
    assert "结果未知" in entry(boss, state="started")


def test_an_act_whose_answer_was_lost_is_done(boss: Client, control: Control) -> None:
    control.set_stock(1, {1001: 5})
    control.add_stock(1, {1001: 3})
    StockChange.objects.filter(act="add_stock").update(
        old=None,
        new={"1001": "+3"},
        state="applied",
        detail="its answer was lost; Redis had done it",
    )
    said = entry(boss, act="add_stock")
    assert "Done: the activity is at version 2" in said
    assert "Item 1001: +3" in said

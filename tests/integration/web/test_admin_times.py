"""Times of the admin's pages: the reader's zone, in forms and filters too; elsewhere UTC."""

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from django.test import Client

from seckill.control.control import Control
from seckill.models import Activity, StockChange
from tests.integration.web.pages import ACTIVITIES, JOURNAL, ORDERS, confirm, rows, seed, text

pytestmark = pytest.mark.django_db
WINDOW = ACTIVITIES + "1/window/"
OPENS = {"opens_at_0": "2031-01-02", "opens_at_1": "10:00"}


def test_forms_mean_the_zone_that_they_name(operator: Client, control: Control) -> None:
    control.set_stock(1, {1001: 5})
    operator.cookies["zone"] = "Asia/Shanghai"
    assert "Opens at (Asia/Shanghai, UTC+08:00)" in text(operator.get(WINDOW))
    asked = text(operator.post(WINDOW, OPENS))
    assert "It opens at 2031-01-02 10:00:00 (02:00:00 UTC)." in asked
    confirm(operator, WINDOW, OPENS)
    assert Activity.objects.get().opens_at == datetime(2031, 1, 2, 2, tzinfo=UTC)
    shown = "2031-01-02 10:00:00 (02:00:00 UTC)"
    for page in (ACTIVITIES, ACTIVITIES + "1/change/", JOURNAL):
        assert shown in text(operator.get(page)), page


def test_the_last_acts_look_like_the_journal(operator: Client, control: Control) -> None:
    control.set_stock(1, {1001: 5})
    operator.cookies["zone"] = "Asia/Shanghai"
    done = StockChange.objects.get().at.astimezone(ZoneInfo("Asia/Shanghai"))
    for page in (JOURNAL, "/admin/"):
        assert f"{done:%Y-%m-%d %H:%M:%S} (" in text(operator.get(page)), page


def test_a_period_is_meant_in_the_readers_zone(boss: Client) -> None:
    seed(1)
    island = ZoneInfo("Pacific/Kiritimati")
    hour_ago = (datetime.now(UTC) - timedelta(hours=1)).astimezone(island)
    period = f"{ORDERS}?ts_from_0={hour_ago:%Y-%m-%d}&ts_from_1={hour_ago:%H:%M:%S}"
    # In UTC that moment is still to come.
    assert len(rows(boss.get(period))) == 0
    boss.cookies["zone"] = island.key
    assert len(rows(boss.get(period))) == 1


@pytest.mark.parametrize("cookie", ["", "Mars/Olympus", "../../etc/passwd", "x" * 5000, "a b;c"])
def test_without_a_known_zone_times_are_utc(boss: Client, control: Control, cookie: str) -> None:
    control.set_stock(1, {1001: 5})
    boss.cookies["zone"] = cookie
    assert "Opens at (UTC)" in text(boss.get(WINDOW))
    # The API never follows it.
    assert b"+08:00" not in boss.get("/status").content

"""Every page of the admin, on a desk and on a phone, light and dark, in both languages.

On each page axe-core finds nothing serious, nothing is wider than the screen, and the content
security policy refuses nothing.
"""

import re
from datetime import timedelta

import pytest
import redis
from django.contrib.auth.models import User
from django.utils import timezone
from playwright.sync_api import Page, expect

from seckill.control.control import Control
from seckill.formats.record import SAME_ORDER
from seckill.lane.keys import Lane
from seckill.models import Activity, LatePayment, Record, Settlement, StockChange
from tests.browser.conftest import Visitor, VisitorMaker
from tests.integration.web.pages import SOURCE, seed

pytestmark = pytest.mark.usefixtures("people")
PAGES = {
    "overview": "/admin/",
    "desk": "/admin/seckill/activity/1/desk/",
    "orders": "/admin/seckill/record/",
    "order": "/admin/seckill/record/{order}/change/",
    "inventory": "/admin/seckill/item/",
    "activities": "/admin/seckill/activity/",
    "activity": "/admin/seckill/activity/1/change/",
    "new-activity": "/admin/seckill/activity/add/?copy=1",
    "report": "/admin/seckill/activity/1/report/",
    "new-item": "/admin/seckill/item/put_on_sale/",
    "stock": "/admin/seckill/activity/1/stock/?item=1001",
    "window": "/admin/seckill/activity/1/window/",
    "pause": "/admin/seckill/activity/1/pause/",
    "journal": "/admin/seckill/stockchange/",
    "entry": "/admin/seckill/stockchange/{entry}/change/",
    "dead-records": "/admin/seckill/deadrecord/",
    "late-payments": "/admin/seckill/latepayment/",
    "late-payment": "/admin/seckill/latepayment/{late}/change/",
    "pay-back": "/admin/seckill/latepayment/{late}/settle_one/",
    "hold": "/admin/seckill/activity/1/hold/",
    "keys": "/admin/seckill/apikey/",
    "new-key": "/admin/seckill/apikey/add/",
    "users": "/admin/auth/user/",
    "user": "/admin/auth/user/{user}/change/",
    "groups": "/admin/auth/group/",
    "password": "/admin/password_change/",
}
# English that a Chinese page may hold: names of things, and what is typed as it is.
LATIN = re.compile(
    r"\b(ID|API|CSV|Redis|Kafka|PostgreSQL|UTC|NOT_OPEN|OVER|NOT_LOADED|ms|p\d\d|P\d\d|activity_id|"
    r"manage\.py \w+|run_consumer|[tT]est|boss|olga|otto|observers|operators|r-\d+|pi_\d|success|"
    r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}|A|B|O|English|EN|ZH-HANS|K|M|s|min|Asia/Shanghai|LogAppendTime)\b"
)

# The page's text without its icons, whose glyphs are chosen by words.
WORDS = """() => {
  document.querySelectorAll(".material-symbols-outlined, #desk-texts").forEach(e => e.remove());
  return document.body.innerText;
}"""


def fits(page: Page) -> bool:
    """Nothing sticks out to the right."""
    return bool(page.evaluate("document.documentElement.scrollWidth <= innerWidth"))


def tour(visitor: Visitor, order: int, suffix: str) -> dict[str, str]:
    """Look at each page; {name: its text}."""
    said = {}
    numbers = {
        "order": order,
        "entry": StockChange.objects.latest("id").pk,
        "user": User.objects.get(username="olga").pk,
        "late": LatePayment.objects.latest("id").pk,
    }
    for name, path in PAGES.items():
        page = visitor.go(path.format(**numbers))
        if name == "desk":
            expect(page.locator("#desk")).to_have_attribute("data-stale", "no")
        visitor.shot(f"{name}-{suffix}")
        assert page.evaluate("window.refused") == [], name
        assert fits(page), f"{name} is wider than the screen"
        assert visitor.barriers() == [], name
        said[name] = page.evaluate(WORDS)
    return said


@pytest.fixture
def order(redis_client: "redis.Redis") -> int:
    """A sale with orders; the number of one."""
    control = Control(redis_client, "test", Lane())
    control.set_stock(1, {1001: 40, 1002: 7})
    control.configure_fields(1, hold_s=600)
    seed(30)
    # Of the newest orders: one held still, one whose time is over, one for each end.
    now = timezone.now()
    ends = (None, None, "paid", "expired", "cancelled")
    for n, (record, end) in enumerate(zip(Record.objects.order_by("-id")[:5], ends, strict=True)):
        Record.objects.filter(pk=record.pk).update(due=now + timedelta(minutes=5 - 7 * n))
        message = {"settle_source": SOURCE, "settle_partition": 0, "settle_offset": n}
        if end:
            Settlement.objects.create(
                **{name: getattr(record, name) for name in SAME_ORDER}, kind=end, ts=now,
                reference="pi_1" if end == "paid" else None,
                **({} if end == "expired" else message),
            )  # fmt: skip
        if end == "expired":
            LatePayment.objects.create(
                source=record.source, partition=0, offset=record.offset, user_id=record.user_id,
                activity_id=1, reference="pi_2", ts=now, **message,
            )  # fmt: skip
    return int(Record.objects.latest("id").pk)


def test_english_light_on_a_desk(visit: VisitorMaker, order: int) -> None:
    boss = visit()
    boss.go("/admin/login/")
    boss.shot("login-desk-light-en")
    assert boss.barriers() == []
    boss.log_in("boss")
    assert "Units left" in tour(boss, order, "desk-light-en")["desk"]
    # The API's documentation has the strict policy, without the admin's exceptions.
    page = boss.go("/docs")
    expect(page.locator(".opblock").first).to_be_visible()
    boss.shot("api-docs")
    assert page.evaluate("window.refused") == []


def test_chinese_dark_on_a_phone(visit: VisitorMaker, order: int) -> None:
    boss = visit(phone=True, dark=True, language="zh-CN")
    boss.go("/admin/login/")
    boss.shot("login-phone-dark-zh")
    assert boss.barriers() == []
    boss.log_in("boss")
    said = tour(boss, order, "phone-dark-zh")
    assert "Asia/Shanghai, UTC+08:00" in said["window"]
    # Django names permissions, and the choice of them, in English.
    del said["user"]
    for name, text in said.items():
        assert re.search(r"[\u4e00-\u9fff]", text), name
        # Words of the permissions and of code stay as they are.
        left = set(re.findall(r"[A-Za-z][a-z]{3,}", LATIN.sub("", text)))
        assert left == set(), name


def test_the_language_is_chosen_in_the_menu(visit: VisitorMaker, order: int) -> None:
    boss = visit()
    page = boss.log_in("boss", "/admin/seckill/activity/1/desk/")
    expect(page.locator("#state")).to_have_text("open")
    # By keyboard: the menu is a button.
    page.get_by_role("button", name="boss").press("Enter")
    page.get_by_role("button", name="简体中文").press("Enter")
    expect(page.locator("#state")).to_have_text("开放中")
    expect(page).to_have_url(re.compile("/desk/$"))
    page.get_by_role("button", name="boss").press("Enter")
    page.get_by_role("button", name="深色").press("Enter")
    expect(page.locator("html")).to_have_class(re.compile("dark"))
    boss.shot("desk-dark-zh")
    page.get_by_role("button", name="English").press("Enter")
    expect(page.locator("#state")).to_have_text("open")


def test_the_keyboard_reaches_the_page_first(visit: VisitorMaker, order: int) -> None:
    boss = visit(phone=True)
    page = boss.log_in("boss", "/admin/seckill/item/")
    page.keyboard.press("Tab")
    expect(page.get_by_role("link", name="Skip to the content")).to_be_focused()
    page.keyboard.press("Enter")
    expect(page.locator("#content")).to_be_focused()
    page.get_by_role("button", name="Menu").press("Enter")
    expect(page.get_by_role("link", name="Desk", exact=True)).to_be_visible()


@pytest.mark.parametrize("phone", [False, True])
def test_the_list_of_activities_needs_no_scrolling(
    visit: VisitorMaker, order: int, phone: bool
) -> None:
    assert order
    now = timezone.now()
    Activity.objects.filter(pk=1).update(
        name="The first sale of the winter collection", user_limit=1_000,
        opens_at=now, closes_at=now + timedelta(days=1),
    )  # fmt: skip
    visitor = visit(phone=phone)
    page = visitor.log_in("boss", PAGES["activities"])
    visitor.shot(f"activities-in-one-view-{'phone' if phone else 'desk'}")
    sticks_out = page.evaluate(
        "[...document.querySelectorAll('.result-list td, .result-list th, .result-list a')]"
        ".map(e => e.getBoundingClientRect().right - innerWidth)"
    )
    assert sticks_out
    assert max(sticks_out) <= 0

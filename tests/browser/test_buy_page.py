"""The buyers' page in Chromium, with a real door and a real consumer."""

import re
from collections.abc import Callable, Iterator

import pytest
import redis
from playwright.sync_api import Browser, Page, expect

from seckill.lane.clicks import Place
from seckill.lane.held import Hold
from tests.browser.conftest import PATIENCE_MS, REFUSED, SHOTS, barriers
from tests.conftest import Manage
from tests.helpers import blocks
from tests.helpers.door import RunningDoor, open_door, settle_by_hand, token_of
from tests.helpers.node import Node, running
from tests.helpers.sale import now_ms, put_on_sale, waiting
from tests.integration.conftest import node  # noqa: F401

Shop = Callable[..., Page]


@pytest.fixture
def kafka_client() -> str:
    """The consumer's client: one is enough here."""
    return "confluent-kafka"


@pytest.fixture
def door(manage: Manage, node: Node) -> RunningDoor:  # noqa: F811
    """A door without narrow limits."""
    rates = ("--user-rate", "1000", "--address-rate", "10000")
    pay = "http://127.0.0.1:1/pay?ticket={ticket}"
    return open_door(manage, node.server, *rates, SECKILL_PAY_URL=pay)


@pytest.fixture
def shop(chromium: Browser, door: RunningDoor) -> Iterator[Shop]:
    """Opens the page as a buyer of the shop; no script may fail, and the policy refuses nothing."""
    opened = []
    wrong: list[str] = []

    def enter(user: int = 7, width: int = 1440, **how: str) -> Page:
        context = chromium.new_context(viewport={"width": width, "height": 800}, **how)  # type: ignore[arg-type]
        context.set_default_timeout(PATIENCE_MS)
        context.add_init_script(REFUSED)
        page = context.new_page()
        page.on("pageerror", lambda error: wrong.append(str(error)))
        opened.append(context)
        page.goto(f"http://127.0.0.1:{door.port}/buy/1#token={token_of(user)}")
        expect(page.locator("#name")).not_to_be_empty()
        return page

    yield enter
    for context in opened:
        for page in context.pages:
            assert page.evaluate("window.refused") == []
        context.close()
    assert wrong == []


HOLD_S = 90


def _hold_what_comes(node: Node, activity: int = 1, hold_s: int = HOLD_S) -> str:  # noqa: F811
    """Holds for what comes first to each partition, as decide_batch.lua has them. The source."""
    source = str(node.topics.source(node.server.topic))
    due = now_ms() + hold_s * 1000
    holds = [
        Hold(Place(source, partition, offset), due, 7, {1001: 1})
        for partition in node.topics.partitions(node.server.topic)
        for offset in range(5)
    ]
    blocks.write(node.client, *holds, activity=activity)
    return source


def _ticket(page: Page) -> str:
    """Of the click that the page follows."""
    return str(page.evaluate("JSON.parse(localStorage.getItem('seckill.click.1.7')).ticket"))


def _told(page: Page, name: str) -> None:
    expect(page.locator(f"#result[data-name={name}]")).to_be_visible()


@pytest.mark.usefixtures("transactional_db")
class TestBuyers:
    def test_who_buys_and_who_is_too_late(
        self,
        shop: Shop,
        node: Node,  # noqa: F811
        redis_client: "redis.Redis",
    ) -> None:
        """Buy with the keyboard, F5, sold out for another, and open again."""
        put_on_sale(redis_client, {1001: 1})
        page, other = shop(7), shop(8, width=320, locale="zh-CN", color_scheme="dark")
        assert "token" not in page.url
        assert other.evaluate("document.documentElement.scrollWidth") <= 320
        page.screenshot(path=SHOTS / "buy-open-1440.png")
        other.screenshot(path=SHOTS / "buy-open-320-dark-zh.png")
        page.locator("#items button").wait_for()
        page.keyboard.press("Tab")
        page.keyboard.press("Enter")
        expect(page.locator("#result")).to_be_visible()
        # Between the click and its answer, since nobody decides yet.
        page.reload()
        with running(node.consumer()):
            _told(page, "yours")
            assert len(waiting(redis_client)) == 1
            page.screenshot(path=SHOTS / "buy-yours-1440.png")
            expect(other.locator("#phase")).to_have_text("已售罄")
            expect(other.locator("#items button")).to_be_disabled()
            other.screenshot(path=SHOTS / "buy-gone-320-dark-zh.png")
            put_on_sale(redis_client, {1001: 1})
            other.locator("#items button:enabled").click()
            _told(other, "yours")

    def test_two_tabs_and_a_dead_network_are_one_click(
        self,
        shop: Shop,
        node: Node,  # noqa: F811
        redis_client: "redis.Redis",
    ) -> None:
        put_on_sale(redis_client, {1001: 5})
        page = shop(7)
        page.locator("#items button:enabled").wait_for()
        page.context.set_offline(True)
        page.locator("#items button").click()
        _told(page, "sending")
        tab = page.context.new_page()
        page.context.set_offline(False)
        tab.goto(
            f"http://127.0.0.1:{page.url.split(':')[2].split('/')[0]}/buy/1#token={token_of(7)}"
        )
        with running(node.consumer()):
            _told(page, "yours")
            _told(tab, "yours")
        assert [record["user_id"] for record in waiting(redis_client)] == [7]

    @pytest.mark.parametrize(
        ("byte", "name"), [("P", "paid"), ("X", "expired"), ("C", "cancelled")]
    )
    def test_a_hold_is_shown_to_its_end(
        self,
        shop: Shop,
        node: Node,  # noqa: F811
        redis_client: "redis.Redis",
        byte: str,
        name: str,
    ) -> None:
        """Until when, how long still, where to pay; after F5 too. Then what became of it."""
        put_on_sale(redis_client, {1001: 5})
        source = _hold_what_comes(node)
        how = {"X": {"locale": "zh-CN", "color_scheme": "dark"}}.get(byte, {})
        page = shop(7, width=390 if byte == "X" else 1440, **how)
        page.locator("#items button:enabled").click()
        with running(node.consumer()):
            _told(page, "held")
            expect(page.locator("#left")).to_have_text(re.compile(r"1:[0-2]\d"))
            ticket = _ticket(page)
            expect(page.locator("#pay")).to_have_attribute(
                "href", f"http://127.0.0.1:1/pay?ticket={ticket}"
            )
            page.screenshot(path=SHOTS / f"buy-held-{name}.png")
            assert barriers(page) == []
            page.reload()
            _told(page, "held")
            expect(page.locator("#items button")).to_be_disabled()
            settle_by_hand(redis_client, source, ticket, byte)
            _told(page, name)
            page.screenshot(path=SHOTS / f"buy-{name}.png")
            expect(page.locator("#pay")).to_be_hidden()
            assert barriers(page) == []
            if name != "paid":
                expect(page.locator("#items button")).to_be_enabled()

    def test_a_hold_whose_time_is_over_is_not_called_lost(
        self,
        shop: Shop,
        node: Node,  # noqa: F811
        redis_client: "redis.Redis",
    ) -> None:
        """Only the settler ends it; and giving back that fails is said."""
        put_on_sale(redis_client, {1001: 5})
        _hold_what_comes(node, hold_s=-1)
        page = shop(7)
        page.on("dialog", lambda dialog: dialog.accept())
        page.locator("#items button:enabled").click()
        with running(node.consumer()):
            _told(page, "late")
            page.locator("#back").click()
            # No settler has made its topic.
            _told(page, "notBack")

    @pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
    @pytest.mark.parametrize("width", [1440, 320])
    def test_axe_finds_nothing_serious(
        self,
        shop: Shop,
        node: Node,  # noqa: F811
        redis_client: "redis.Redis",
        width: int,
        dark: bool,
    ) -> None:
        """On sale and sold out; in line; bought; refused."""
        put_on_sale(redis_client, {1001: 20, 1002: 0, 1003: 1}, user_limit=1)
        scheme = "dark" if dark else "light"
        page = shop(7, width, color_scheme=scheme)
        page.locator("#items button:enabled").first.wait_for()
        assert barriers(page) == []
        page.locator("#items button:enabled").first.click()
        expect(page.locator("#result")).to_be_visible()
        assert barriers(page) == []
        with running(node.consumer()):
            _told(page, "yours")
            assert barriers(page) == []
            page.screenshot(path=SHOTS / f"buy-axe-yours-{width}-{scheme}.png")
            page.locator("#again").click()
            page.locator("#items button:enabled").first.click()
            _told(page, "LIMIT")
            assert barriers(page) == []
            assert page.evaluate("document.documentElement.scrollWidth") <= width
            page.screenshot(path=SHOTS / f"buy-axe-limit-{width}-{scheme}.png", full_page=True)

    def test_the_documentation_is_shown(self, chromium: Browser, door: RunningDoor) -> None:
        """Swagger UI under a policy that allows no other host."""
        page = chromium.new_page()
        page.add_init_script(REFUSED)
        page.goto(f"http://127.0.0.1:{door.port}/docs")
        expect(page.get_by_text("/v1/requests")).to_be_visible(timeout=PATIENCE_MS)
        assert page.evaluate("window.refused") == []
        page.screenshot(path=SHOTS / "door-docs.png")
        page.close()

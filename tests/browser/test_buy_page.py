"""The buyers' page in Chromium, with a real door and a real consumer."""

from collections.abc import Callable, Iterator

import pytest
import redis
from playwright.sync_api import Browser, Page, expect

from tests.browser.conftest import PATIENCE_MS, REFUSED, SHOTS, barriers
from tests.conftest import Manage
from tests.helpers.door import RunningDoor, open_door, token_of
from tests.helpers.node import Node, running
from tests.helpers.sale import put_on_sale, waiting
from tests.integration.conftest import node  # noqa: F401

Shop = Callable[..., Page]


@pytest.fixture
def kafka_client() -> str:
    """The consumer's client: one is enough here."""
    return "confluent-kafka"


@pytest.fixture
def door(manage: Manage, node: Node) -> RunningDoor:  # noqa: F811
    """A door without narrow limits."""
    return open_door(manage, node.server, "--user-rate", "1000", "--address-rate", "10000")


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

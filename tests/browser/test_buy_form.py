"""Buying without JavaScript, and with the shop's session, in Chromium.

With the demo shop, a real door and a real consumer.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import pytest
import redis
from playwright.sync_api import Browser, Page, expect

from demo.shop import COOKIE, door_flags, shop
from demo.till import Till
from devstack.state import free_port
from seckill.web.door.token_maker import TokenMaker
from tests.browser.conftest import PATIENCE_MS, SHOTS, barriers
from tests.conftest import Manage
from tests.helpers.door import SECRET, open_door, token_of
from tests.helpers.node import Node, running
from tests.helpers.sale import put_on_sale, waiting
from tests.integration.conftest import node  # noqa: F401

TOKENS = TokenMaker("test", "HS256", SECRET)


@dataclass
class Street:
    """A door and the port of the shop beside it, which is closed until a test opens it."""

    door: str
    shop_port: int

    @property
    def page(self) -> str:
        """The buyers' page."""
        return f"{self.door}/buy/1"


@pytest.fixture
def kafka_client() -> str:
    """The consumer's client: one is enough here."""
    return "confluent-kafka"


@pytest.fixture
def street(manage: Manage, node: Node) -> Street:  # noqa: F811
    """A door that knows its shop."""
    port = free_port(())
    rates = ("--user-rate", "1000", "--address-rate", "10000")
    door = open_door(manage, node.server, *rates, *door_flags(port))
    return Street(f"http://127.0.0.1:{door.port}", port)


Visit = Callable[..., Page]


@pytest.fixture
def visit(chromium: Browser) -> Iterator[Visit]:
    """Makes visitors; no script of theirs may fail, and the page's policy refuses nothing."""
    opened = []
    wrong: list[str] = []

    def hear(kind: str, text: str) -> None:
        if kind == "error" and "Content Security Policy" in text:
            wrong.append(text)

    def enter(width: int = 1440, *, scripts: bool = True, **how: str) -> Page:
        context = chromium.new_context(
            viewport={"width": width, "height": 800},
            java_script_enabled=scripts,
            **how,  # type: ignore[arg-type]
        )
        context.set_default_timeout(PATIENCE_MS)
        page = context.new_page()
        page.on("pageerror", lambda error: wrong.append(str(error)))
        page.on("console", lambda said: hear(said.type, said.text))
        opened.append(context)
        return page

    yield enter
    for context in opened:
        context.close()
    assert wrong == []


def _told(page: Page, name: str) -> None:
    expect(page.locator(f".result[data-name={name}]")).to_be_visible()


def _barriers(page: Page) -> list[str]:
    """What axe-core calls serious or worse; nothing may stick out at the side."""
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    return barriers(page)


@pytest.mark.usefixtures("transactional_db")
class TestWithoutScripts:
    def test_a_guest_of_the_shop_buys_and_another_is_too_late(
        self,
        visit: Visit,
        street: Street,
        node: Node,  # noqa: F811
        redis_client: "redis.Redis",
    ) -> None:
        """By himself from the shop to the form; F5 between click and answer, and on the answer."""
        put_on_sale(redis_client, {1001: 1})
        with shop(street.shop_port, TOKENS, 1, Till(street.door, "a key")):
            page = visit(scripts=False)
            page.goto(f"http://127.0.0.1:{street.shop_port}/")
            other = visit(320, scripts=False, locale="zh-CN", color_scheme="dark")
            other.goto(f"http://127.0.0.1:{street.shop_port}/")
        page.wait_for_url(f"{street.page}/form")
        other.wait_for_url(f"{street.page}/form")
        page.screenshot(path=SHOTS / "form-open-1440.png")
        other.screenshot(path=SHOTS / "form-open-320-dark-zh.png")
        page.get_by_role("button", name="Buy").click()
        _told(page, "next")
        page.screenshot(path=SHOTS / "form-next-1440.png")
        page.reload()
        other.get_by_role("button", name="立即抢购").click()
        expect(other.locator(".result[data-tone=wait]")).to_be_visible()
        other.screenshot(path=SHOTS / "form-waits-320-dark-zh.png")
        with running(node.consumer()):
            # The pages load themselves.
            first = page.locator(".result[data-tone=yes], .result[data-tone=no]")
            second = other.locator(".result[data-tone=yes], .result[data-tone=no]")
            expect(first).to_be_visible()
            expect(second).to_be_visible()
        page.screenshot(path=SHOTS / "form-told-1440.png")
        other.screenshot(path=SHOTS / "form-told-320-dark-zh.png")
        page.reload()
        expect(first).to_be_visible()
        tones = {page.locator(".result").get_attribute("data-tone") for page in (page, other)}
        assert tones == {"yes", "no"}
        assert len(waiting(redis_client)) == 1

    def test_a_double_click_and_the_way_back_are_one_order(
        self,
        visit: Visit,
        street: Street,
        node: Node,  # noqa: F811
        redis_client: "redis.Redis",
    ) -> None:
        put_on_sale(redis_client, {1001: 5})
        page = visit(scripts=False)
        page.context.add_cookies([{"name": COOKIE, "value": token_of(7), "url": street.door}])
        page.goto(f"{street.page}/form")
        page.get_by_role("button", name="Buy").dblclick()
        page.wait_for_url("**/t/*")
        page.go_back()
        page.get_by_role("button", name="Buy").click()
        page.wait_for_url("**/t/*")
        with running(node.consumer()):
            _told(page, "yours")
            assert len(waiting(redis_client)) == 1
            page.get_by_role("button", name="Buy something else").click()
            page.get_by_role("button", name="Buy").click()
            _told(page, "yours")
        assert [record["user_id"] for record in waiting(redis_client)] == [7, 7]

    @pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
    @pytest.mark.parametrize("width", [1440, 320])
    def test_axe_finds_nothing_serious(
        self,
        visit: Visit,
        street: Street,
        node: Node,  # noqa: F811
        redis_client: "redis.Redis",
        width: int,
        dark: bool,
    ) -> None:
        """Signed out, on sale, bought, refused, and not there, by a browser that can run axe."""
        put_on_sale(redis_client, {1001: 20, 1002: 0, 1003: 1}, user_limit=1)
        scheme = "dark" if dark else "light"
        page = visit(width, color_scheme=scheme)
        page.goto(f"{street.page}/form")
        _told(page, "signin")
        assert _barriers(page) == []
        page.screenshot(path=SHOTS / f"form-signin-{width}-{scheme}.png", full_page=True)
        page.context.add_cookies([{"name": COOKIE, "value": token_of(7), "url": street.door}])
        page.reload()
        assert _barriers(page) == []
        page.screenshot(path=SHOTS / f"form-items-{width}-{scheme}.png", full_page=True)
        # A page that waits is the same with other words, and loads itself under axe's feet.
        with running(node.consumer()):
            page.locator(".items button:enabled").first.click()
            _told(page, "yours")
            assert _barriers(page) == []
            page.screenshot(path=SHOTS / f"form-yours-{width}-{scheme}.png")
            page.get_by_role("button", name="Buy something else").click()
            page.locator(".items button:enabled").first.click()
            _told(page, "LIMIT")
            assert _barriers(page) == []
            page.screenshot(path=SHOTS / f"form-limit-{width}-{scheme}.png")
        page.goto(f"{street.door}/t/none")
        _told(page, "nothing")
        assert _barriers(page) == []


@pytest.mark.usefixtures("transactional_db")
class TestTheShopsSession:
    def test_who_is_not_signed_in_is_sent_there_and_comes_back_to_buy(
        self,
        visit: Visit,
        street: Street,
        node: Node,  # noqa: F811
        redis_client: "redis.Redis",
    ) -> None:
        """And a token that the door takes no more is replaced, for the same click."""
        put_on_sale(redis_client, {1001: 5})
        page = visit()
        with (
            shop(street.shop_port, TOKENS, 1, Till(street.door, "a key")),
            running(node.consumer()),
        ):
            page.goto(street.page)
            page.locator("#items button:enabled").wait_for()
            assert page.url == street.page
            guest = page.evaluate("sessionStorage.getItem('seckill.token')")
            [kept] = [c for c in page.context.cookies() if c["name"] == COOKIE]  # type: ignore[typeddict-item]
            assert kept["value"] == guest
            page.locator("#items button").click()
            _told(page, "yours")
            # Later: the tab's token has ended, the shop's session has not.
            page.evaluate(f"sessionStorage.setItem('seckill.token', '{token_of(7, exp=1)}')")
            page.reload()
            page.locator("#items button:enabled").click()
            _told(page, "yours")
            page.screenshot(path=SHOTS / "buy-session-1440.png")
        assert len({record["user_id"] for record in waiting(redis_client)}) == 1

    def test_a_shop_that_is_away_and_one_that_always_says_no(
        self, visit: Visit, street: Street, redis_client: "redis.Redis"
    ) -> None:
        """No circles: once to the shop, and then a button."""
        put_on_sale(redis_client, {1001: 5})
        page = visit(320)
        page.goto(street.page)
        _told(page, "shop")
        page.screenshot(path=SHOTS / "buy-shop-away-320.png")
        with shop(street.shop_port, TOKENS, 1, Till(street.door, "a key")):
            # As if the browser kept no cookies of the shop.
            page.context.route("**/session", lambda route: route.fulfill(
                status=401,
                headers={
                    "access-control-allow-origin": street.door,
                    "access-control-allow-credentials": "true",
                },
            ))  # fmt: skip
            page.locator("#again").click()
            _told(page, "signin")
            assert page.url == street.page
            expect(page.locator("#again")).to_have_text("Sign in")
            page.screenshot(path=SHOTS / "buy-signin-320.png")
            assert _barriers(page) == []
            page.context.unroute("**/session")
            page.locator("#again").click()
            page.locator("#items button:enabled").wait_for()

"""What a screen reader and a thin line meet: axe-core's rules, and the weight of a page."""

from typing import Any

import pytest
import redis
from playwright.sync_api import Page, expect

from seckill.config.layers import BASE_DIR
from seckill.control.control import Control
from seckill.lane.keys import Lane
from tests.browser.conftest import VisitorMaker

pytestmark = pytest.mark.usefixtures("people")
AXE = BASE_DIR / "tests" / "browser" / "vendor" / "axe-core-4.14.1" / "axe.min.js"
DESK = "/admin/seckill/activity/1/desk/"
# What a person cannot get around, and what only with pain.
SEVERE = ("serious", "critical")
# Bytes over the wire at a first visit.
DESK_BYTES = 400_000


def found(page: Page) -> dict[str, list[str]]:
    """{rule: where} of what axe takes for serious or critical."""
    page.evaluate(AXE.read_text())
    violations: list[dict[str, Any]] = page.evaluate("axe.run().then(result => result.violations)")
    return {
        one["id"]: [node["html"][:200] for node in one["nodes"]]
        for one in violations
        if one["impact"] in SEVERE
    }


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
@pytest.mark.parametrize("phone", [False, True], ids=["desk", "phone"])
def test_axe_finds_nothing_serious(
    visit: VisitorMaker, redis_client: "redis.Redis", dark: bool, phone: bool
) -> None:
    control = Control(redis_client, "test", Lane())
    control.set_stock(1, {1000 + item: 40 for item in range(13)})
    olga = visit(dark=dark, phone=phone)
    page = olga.log_in("olga")
    expect(page.locator("#pulse")).to_have_text("live")
    assert found(page) == {}
    expect(page.get_by_role("main")).to_be_visible()
    olga.go(DESK)
    expect(page.locator("#desk")).to_have_attribute("data-answered", "yes")
    expect(page.locator("#chart-left")).to_have_attribute("data-lines", "13")
    assert found(page) == {}
    page.get_by_text("More acts").click()
    assert found(page) == {}
    olga.shot(f"desk-13-items-{'phone' if phone else 'desk'}-{'dark' if dark else 'light'}")


def test_the_desk_is_light_and_is_kept(visit: VisitorMaker, redis_client: "redis.Redis") -> None:
    Control(redis_client, "test", Lane()).set_stock(1, {1001: 40})
    olga = visit()
    page = olga.log_in("olga", "/admin/password_change/")
    # A first visit: nothing of the pages before is kept.
    session = olga.context.new_cdp_session(page)
    session.send("Network.enable")
    session.send("Network.clearBrowserCache")
    sizes: dict[str, int] = {}
    urls: dict[str, str] = {}
    kept: dict[str, str] = {}
    session.on("Network.responseReceived", lambda e: _hear(e, urls, kept))
    session.on(
        "Network.loadingFinished",
        lambda e: sizes.__setitem__(e["requestId"], int(e["encodedDataLength"])),
    )
    olga.go(DESK)
    expect(page.locator("#desk")).to_have_attribute("data-answered", "yes")
    told = {urls[key]: size for key, size in sizes.items() if key in urls}
    total = sum(told.values())
    assert total < DESK_BYTES, sorted(told.items(), key=lambda pair: -pair[1])
    static = {url: control for url, control in kept.items() if "/static/" in url}
    assert len(static) > 10
    for url, control in static.items():
        assert "immutable" in control, url


def _hear(said: dict[str, Any], urls: dict[str, str], kept: dict[str, str]) -> None:
    response = said["response"]
    urls[said["requestId"]] = response["url"]
    headers = {name.lower(): value for name, value in response["headers"].items()}
    kept[response["url"]] = headers.get("cache-control", "")

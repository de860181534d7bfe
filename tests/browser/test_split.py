"""The desk of a sale over two lanes: sums with a line for each lane, on a desk and on a phone."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import redis
from playwright.sync_api import Browser, expect

from devstack.state import free_port
from seckill.broker.topics import Topics
from seckill.config.sections import Server
from seckill.telemetry.history import append_sample, sample_of
from tests.browser.conftest import SHOTS, Site, VisitorMaker
from tests.browser.test_pages import fits
from tests.conftest import Manage
from tests.helpers.known_sale import known_sale
from tests.helpers.servers import OwnValkey
from tests.helpers.split_sale import HEAD, PART, Split

pytestmark = pytest.mark.usefixtures("people")


# Phone or not, dark or not, language.
LOOKS = (
    (False, False, "en-US"),
    (False, True, "zh-CN"),
    (True, False, "zh-CN"),
    (True, True, "en-US"),
)


def desk(activity: int) -> str:
    """The page of a part."""
    return f"/admin/seckill/activity/{activity}/desk/"


@dataclass
class Watched:
    """The sale, the Valkey of lane north, and who may look at it."""

    sale: Split
    north: OwnValkey
    visit: VisitorMaker


@pytest.fixture
def watched(
    chromium: Browser,
    manage: Manage,
    server: Server,
    topics: Topics,
    redis_client: "redis.Redis",
    pg_dsn: str,
    tmp_path: Path,
) -> Iterator[Watched]:
    """101 units of 1001 and 5 of 1002; some are sold in both lanes."""
    with known_sale(manage, server, topics, redis_client, pg_dsn, tmp_path) as known:
        known.sale.buy(*range(1, 41))
        site = Site(manage, free_port(()), known.lanes.variables)
        site.start()
        visit = VisitorMaker(chromium, site)
        yield Watched(known.sale, known.north, visit)
        visit.close()


def test_a_split_sale_is_one_sale_with_a_line_for_each_lane(watched: Watched) -> None:
    sale = watched.sale
    sale.away.add("north")
    # Five of them are on their way to lane north, which cannot be reached.
    sale.control.add_stock(HEAD, {1001: 10})
    looks = (
        ("olga", HEAD, False, False, "en-US"),
        ("otto", PART, False, True, "zh-CN"),
        ("olga", HEAD, True, False, "zh-CN"),
        ("otto", PART, True, True, "en-US"),
    )
    for who, part, phone, dark, language in looks:
        visitor = watched.visit(phone=phone, dark=dark, language=language)
        page = visitor.log_in(who, desk(part))
        expect(page.locator("#sale-parts tr")).to_have_count(2)
        expect(page.locator("#sale-left")).to_have_text("71")
        expect(page.locator("#sale-sold")).to_have_text("40")
        # Of the lanes, this one has a page already.
        expect(page.locator("#sale-parts a")).to_have_count(1)
        device, theme = "phone" if phone else "desk", "dark" if dark else "light"
        visitor.shot(f"split-{part}-{device}-{theme}-{language[:2]}")
        page.locator("#sale").screenshot(path=SHOTS / f"split-card-{part}-{device}-{theme}.png")
        assert visitor.barriers() == []
        assert fits(page)
        page.close()

    olga = watched.visit()
    page = olga.log_in("olga", desk(HEAD))
    card = page.locator("#sale")
    expect(card).to_contain_text("Acts on this page are done in all lanes.")
    expect(card).to_contain_text("5 on the way between lanes")
    # Its units left cannot be set as a whole, so nobody is asked for them.
    items = page.locator("#items")
    expect(items.get_by_role("link", name="Add 1001")).to_be_visible()
    expect(items.get_by_role("link", name="Set 1001")).to_be_hidden()
    page.get_by_role("link", name="Pause", exact=True).click()
    expect(page.locator("main")).to_contain_text("split over 2 lanes, and this is done in all")
    page.get_by_role("button", name="Pause the sale").click()
    states = page.locator("#sale-parts .desk-badge")
    expect(states).to_have_text(["paused", "paused"])
    page.get_by_role("link", name="north", exact=True).click()
    expect(page.locator("#state")).to_have_text("paused")
    page.get_by_role("link", name="This is a part of the sale of activity 1").click()
    expect(items.get_by_role("link", name="Add 1001")).to_be_visible()

    watched.north.kill()
    expect(states).to_have_text(["paused", "Redis is away"])
    expect(page.locator("#sale-way")).to_have_text("without north · 5 on the way between lanes")
    expect(page.locator("#sale-left")).to_have_text("38")
    olga.shot("split-away")
    card.screenshot(path=SHOTS / "split-card-away.png")


def test_pages_show_one_sale_and_name_a_lane_that_is_away(watched: Watched) -> None:
    watched.sale.main.store()
    watched.sale.north.store()
    for phone, dark, language in LOOKS:
        visitor = watched.visit(phone=phone, dark=dark, language=language)
        device, theme = "phone" if phone else "desk", "dark" if dark else "light"
        page = visitor.log_in("olga", "/admin/")
        cards = page.locator("[data-sale]")
        expect(cards).to_have_count(1)
        expect(cards.locator("[data-field=left]")).to_have_text("66")
        visitor.shot(f"split-overview-{device}-{theme}-{language[:2]}")
        assert visitor.barriers() == []
        assert fits(page)
        page.goto(f"{page.url.split('/admin/')[0]}/admin/seckill/stockchange/?activity={HEAD}")
        expect(page.locator("#result_list")).to_contain_text("2 · ")
        visitor.shot(f"split-journal-{device}-{theme}-{language[:2]}")
        assert fits(page)
        page.close()

    page = watched.visit().log_in("olga", "/admin/")
    watched.north.kill()
    without = page.locator("[data-field=without]")
    expect(without).to_have_text("Without lane north: its Redis is away")
    expect(page.locator("[data-field=left]")).to_have_text("33")
    for phone, dark, language in LOOKS:
        visitor = watched.visit(phone=phone, dark=dark, language=language)
        visitor.meets_refusals = True
        device, theme = "phone" if phone else "desk", "dark" if dark else "light"
        page = visitor.log_in("olga", "/admin/")
        expect(page.locator("[data-field=left]")).to_have_text("33")
        visitor.shot(f"split-overview-away-{device}-{theme}-{language[:2]}")
        assert visitor.barriers() == []
        # A desk that has had no figures yet shows what PostgreSQL knows.
        page.goto(page.url.split("/admin/")[0] + desk(PART))
        expect(page.locator("#alerts")).to_contain_text("north")
        expect(page.locator("#stored")).to_have_text("20")
        expect(page.locator("#sale-left")).to_have_text("33")
        expect(page.locator("#items")).to_contain_text("1001")
        expect(page.locator("#left")).to_be_hidden()
        visitor.shot(f"split-desk-away-{device}-{theme}-{language[:2]}")
        assert visitor.barriers() == []
        assert fits(page)
        page.close()


def test_the_report_of_a_split_sale_is_of_all_lanes(watched: Watched) -> None:
    for shop in watched.sale.both():
        append_sample(shop.client, shop.lane, sample_of(shop.control.status(), {0: 0}))
    watched.sale.buy(*range(41, 61))
    for phone, dark, language in LOOKS:
        visitor = watched.visit(phone=phone, dark=dark, language=language)
        device, theme = "phone" if phone else "desk", "dark" if dark else "light"
        page = visitor.log_in("olga", f"/admin/seckill/activity/{HEAD}/report/")
        expect(page.locator("main")).to_contain_text("106")
        expect(page.locator("section").first).to_contain_text("north")
        visitor.shot(f"split-report-{device}-{theme}-{language[:2]}")
        assert visitor.barriers() == []
        assert fits(page)
        page.goto(page.url.replace(f"/{HEAD}/", f"/{PART}/"))
        page.locator(f"a[href='/admin/seckill/activity/{HEAD}/report/']").click()
        expect(page.locator("section").first).to_contain_text("north")
        page.go_back()
        visitor.shot(f"split-report-part-{device}-{theme}-{language[:2]}")
        assert visitor.barriers() == []
        page.close()

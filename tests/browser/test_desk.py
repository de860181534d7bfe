"""The operations desk in a real browser, on real services: watched, steered, lost and back."""

import os
import re
import signal

import pytest
import redis
from django.db import connection
from playwright.sync_api import Page, expect

from devstack.stack import Stack
from seckill.config.sections import Server
from seckill.control.control import Control
from seckill.lane.keys import Lane
from seckill.lane.status import read_lane
from seckill.models import StockChange
from seckill.telemetry.heartbeats import Kind, read_workers
from tests.browser.conftest import SHOTS, Site, VisitorMaker
from tests.conftest import Manage, wait_until

DESK = "/admin/seckill/activity/1/desk/"
pytestmark = pytest.mark.usefixtures("people")


def number(page: Page, name: str) -> int:
    """A figure of the page."""
    return int(re.sub(r"\D", "", page.locator(f"#{name}").inner_text()) or 0)


def live(page: Page) -> None:
    """The page has figures, and they are of now."""
    expect(page.locator("#desk")).to_have_attribute("data-stale", "no")


def test_a_sale_is_watched_and_steered(
    visit: VisitorMaker,
    manage: Manage,
    server: Server,
    kafka_topic: str,
    redis_client: "redis.Redis",
) -> None:
    # More than the load buys: nothing but the act finishes this sale.
    Control(redis_client, "test", Lane()).set_stock(1, {1001: 300_000, 1002: 400})
    kafka = ("--topic", kafka_topic)
    manage("run_consumer", *kafka, "--group-id", server.group_id)
    manage("run_log_worker")
    olga = visit()
    page = olga.log_in("olga", DESK)
    live(page)
    expect(page.locator("#state")).to_have_text("open")
    expect(page.locator("#workers")).to_contain_text("log worker")
    manage(
        *("run_loadgen", *kafka, "--user-count", "20000", "--requests", "20000"),
        *("--rate", "500", "--quiet"),
    )

    # It moves by itself: twice, without a reload.
    expect(page.locator("#accepted")).not_to_have_text("0")
    before = number(page, "accepted")
    wait_until(lambda: number(page, "accepted") > before, 30, "more is accepted")
    wait_until(lambda: number(page, "stored") > 0, 30, "rows are stored")
    expect(page.locator("#rate")).not_to_have_text("0")
    expect(page.locator("#partitions tr")).to_have_count(2)
    chart = page.locator("#chart-left")
    expect(chart).to_have_attribute("data-lines", "2")
    wait_until(lambda: int(chart.get_attribute("data-points") or 0) > 2, 30, "a line")
    expect(page.locator("#chart-left-legend")).to_contain_text("item 1001")
    expect(page.locator("#verdict")).to_have_attribute("data-state", "selling")
    expect(page.locator("#verdict-text")).to_contain_text("Selling for")
    olga.shot("desk-running")

    # A top-up, by keyboard alone, that keeps the statistics.
    accepted = number(page, "accepted")
    page.get_by_role("link", name="Add units", exact=True).press("Enter")
    page.get_by_label("Item").select_option("1002")
    page.get_by_label("Units to add").fill("500")
    page.get_by_label("Units to add").press("Enter")
    expect(page.get_by_text("The statistics continue")).to_be_visible()
    page.get_by_label("Why, for the journal").fill("more came")
    olga.shot("confirm-add")
    page.get_by_role("button", name="Add 500").press("Enter")
    expect(page.get_by_text("Add units, activity 1: 1002")).to_be_visible()
    live(page)
    assert number(page, "accepted") >= accepted
    assert read_lane(redis_client, Lane()).activities[1].items[1002].loaded == 900

    # Somebody else is faster: asked again, with what happened.
    expect(page.get_by_role("link", name="Finish", exact=True)).to_be_hidden()
    page.get_by_text("More acts").click()
    olga.shot("desk-menu")
    page.get_by_role("link", name="Finish", exact=True).click()
    Control(redis_client, "someone", Lane()).add_stock(1, {1001: 1})
    page.get_by_role("button", name="Finish the sale").click()
    expect(page.get_by_role("alert")).to_contain_text("someone: Add units, 1001")
    assert read_lane(redis_client, Lane()).activities[1].over is None
    olga.shot("asked-again")
    page.get_by_role("button", name="Finish the sale").click()
    live(page)
    expect(page.locator("#state")).to_have_text("finished")
    expect(page.get_by_role("link", name="Reopen", exact=True)).to_be_visible()
    expect(page.get_by_role("link", name="Pause", exact=True)).to_be_hidden()
    expect(page.locator("#acts tr").first).to_contain_text("olga")
    expect(page.locator("#acts tr").first).to_contain_text("Finish")
    wait_until(lambda: number(page, "waiting") == 0, 30, "all is stored")
    olga.shot("desk-finished")

    # The journal says who it was.
    page.get_by_role("link", name="Journal").last.click()
    row = page.get_by_role("row").filter(has_text="Finish")
    expect(row).to_contain_text("olga")
    olga.shot("journal")
    change = StockChange.objects.get(act="add_stock", actor="olga")
    assert (change.note, change.state) == ("more came", "applied")


def test_frozen_consumers_are_seen_and_go_on(
    visit: VisitorMaker,
    manage: Manage,
    server: Server,
    kafka_topic: str,
    redis_client: "redis.Redis",
) -> None:
    """SIGSTOP to the consumers alone: their parent goes on, and so do its heartbeats."""
    Control(redis_client, "test", Lane()).set_stock(1, {1001: 300_000})
    kafka = ("--topic", kafka_topic)
    manage("run_consumer", *kafka, "--group-id", server.group_id)
    manage("run_log_worker")
    olga = visit()
    page = olga.log_in("olga", DESK)
    verdict = page.locator("#verdict")
    manage(
        *("run_loadgen", *kafka, "--user-count", "20000", "--requests", "20000"),
        *("--rate", "200", "--quiet"),
    )
    expect(verdict).to_have_attribute("data-state", "selling")
    overview = olga.context.new_page()
    overview.goto(olga.site.address + "/admin/")
    expect(overview.locator("#verdict")).to_have_attribute("data-state", "selling")
    consumers = [
        int(worker.id.rpartition(":")[2])
        for worker in read_workers(redis_client, Lane())
        if worker.kind == Kind.CONSUMER
    ]
    assert consumers
    for pid in consumers:
        os.kill(pid, signal.SIGSTOP)
    try:
        for where in (page, overview):
            expect(where.locator("#verdict")).to_have_attribute("data-state", "stopped")
            expect(where.locator("#verdict")).to_have_attribute("data-level", "danger")
            expect(where.locator("#verdict-text")).to_contain_text(
                "wait in Kafka, nothing is decided"
            )
        olga.shot("desk-stopped")
        overview.screenshot(path=SHOTS / "overview-stopped.png", full_page=True)
    finally:
        for pid in consumers:
            os.kill(pid, signal.SIGCONT)
    for where in (page, overview):
        expect(where.locator("#verdict")).to_have_attribute(
            "data-state", re.compile("selling|behind")
        )


def test_lost_services_are_said_and_come_back(
    visit: VisitorMaker, site: Site, redis_client: "redis.Redis", running_stack: Stack
) -> None:
    Control(redis_client, "test", Lane()).set_stock(1, {1001: 40})
    olga = visit()
    page = olga.log_in("olga", DESK)
    live(page)
    expect(page.locator("#left")).to_have_text("40")

    olga.meets_refusals = True
    running_stack.kill("valkey")
    expect(page.locator("#alerts")).to_contain_text("Redis is away")
    expect(page.locator("#desk")).to_have_attribute("data-stale", "yes")
    expect(page.locator("#pulse")).to_contain_text("old")
    expect(page.locator("#left")).to_have_text("40")
    expect(page.get_by_role("status")).to_contain_text("Redis is away")
    olga.shot("redis-away")
    running_stack.start("valkey")
    live(page)
    expect(page.locator("#alerts")).not_to_contain_text("Redis is away")
    expect(page.get_by_role("status")).to_contain_text("live again")

    site.stop()
    expect(page.locator("#alerts")).to_contain_text("The web process does not answer")
    olga.shot("web-away")
    site.start()
    live(page)

    olga.context.clear_cookies()
    expect(page.locator("#alerts")).to_contain_text("You are logged out")
    expect(page.get_by_role("link", name="Log in")).to_be_visible()


def test_postgresql_is_lost_and_comes_back_while_the_sale_goes_on(
    visit: VisitorMaker,
    manage: Manage,
    server: Server,
    kafka_topic: str,
    redis_client: "redis.Redis",
    running_stack: Stack,
) -> None:
    Control(redis_client, "test", Lane()).set_stock(1, {1001: 40_000})
    kafka = ("--topic", kafka_topic)
    manage("run_consumer", *kafka, "--group-id", server.group_id)
    manage("run_log_worker")
    olga = visit()
    olga.meets_refusals = True
    page = olga.log_in("olga", DESK)
    live(page)
    running_stack.kill("postgres")
    try:
        alerts = page.locator("#alerts")
        expect(alerts).to_contain_text("PostgreSQL is away")
        expect(alerts).to_contain_text("orders wait there until PostgreSQL is back")
        expect(alerts).to_contain_text("manage.py status")
        expect(page.locator("#desk")).to_have_attribute("data-stale", "yes")
        expect(page.get_by_role("status")).to_contain_text("Nothing is lost")
        # It is true: requests are decided meanwhile, and orders wait.
        manage(*("run_loadgen", *kafka, "--requests", "300", "--user-count", "300", "--quiet"))
        wait_until(lambda: read_lane(redis_client, Lane()).waiting > 0, 30, "orders wait in Redis")
        olga.shot("postgresql-away")
        # Another page, and an act: the same said, and it comes back by itself.
        other = olga.context.new_page()
        other.goto(olga.site.address + "/admin/seckill/record/")
        expect(other.locator("h1")).to_have_text("PostgreSQL is away")
        expect(other.locator("main")).to_contain_text("The sale goes on")
        other.screenshot(path=SHOTS / "postgresql-away-list.png")
    finally:
        running_stack.start("postgres")
        # The tests' own connection went with it.
        connection.close()
    live(page)
    expect(alerts).not_to_contain_text("PostgreSQL is away")
    expect(page.get_by_role("status")).to_contain_text("live again")
    expect(other.get_by_role("link", name="CSV")).to_be_visible()
    wait_until(lambda: number(page, "waiting") == 0, 30, "all is stored")
    assert number(page, "stored") > 0


def test_who_may_only_look_has_no_buttons(visit: VisitorMaker, redis_client: "redis.Redis") -> None:
    Control(redis_client, "test", Lane()).set_stock(1, {1001: 40})
    otto = visit(phone=True, dark=True)
    otto.meets_refusals = True
    page = otto.log_in("otto", DESK)
    live(page)
    expect(page.locator("#items")).to_contain_text("1001")
    expect(page.locator("[data-act]")).to_have_count(0)
    expect(page.locator("#items a")).to_have_count(0)
    otto.shot("desk-look-only-phone-dark")
    answer = otto.go("/admin/seckill/activity/1/finish/")
    expect(answer.locator("body")).to_contain_text("You may not do this")

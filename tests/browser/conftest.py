"""Fixtures of the browser tests: Debian's Chromium, the web process, a desk with somebody at it.

Run by `make test-browser`, and by nothing else. Screenshots stay in `screenshots/`.
"""

import os
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, expect, sync_playwright

from devstack.state import free_port, listens
from seckill.config.layers import BASE_DIR
from tests.conftest import Manage, wait_until
from tests.integration.web.pages import member

CHROMIUM = "/usr/bin/chromium"
FLAGS = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
)
SHOTS = BASE_DIR / "screenshots"
PASSWORD = "a long enough one"
DESKTOP = {"width": 1440, "height": 900}
PHONE = {"width": 390, "height": 844}
# Milliseconds that the page has for anything that a person waits for.
PATIENCE_MS = 30_000
# What the page's own policy refuses, told by the browser.
REFUSED = """
window.refused = [];
document.addEventListener("securitypolicyviolation", (event) =>
  window.refused.push(`${event.violatedDirective} ${event.blockedURI} ${event.sample}`));
"""
# axe-core, for these tests alone: https://github.com/dequelabs/axe-core, MPL 2.0.
AXE = Path(__file__).parent / "vendor" / "axe-core-4.14.1" / "axe.min.js"
LOOK = """
;axe.run(document, { resultTypes: ["violations"] }).then((found) =>
  found.violations.filter((one) => ["serious", "critical"].includes(one.impact))
    .map((one) => `${one.id}: ${one.nodes[0].html.slice(0, 200)}`))
"""
# Playwright's thread runs an event loop, so Django takes the tests' own queries for async ones.
os.environ["DJANGO_ALLOW_ASYNC_UNSAFE"] = "1"


def barriers(page: Page) -> list[str]:
    """What axe-core calls serious or worse on a page, each with the first element."""
    return [str(line) for line in page.evaluate(f"{AXE.read_text()}\n{LOOK}")]


@dataclass
class Site:
    """The web process, on a port that stays the same when it is started again."""

    manage: Manage
    port: int
    # Of its environment, beside what every command of a test has.
    variables: Mapping[str, str] = field(default_factory=dict)
    _process: "subprocess.Popen[str] | None" = None

    @property
    def address(self) -> str:
        """Where it listens."""
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        """Until it answers."""
        self._process = self.manage("run_control_api", "--port", str(self.port), **self.variables)
        wait_until(lambda: listens(self.port), 60, "the web process listens")

    def stop(self) -> None:
        """Until it is gone."""
        assert self._process is not None
        self._process.terminate()
        self._process.wait(30)


@dataclass
class Visitor:
    """Somebody with a browser. Whatever the browser complains of fails the test at its end."""

    site: Site
    context: BrowserContext
    page: Page
    complaints: list[str] = field(default_factory=list)
    # Whether answers of 4xx and 5xx, which the browser tells too, belong to the scenario.
    meets_refusals: bool = False

    def go(self, path: str) -> Page:
        """Open a page of the site."""
        self.page.goto(self.site.address + path)
        return self.page

    def log_in(self, name: str, path: str = "/admin/") -> Page:
        """Through the login page, to this one."""
        page = self.go(f"/admin/login/?next={path}")
        page.locator("input[name=username]").fill(name)
        page.locator("input[name=password]").fill(PASSWORD)
        page.locator("input[name=password]").press("Enter")
        page.wait_for_url(self.site.address + path)
        return page

    def barriers(self) -> list[str]:
        """What axe-core calls serious or worse on this page, each with the first element."""
        return barriers(self.page)

    def shot(self, name: str) -> None:
        """Keep what is seen."""
        self.page.screenshot(path=SHOTS / f"{name}.png", full_page=True)

    def listen(self) -> None:
        """Note errors of scripts and refusals of the policy."""
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.page.on("console", lambda said: self._hear(said.type, said.text))

    def _hear(self, kind: str, text: str) -> None:
        refusal = self.meets_refusals and text.startswith("Failed to load resource")
        if kind == "error" and not refusal:
            self.complaints.append(text)


@pytest.fixture(scope="session")
def chromium() -> Iterator[Browser]:
    """One browser for all tests."""
    assert Path(CHROMIUM).exists(), f"{CHROMIUM} is missing: make test-browser installs it as root"
    shutil.rmtree(SHOTS, ignore_errors=True)
    SHOTS.mkdir()
    expect.set_options(timeout=PATIENCE_MS)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=list(FLAGS))
        yield browser
        browser.close()


@pytest.fixture
def site(manage: Manage) -> Site:
    """The web process, started."""
    site = Site(manage, free_port(()))
    site.start()
    return site


@pytest.fixture
def visit(chromium: Browser, site: Site) -> Iterator["VisitorMaker"]:
    """Makes visitors; each must have heard no complaint of the browser but those it expects."""
    maker = VisitorMaker(chromium, site)
    yield maker
    maker.close()


@dataclass
class VisitorMaker:
    """Visitors with a device, a theme and a language of their own."""

    chromium: Browser
    site: Site
    made: list[Visitor] = field(default_factory=list)

    def __call__(
        self, *, phone: bool = False, dark: bool = False, language: str = "en-US"
    ) -> Visitor:
        """A new one, not logged in."""
        context = self.chromium.new_context(
            viewport=PHONE if phone else DESKTOP,  # type: ignore[arg-type]
            is_mobile=phone,
            has_touch=phone,
            color_scheme="dark" if dark else "light",
            locale=language,
            timezone_id="Asia/Shanghai" if language == "zh-CN" else "UTC",
        )
        context.set_default_timeout(PATIENCE_MS)
        context.add_init_script(REFUSED)
        visitor = Visitor(self.site, context, context.new_page())
        visitor.listen()
        self.made.append(visitor)
        return visitor

    def close(self) -> None:
        """All leave. None heard a complaint of the browser but those it expects."""
        for visitor in self.made:
            visitor.context.close()
            assert visitor.complaints == []


@pytest.fixture
def people(transactional_db: None) -> None:
    """Olga may steer, Otto may only look; both can log in."""
    from django.apps import apps
    from django.contrib.auth.models import User

    from seckill.web.shared.roles import make_groups

    make_groups(apps.get_app_config("seckill"), "default")
    for name, group in (("olga", "operators"), ("otto", "observers")):
        user = member(name, group)
        user.set_password(PASSWORD)
        user.save()
    User.objects.create_superuser("boss", password=PASSWORD)

"""The report as a page: both languages, the reader's zone, its one style, nothing for strangers."""

import re
from collections.abc import Callable

import pytest
import redis
from django.test import Client

from devstack.endpoints import Endpoints
from seckill.audit.verdict import LastAudit, write_last_audit
from seckill.config.sections import Server
from seckill.control.control import Control
from seckill.lane.keys import Lane
from seckill.web.admin import report_page
from tests.helpers import sale
from tests.integration.web.pages import ACTIVITIES, messages, sell, text

pytestmark = pytest.mark.django_db
REPORT = ACTIVITIES + "1/report/"


@pytest.fixture(autouse=True)
def kafka(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """The page reads this test's topic."""
    monkeypatch.setattr(report_page, "load", lambda _section, **_more: server)


def test_the_report_is_a_page(
    observer: Client, control: Control, stack: Endpoints, redis_client: "redis.Redis"
) -> None:
    control.create(1, name="Night <sale>")
    control.set_stock(1, {1001: 5})
    sell(stack, sale.body(1), sale.body(2))
    write_last_audit(redis_client, True, 32, "", "test", Lane())
    observer.cookies["zone"] = "Asia/Shanghai"
    answer = observer.get(REPORT)
    said = text(answer)
    assert "Night &lt;sale&gt; (activity 1)" in said
    assert "3 of 5 units left" in said
    assert re.search(r"clean, \d+ s ago", said)
    assert "Winners who arrived later than somebody who got nothing." in said
    assert "UTC)" in said
    assert report_page.HASH in answer["Content-Security-Policy"]
    assert (
        "unsafe-inline"
        not in answer["Content-Security-Policy"].partition("style-src ")[2].split(";")[0]
    )
    assert ACTIVITIES + "1/desk/" in answer.content.decode()
    observer.cookies["django_language"] = "zh-hans"
    said = text(observer.get(REPORT))
    assert "流失的销售" in said
    assert "成交" in said


def test_the_head_has_the_report_of_the_whole_sale_and_a_part_says_what_it_is(
    split: None, observer: Client, north_away: Callable[[], None]
) -> None:
    head = text(observer.get(REPORT))
    assert "Hot (activity 1)" in head
    assert "11 of 11 units left" in head
    assert "main 1 6 0 6 0 0 0 north 2 5 0 5 0 0 0 all lanes 11 0 11 0 0 0" in head
    assert "This is part" not in head
    page = observer.get(f"{ACTIVITIES}2/report/")
    part = text(page)
    told = "This is part 1 of 2 of the sale of activity 1, in lane north: it is not the whole sale."
    assert told in part
    assert f'href="{REPORT}"' in page.content.decode()
    assert "5 of 5 units left" in part
    assert "all lanes" not in part
    observer.cookies["django_language"] = "zh-hans"
    assert "不是整场销售。 查看整场销售" in text(observer.get(f"{ACTIVITIES}2/report/"))
    observer.cookies["django_language"] = "en"
    # Sums without a lane would be wrong: it is named instead.
    north_away()
    told = "There is no report of activity 1: Redis of lane north is away"
    assert told in messages(observer.get(REPORT, follow=True))


def test_what_has_no_report_is_told(observer: Client, control: Control, client: Client) -> None:
    assert observer.get(REPORT).status_code == 404
    control.create(1)
    assert "There is no report of activity 1" in messages(observer.get(REPORT, follow=True))
    assert client.get(REPORT).status_code == 302


def test_an_old_verdict_says_so() -> None:
    def said(clean: bool | None, age_s: int) -> str:
        return report_page.proof_text(LastAudit(clean, 0, 1, "why", "me"), age_s * 1000)

    assert said(True, 30) == "clean, 30 s ago"
    assert said(True, 16 * 60) == "clean, but 16 min old: run it again (manage.py audit)"
    assert said(False, 60) == "VIOLATED, 60 s ago: why"
    assert said(None, 60) == "could not check, 60 s ago: why"
    assert report_page.proof_text(None, 5) == ""

"""Buying without JavaScript, the parts without a service: origins, cookies, forms, words, pages."""

import json
import re
from typing import cast

import pytest

from seckill.config.sections import Door
from seckill.formats.outcomes import Outcome
from seckill.web.door.answers import Answer, State
from seckill.web.door.http import Problem
from seckill.web.door.ordering import Ordering
from seckill.web.door.orders import Orders
from seckill.web.door.page.page import Page
from seckill.web.door.page.words import CHINESE, ENGLISH, FILES, SCRIPT, words_for
from seckill.web.door.plain.calls import Plain, told_of
from seckill.web.door.plain.pages import result
from seckill.web.door.plain.reading import (
    Pressed,
    check_origin,
    cookie,
    new_page_key,
    pressed_of,
)

KEY = "0123456789abcdef" * 2
PLAIN = Plain(cast("Ordering", None), cast("Orders", None), buyer_cookie="shop", login_url="/in")


@pytest.mark.parametrize(
    ("origin", "more", "allowed"),
    [
        ("http://buy.example:3001", {}, True),
        ("https://buy.example:3001", {}, True),
        ("https://buy.example:3001", {b"x-forwarded-proto": b"https"}, True),
        ("https://shop.example", {}, True),
        ("http://buy.example:3001", {b"x-forwarded-proto": b"https"}, False),
        ("http://buy.example", {}, False),
        ("http://buy.example:3001.evil.example", {}, False),
        ("http://evil.example", {}, False),
        ("http://shop.example", {}, False),
        ("null", {}, False),
        ("", {}, False),
        ("://buy.example:3001", {}, False),
        ("http://[buy.example:3001", {}, False),
    ],
)
def test_who_may_send_a_form(origin: str, more: dict[bytes, bytes], allowed: bool) -> None:
    headers = {b"host": b"buy.example:3001", b"origin": origin.encode(), **more}
    if allowed:
        check_origin(headers, frozenset({"https://shop.example"}))
        return
    with pytest.raises(Problem) as refused:
        check_origin(headers, frozenset({"https://shop.example"}))
    assert refused.value.status == 403


def test_without_an_origin_or_a_host_there_is_no_form() -> None:
    nowhere = {b"origin": b"http://"}
    for headers in ({b"host": b"a"}, nowhere, {**nowhere, b"host": b""}):
        with pytest.raises(Problem):
            check_origin(headers, frozenset())


@pytest.mark.parametrize(
    ("headers", "value"),
    [
        ([b"shop=a.b.c"], "a.b.c"),
        ([b"x=1; shop=a.b.c; y=2"], "a.b.c"),
        ([b"x=1", b'shop="a.b.c"'], "a.b.c"),
        ([b"shop=first; shop=second"], "first"),
        ([b"xshop=1; shop2=2; shop"], ""),
        ([b"\xff\xfe;;;=;"], ""),
        ([], ""),
    ],
)
def test_cookies(headers: list[bytes], value: str) -> None:
    scope = {"headers": [(b"host", b"shop=no"), *((b"cookie", header) for header in headers)]}
    assert cookie(scope, "shop") == value


def test_a_button_of_the_form() -> None:
    assert pressed_of(f"key={KEY}&item=1001".encode()) == Pressed(KEY, 1001)
    assert Pressed(KEY, 1001).key != Pressed(KEY, 1002).key
    assert len(Pressed(KEY, 2**63 - 1).key) <= 64
    assert pressed_of(b"another=1") is None
    assert new_page_key() != new_page_key()


@pytest.mark.parametrize(
    "body",
    [
        "", "item=1001", f"key={KEY}", f"key={KEY}&item=0", f"key={KEY}&item=x",
        f"key={KEY}&item={2**63}", "key=short&item=1001", f"key={KEY}%00&item=1001",
        f"key={KEY}&item=1001&item=1002", f"key={KEY}&item=1&user_id=5", "another=1&item=1",
        f"key={KEY[:-1]}%20&item=1", "&&&", "\x00",
    ],
)  # fmt: skip
def test_what_is_no_button(body: str) -> None:
    with pytest.raises(Problem) as refused:
        pressed_of(body.encode())
    assert refused.value.status == 422
    with pytest.raises(Problem):
        pressed_of(b"item=\xff\xfe")


def test_both_languages_have_the_same_words_and_the_script_has_them_too() -> None:
    words = json.loads((FILES / "words.json").read_text("utf-8"))
    assert words["en"].keys() == words["zh"].keys()
    for name, text in words["en"].items():
        twin = words["zh"][name]
        assert type(text) is type(twin), name
        assert re.findall(r"\{\w+\}", str(text)) == re.findall(r"\{\w+\}", str(twin)), name
        assert re.search(r"[\u4e00-\u9fff]", str(twin)), name
    script = (FILES / "buy.js").read_text("utf-8")
    used = set(re.findall(r"\btexts\.(?!js)(\w+)|say\(\"(\w+)\"", script))
    assert {a or b for a, b in used} <= words["en"].keys()
    assert b'"OVER"' in SCRIPT
    for outcome in (Outcome.OVER, Outcome.SOLD_OUT):
        assert ENGLISH.told(outcome.name) == ENGLISH.told("SOLD_OUT")


@pytest.mark.parametrize(
    ("header", "words"),
    [("zh-CN,en;q=0.5", CHINESE), ("ZH", CHINESE), ("en,zh", ENGLISH), ("", ENGLISH)],
)
def test_the_language_is_the_browsers_first(header: str, words: object) -> None:
    assert words_for({b"accept-language": header.encode()}) is words


@pytest.mark.parametrize("taken", ["no", "unknown"])
def test_a_click_that_was_not_answered_is_offered_again_with_its_key(taken: str) -> None:
    problem = Problem(503, "Kafka does not answer", retry_after_s=2, taken=taken)
    scope = {"method": "POST", "path": "/buy/7", "headers": [], "scheme": "http"}
    told = PLAIN.refusal(problem, scope, {}, Pressed(KEY, 1001))
    text = told.body.decode()
    assert told.status == 503
    assert (b"cache-control", b"no-store") in told.headers
    assert "retry-after" in {name.decode() for name, _ in told.headers}
    assert f'name="key" value="{KEY}"' in text
    assert 'name="item" value="1001"' in text
    assert "it can never buy twice" in text
    assert ENGLISH.told("unknown" if taken == "unknown" else "notTaken")[0] in text


def test_a_hold_is_told_with_its_end_and_where_it_is_paid() -> None:
    noon = 1_800_014_400_000
    held = Answer(State.HELD, "ACCEPTED", pay_until=noon, now=noon - 61_500)
    text = result(ENGLISH, told_of(ENGLISH, 7, held, pay='https://shop.example/pay?t="A'))
    assert "Pay until 12:00 UTC (1:02 left)." in text
    assert 'href="https://shop.example/pay?t=&quot;A"' in text
    assert "href" not in result(CHINESE, told_of(CHINESE, 7, held))
    late = Answer(State.HELD, "ACCEPTED", pay_until=noon, now=noon)
    assert told_of(ENGLISH, 7, late).name == "late"
    for state in set(State) - {State.HELD, State.REFUSED, State.WAITING}:
        assert result(ENGLISH, told_of(ENGLISH, 7, Answer(state)))


def test_the_page_says_where_the_form_is_and_whom_it_may_ask() -> None:
    off = Page(Door()).serve("GET", "7", {})
    assert b"needs JavaScript" in off.body
    assert b"/form" not in off.body
    section = Door(
        buyer_cookie="shop",
        token_exchange='https://shop.example:8/session?a="<&',
        login_url="/in?next={back}",
    )
    on = Page(section).serve("GET", "7", {})
    assert b'content="0; url=/buy/7/form"' in on.body
    assert b'data-exchange="https://shop.example:8/session?a=&quot;&lt;&amp;"' in on.body
    assert b'data-login="/in?next={back}"' in on.body
    policy = dict(on.headers)[b"content-security-policy"]
    assert b"connect-src 'self' https://shop.example:8;" in policy
    for page in (off, on):
        assert re.findall(rb"\{\w+\}", page.body.replace(b"{back}", b"")) == []

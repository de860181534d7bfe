"""Buying without JavaScript over real HTTP: a form, its ticket's page, and what is refused."""

import re
from html import unescape

import pytest
import redis

from seckill.web.door.plain.reading import KEY_COOKIE
from seckill.web.door.tickets import Ticket, Tickets, click_of, short_source
from tests.conftest import wait_until
from tests.helpers.browser import SOON_S, Browser, key_in, name_in
from tests.helpers.door import SECRET, OpenDoor, RunningDoor, Told, token_of
from tests.helpers.sale import put_on_sale, waiting

ON = ("--buyer-cookie", "shop", "--user-rate", "1000", "--address-rate", "10000")


@pytest.fixture
def form_door(open_door: OpenDoor) -> RunningDoor:
    """A door with the form."""
    return open_door(*ON)


@pytest.mark.usefixtures("consumer")
class TestBuying:
    def test_one_click_is_one_order_whatever_the_buyer_does(
        self, form_door: RunningDoor, redis_client: "redis.Redis"
    ) -> None:
        """Double submit, F5 on the form and on the answer, back, a second tab; then another."""
        put_on_sale(redis_client, {1001: 5, 1002: 5})
        buyer = Browser(form_door.port)
        form = buyer.get("/buy/1/form")
        assert (form.status, form.headers["cache-control"]) == (200, "no-store")
        assert "HttpOnly; SameSite=Lax" in form.headers["set-cookie"]
        assert "Path=/buy/1;" in form.headers["set-cookie"]
        first, second = buyer.press(form), buyer.press(form)
        assert first.status == second.status == 303
        told = buyer.answer(first)
        assert (told.status, name_in(told)) == (200, "yours")
        assert name_in(buyer.get(first.headers["location"])) == "yours"
        # F5 on the form, or another tab: the same key, so the same click.
        again = buyer.get("/buy/1/form")
        assert key_in(again) == key_in(form)
        assert "set-cookie" not in again.headers
        assert name_in(buyer.answer(buyer.press(again))) == "yours"
        assert len(waiting(redis_client)) == 1
        # Another item is another click, and so is another one of the same item.
        assert name_in(buyer.buy(1002)) == "yours"
        moved = buyer.post("/buy/1", "another=1")
        assert (moved.status, moved.headers["location"]) == (303, "/buy/1/form")
        assert name_in(buyer.buy()) == "yours"
        bought = [(r["user_id"], r["item_id"]) for r in waiting(redis_client)]
        assert sorted(bought) == [(7, 1001), (7, 1001), (7, 1002)]

    def test_sold_out_in_both_languages(
        self, form_door: RunningDoor, redis_client: "redis.Redis"
    ) -> None:
        """By the script, and then at the door, which knows the winner's click."""
        put_on_sale(redis_client, {1001: 1})
        winner, loser = Browser(form_door.port, 7), Browser(form_door.port, 8, "zh-CN,zh;q=0.9")
        page, late = winner.get("/buy/1/form"), loser.get("/buy/1/form")
        assert '<html lang="zh-CN">' in late.text
        assert "立即抢购" in late.text
        assert name_in(winner.answer(winner.press(page))) == "yours"
        sent = loser.press(late)
        told = loser.answer(sent) if sent.status == 303 else sent
        assert name_in(told) in ("SOLD_OUT", "OVER", "refused")

        def shed() -> Told | None:
            told = loser.press(late)
            return told if told.status == 200 else None

        at_door = wait_until(shed, SOON_S, "it is refused at the door")
        assert (name_in(at_door), "已售罄" in at_door.text) == ("SOLD_OUT", True)
        assert name_in(winner.answer(winner.press(page))) == "yours"
        form = loser.get("/buy/1/form")
        assert int(form.headers["refresh"]) >= 10
        assert re.search(r'name="item" value="1001"[^>]* disabled', form.text)
        assert len(waiting(redis_client)) == 1

    def test_a_limit_and_a_sale_that_is_not_open(
        self, form_door: RunningDoor, redis_client: "redis.Redis"
    ) -> None:
        put_on_sale(redis_client, {1001: 5, 1002: 5}, user_limit=1)
        put_on_sale(redis_client, {1001: 5}, activity=2, opens_at=2**42)
        buyer = Browser(form_door.port)
        assert name_in(buyer.buy()) == "yours"
        told = buyer.buy(1002)
        assert name_in(told) == "LIMIT"
        assert 'name="another"' in told.text
        # A cookie is of one sale: a browser does not send it to another.
        del buyer.cookies[KEY_COOKIE]
        soon = buyer.get("/buy/2/form")
        assert "Opens in" in soon.text
        assert soon.headers["refresh"] == "30"
        early = buyer.post("/buy/2", f"key={key_in(soon)}&item=1001")
        assert name_in(buyer.answer(early)) == "NOT_OPEN"


class TestRefusals:
    @pytest.fixture(autouse=True)
    def _on_sale(self, redis_client: "redis.Redis") -> None:
        put_on_sale(redis_client, {1001: 5})

    def test_who_is_not_a_buyer_or_comes_from_elsewhere(
        self, open_door: OpenDoor, redis_client: "redis.Redis"
    ) -> None:
        """Pages with the right status; nothing is sent, and nothing secret is logged."""
        door = open_door(
            *ON, "--cors-origins", "https://shop.example", "--login-url", "https://s.example/?b={back}"
        )  # fmt: skip
        page = Browser(door.port).get("/buy/1/form")

        def told(status: int, name: str, buyer: Browser) -> Told:
            answer = buyer.press(page)
            assert (answer.status, name_in(answer)) == (status, name), answer.text
            assert answer.headers["content-type"].startswith("text/html")
            assert answer.headers["cache-control"] == "no-store"
            return answer

        for origin in ("https://evil.example", "null", None, f"http://localhost:{door.port}"):
            stranger = Browser(door.port)
            stranger.origin = origin
            told(403, "stranger", stranger)
        forged = token_of(7)[:-4] + "AAAA"
        for token in ("", forged, token_of(7, exp=1), "x" * 5000, "not-a-token"):
            nobody = Browser(door.port)
            nobody.cookies["shop"] = token
            refused = told(401, "signin", nobody)
            back = f"http%3A%2F%2F127.0.0.1%3A{door.port}%2Fbuy%2F1%2Fform"
            assert f"https://s.example/?b={back}" in unescape(refused.text)
        nobody = Browser(door.port)
        del nobody.cookies["shop"]
        told(401, "signin", nobody)
        form = nobody.get("/buy/1/form")
        assert (form.status, name_in(form)) == (200, "signin")
        assert 'value="1001" aria-label="Buy: Item 1001" disabled' in form.text
        assert waiting(redis_client) == []
        friend = Browser(door.port)
        friend.origin = "https://shop.example"
        sent = friend.press(page)
        assert sent.status == 303
        ended = door.stop()
        said = "".join(door.said) + ended.output
        ticket = sent.headers["location"].removeprefix("/t/")
        secrets = [SECRET, ticket, forged, token_of(7), key_in(page), "shop="]
        assert [secret for secret in secrets if secret in said] == []

    def test_what_is_no_form_of_the_page(self, form_door: RunningDoor) -> None:
        buyer = Browser(form_door.port)
        key = key_in(buyer.get("/buy/1/form"))
        for path, body, status, name in [
            ("/buy/1", f"key={key}&item=x", 422, "broken"),
            ("/buy/1", f"key={key}&item=1001&user_id=9", 422, "broken"),
            ("/buy/1", "x" * 5000, 413, "broken"),
            ("/buy/9", f"key={key}&item=1001", 404, ""),
            ("/buy/x", f"key={key}&item=1001", 404, "nothing"),
            ("/buy/1/form", f"key={key}&item=1001", 405, "nothing"),
            ("/t/" + "A" * 83, "", 405, "nothing"),
        ]:
            told = buyer.post(path, body)
            assert (told.status, name_in(told)) == (status, name), (path, body[:50])
            assert told.headers["content-type"].startswith("text/html")
        other = buyer.post("/buy/1", "{}", **{"Content-Type": "application/json"})
        assert (other.status, name_in(other)) == (415, "broken")
        for path, status in [("/t/" + "A" * 83, 404), ("/buy/9/form", 404), ("/buy/1/x", 404)]:
            assert buyer.get(path).status == status, path

    def test_every_page_is_safe_and_runs_nothing(self, form_door: RunningDoor) -> None:
        buyer = Browser(form_door.port)
        form = buyer.get("/buy/1/form")
        sent = buyer.press(form)
        # Nobody decides here.
        waits = buyer.get(sent.headers["location"])
        assert (waits.status, waits.headers["refresh"], name_in(waits)) == (200, "2", "next")
        for told in (form, sent, waits, buyer.get("/t/x"), buyer.post("/buy/1", "x")):
            policy = told.headers["content-security-policy"]
            assert "default-src 'none'" in policy
            assert "script" not in policy + told.text
            assert "style=" not in told.text
            assert told.headers["x-content-type-options"] == "nosniff"
            # No address is told, and browsers send a form's origin all the same.
            assert told.headers["referrer-policy"] == "strict-origin"
            assert told.headers["cache-control"] == "no-store"

    def test_the_ticket_of_a_topic_that_is_gone(self, form_door: RunningDoor) -> None:
        old = Ticket(short_source("another"), 0, 1, 1, 7, click_of(7, "key-0001"))
        text = Tickets({1: b"a secret of the tickets"}).sign(old)
        told = Browser(form_door.port).get(f"/t/{text}")
        assert (told.status, name_in(told)) == (410, "void")
        assert 'href="/buy/1/form"' in told.text

    def test_too_many(self, open_door: OpenDoor) -> None:
        narrow = open_door("--buyer-cookie", "shop", "--user-rate", "0.01", "--user-burst", "1")
        buyer = Browser(narrow.port)
        page = buyer.get("/buy/1/form")
        assert buyer.press(page).status == 303
        told = buyer.press(page)
        assert (told.status, name_in(told)) == (429, "busy")
        assert int(told.headers["retry-after"]) >= 1
        # A click is not repeated by itself.
        assert "refresh" not in told.headers

    def test_redis_is_away(self, open_door: OpenDoor) -> None:
        """The sale cannot be shown; a click is taken, and its page says that nothing is lost."""
        blind = open_door(*ON, SECKILL_REDIS_URL="redis://127.0.0.1:1/0")
        buyer = Browser(blind.port)
        form = buyer.get("/buy/1/form")
        assert (form.status, "We keep trying" in form.text) == (503, True)
        assert int(form.headers["refresh"]) >= 1
        sent = buyer.post("/buy/1", f"key={'a' * 32}&item=1001")
        waits = buyer.get(sent.headers["location"])
        assert (waits.status, name_in(waits)) == (200, "delayed")
        assert int(waits.headers["refresh"]) >= 2

    def test_it_is_off_until_the_shop_names_its_cookie(self, door: RunningDoor) -> None:
        buyer = Browser(door.port)
        for told in (
            buyer.get("/buy/1/form"),
            buyer.post("/buy/1", f"key={'a' * 32}&item=1001"),
            buyer.get("/t/" + "A" * 83),
        ):
            assert (told.status, name_in(told)) == (404, "needsScript")
        assert KEY_COOKIE not in buyer.cookies

"""The calls without JavaScript, and what each answers: always a page.

GET  /buy/{id}/form   the sale, with a button for each item
POST /buy/{id}        a click: sent on to its ticket's page, or a page that says why not
GET  /t/{ticket}      what became of it; loads itself until that is final
"""

import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from urllib.parse import quote

from seckill.web.door import asking, http
from seckill.web.door.answers import Answer, State
from seckill.web.door.clicks import Order
from seckill.web.door.door_lane import Bought, Shed, Taken
from seckill.web.door.http import Problem, Receive, Response, Scope
from seckill.web.door.ordering import Ordering
from seckill.web.door.orders import Orders
from seckill.web.door.page.words import Words, words_for
from seckill.web.door.plain import pages, reading
from seckill.web.door.plain.pages import Told
from seckill.web.door.plain.reading import Pressed
from seckill.web.door.showcase import Showcase, state_of
from seckill.web.door.tickets import Forged, Ticket, click_of
from seckill.web.door.tokens import BadToken

# Seconds that a ticket's page waits for the answer, and until it loads itself again.
WAIT_S, REFRESH_S = 1.0, 2
# The same, where nothing is decided or sold now: at least.
LATER_S = 10.0
# Seconds after which a page that waits for an opening loads itself in any case.
SOON_S = 30
# Seconds that a browser keeps the key of a page.
KEY_S = 86_400
# The words of a refusal.
_NAMES = {401: "signin", 403: "stranger", 404: "nothing", 405: "nothing", 410: "void", 429: "busy"}


@dataclass
class Plain:
    """The pages of one door. Without `buyer_cookie` they are switched off.

    `pay_url`: where a hold is paid, with {ticket}; "" for nowhere.
    """

    ordering: Ordering
    orders: Orders
    origins: frozenset[str] = frozenset()
    buyer_cookie: str | None = None
    login_url: str | None = None
    pay_url: str = ""

    async def respond(
        self, scope: Scope, headers: Mapping[bytes, bytes], receive: Receive, caller: str
    ) -> Response:
        """The answer to a call below /buy/ or /t/. Raises Problem, for `refusal`."""
        method, path = scope["method"], scope["path"]
        if not self.buyer_cookie:
            self.ordering.counts.refuse(404)
            return self._told(words_for(headers), Told("needsScript", "no"), status=404)
        if path.startswith("/t/"):
            http.only(method, "GET", "HEAD")
            return await self._answer(path.removeprefix("/t/"), headers, caller)
        number, _, name = path.removeprefix("/buy/").partition("/")
        activity_id = asking.number_of(number)
        if not activity_id or name not in ("", "form"):
            raise Problem(404, "there is nothing at this address")
        if name:
            http.only(method, "GET", "HEAD")
            return await self._form(activity_id, scope, headers)
        return await self._click(activity_id, scope, headers, receive)

    async def _form(
        self, activity_id: int, scope: Scope, headers: Mapping[bytes, bytes]
    ) -> Response:
        words = words_for(headers)
        seen = await self.ordering.on_sale(activity_id)
        names = await self.orders.names(activity_id)
        name = names.activity or f"{words['sale']} {activity_id}"
        state = state_of(seen.phase)
        known = reading.page_key(scope)
        key = known or reading.new_page_key()
        is_buyer = self._is_buyer(scope)
        parts = [pages.header(words, name, seen)]
        if not is_buyer:
            parts.append(pages.result(words, self._sign_in(words, scope, headers)))
        can_buy = is_buyer and state == "open"
        parts.append(pages.items(words, seen, names, key, open_to_buyer=can_buy))
        if state == "paused":
            parts.append(pages.note(words["pausedNote"]))
        parts.append(pages.link(scope["path"], words["load"]))
        cookies = [] if known else [_key_cookie(activity_id, key)]
        return pages.page(words, name, parts, refresh_s=_reload_s(seen), headers=cookies)

    async def _click(
        self, activity_id: int, scope: Scope, headers: Mapping[bytes, bytes], receive: Receive
    ) -> Response:
        at_ms = time.time_ns() // 1_000_000
        reading.check_origin(headers, self.origins)
        user_id = self.ordering.buyer(self._token(scope))
        self.ordering.must_be_open()
        reading.is_form(headers)
        pressed = reading.pressed_of(await http.body_of(scope, receive, headers))
        if pressed is None:
            fresh = _key_cookie(activity_id, reading.new_page_key())
            return _see(f"/buy/{activity_id}/form", fresh)
        words = words_for(headers)
        try:
            click = click_of(user_id, pressed.key)
            order = Order(user_id, activity_id, {pressed.item: 1}, click)
            placed = await self.ordering.place(order, at_ms)
            if isinstance(placed, Taken):
                return self._ticket_page(await self.ordering.prove(placed))
        except Problem as problem:
            self.ordering.counts.refuse(problem.status)
            return self.refusal(problem, scope, headers, pressed)
        match placed:
            case Bought(ticket=Ticket() as ticket):
                return self._ticket_page(ticket)
            case Bought(answer=answer):
                pass
            case Shed(outcome=outcome):
                answer = Answer(State.REFUSED, outcome.name)
        return self._told(words, told_of(words, activity_id, answer))

    def _ticket_page(self, ticket: Ticket) -> Response:
        return _see(f"/t/{self.ordering.tickets.sign(ticket)}")

    async def _answer(self, text: str, headers: Mapping[bytes, bytes], caller: str) -> Response:
        words = words_for(headers)
        ticket = self.ordering.ticket(text)
        answer = await self.ordering.answer(ticket, WAIT_S, caller)
        sale = self.ordering.routing.head_of(ticket.activity_id)
        names = await self.orders.names(sale)
        pay = self.pay_url.replace("{ticket}", text)
        told = told_of(words, sale, answer, f"/t/{text}", pay)
        refresh_s = None
        if answer.state is State.HELD or answer.delayed:
            refresh_s = http.retry_after(LATER_S / 4)
        elif not answer.is_decided:
            refresh_s = REFRESH_S
        name = names.activity or f"{words['sale']} {sale}"
        return self._told(words, told, name=name, refresh_s=refresh_s)

    def refusal(
        self,
        problem: Problem,
        scope: Scope,
        headers: Mapping[bytes, bytes],
        pressed: Pressed | None = None,
    ) -> Response:
        """The page that says why not. `pressed` is offered again, where it is known."""
        words = words_for(headers)
        activity_id = self._activity_of(scope["path"])
        more = http.problem_headers(problem)
        # A page that was only looked at loads itself. A click is repeated by its buyer alone.
        reads = scope["method"] in ("GET", "HEAD")
        again_s = http.retry_after(problem.retry_after_s or LATER_S)
        refresh_s = again_s if reads and problem.status in (429, 503) else None
        if (problem.status == 404 and activity_id) or (problem.status == 503 and reads):
            parts = [pages.note(words["missing" if problem.status == 404 else "away"])]
            title = f"{words['sale']} {activity_id}"
            return pages.page(
                words, title, [pages.header(words, title), *parts],
                status=problem.status, refresh_s=refresh_s, headers=more,
            )  # fmt: skip
        if problem.status == 401:
            told = self._sign_in(words, scope, headers)
        else:
            unknown = problem.more.get("taken") == "unknown"
            server = "unknown" if unknown else "notTaken"
            name = server if problem.status >= 500 else _NAMES.get(problem.status, "broken")
            way_on: Sequence[str] = ()
            if reads and refresh_s is not None:
                way_on = (pages.link(scope["path"], words["load"]),)
            elif pressed is not None and problem.status == 503:
                way_on = (pages.again(activity_id, pressed, words["again"]),)
            elif activity_id and self.buyer_cookie:
                way_on = (pages.link(f"/buy/{activity_id}/form", words["back"]),)
            told = Told(name, "wait" if name in ("unknown", "busy") else "no", next=way_on)
        return self._told(words, told, status=problem.status, refresh_s=refresh_s, headers=more)

    def _told(
        self,
        words: Words,
        told: Told,
        *,
        name: str = "",
        status: int = 200,
        refresh_s: int | None = None,
        headers: Sequence[tuple[bytes, bytes]] = (),
    ) -> Response:
        title = f"{words.told(told.name)[0]} · {name or words['sale']}"
        parts = [pages.header(words, name or words["sale"]), pages.result(words, told)]
        return pages.page(words, title, parts, status=status, refresh_s=refresh_s, headers=headers)

    def _activity_of(self, path: str) -> int:
        """The activity that a path is about; 0: none."""
        if path.startswith("/t/"):
            try:
                ticket = self.ordering.tickets.read(path.removeprefix("/t/"))
                return self.ordering.routing.head_of(ticket.activity_id)
            except Forged:
                return 0
        return asking.number_of(path.removeprefix("/buy/").removesuffix("/form"))

    def _token(self, scope: Scope) -> str:
        token = reading.cookie(scope, self.buyer_cookie or "")
        if not token:
            raise Problem(401, f"the shop's cookie {self.buyer_cookie} did not come with the form")
        return token

    def _is_buyer(self, scope: Scope) -> bool:
        try:
            self.ordering.tokens.verify(self._token(scope), time.time())
        except (Problem, BadToken):
            return False
        return True

    def _sign_in(self, words: Words, scope: Scope, headers: Mapping[bytes, bytes]) -> Told:
        if not self.login_url:
            return Told("signin", "no")
        form = f"/buy/{self._activity_of(scope['path'])}/form"
        back = quote(reading.own_address(scope, headers, form), safe="")
        login = self.login_url.replace("{back}", back)
        return Told("signin", "no", next=(pages.link(login, words["signInButton"]),))


def told_of(words: Words, activity_id: int, answer: Answer, here: str = "", pay: str = "") -> Told:
    """An answer in words. `here` is its page, `pay` where a hold of it is paid."""
    another = (pages.another(activity_id, words["another"]),)
    match answer.state:
        case State.WAITING:
            load = (pages.link(here, words["load"]),)
            if answer.delayed:
                return Told("delayed", next=load)
            ahead = answer.ahead or 0
            return Told("waiting" if ahead else "next", n=f"{ahead:,}", next=load)
        case State.HELD if answer.pay_until <= answer.now:
            return Told("late")
        case State.HELD:
            until = pages.until(words, answer.pay_until, answer.now)
            return Told("held", "yes", until, (pages.pay(pay, words["pay"]),) if pay else ())
        case State.ACCEPTED:
            return Told("yours", "yes", next=another)
        case State.PAID:
            return Told("paid", "yes", next=another)
        case State.EXPIRED | State.CANCELLED:
            back = pages.another(activity_id, words["back"])
            return Told(answer.state, "no", next=(back,))
        case State.VOID:
            # With the same key: it can never buy twice.
            return Told("void", "no", next=(pages.link(f"/buy/{activity_id}/form", words["back"]),))
        case State.REFUSED:
            name = answer.outcome if answer.outcome in words else "refused"
            return Told(name, "no", next=(pages.another(activity_id, words["back"]),))


def _reload_s(seen: Showcase) -> int | None:
    """When the sale's page loads itself; None while it sells, so that no click is disturbed."""
    match state_of(seen.phase):
        case "open" | "over":
            return None
        case "soon" if seen.opens_at_ms is not None:
            left_s = math.ceil((seen.opens_at_ms - seen.now_ms) / 1000)
            return max(1, min(SOON_S, left_s))
    return http.retry_after(LATER_S)


def _key_cookie(activity_id: int, key: str) -> tuple[bytes, bytes]:
    kept = f"{reading.KEY_COOKIE}={key}; Path=/buy/{activity_id}; Max-Age={KEY_S}"
    return b"set-cookie", f"{kept}; HttpOnly; SameSite=Lax".encode()


def _see(address: str, *headers: tuple[bytes, bytes]) -> Response:
    """On to another page, by GET."""
    return Response(
        303, b"", pages.HTML, [*pages.HEADERS, (b"location", address.encode()), *headers]
    )

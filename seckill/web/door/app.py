"""The buyers' door: a bare ASGI application. Owns the calls of its API and what each answers.

POST /v1/requests              a click, acknowledged by Kafka; with `Prefer: wait=N` its outcome
GET  /v1/tickets/{ticket}      the answer to a click, as soon as it is decided
DELETE /v1/tickets/{ticket}    a buyer gives a hold back: `holds`
POST /v1/tickets/{ticket}/payment  the shop says what became of a payment
GET  /v1/activities/{id}       an activity, for everybody
GET  /v1/me/orders             a buyer's stored orders
GET  /buy/{id}                 the buyers' page; see `plain` for buyers without JavaScript
GET  /openapi.json, /docs      the document of all this
GET  /healthz, /readyz         for probes
"""

import logging
import time
from collections.abc import Mapping
from dataclasses import dataclass

from seckill.errors import PostgresAway
from seckill.formats.settle import Result
from seckill.process.events import event
from seckill.web.door import asking, http
from seckill.web.door.answers import Answer, State, shown_answer
from seckill.web.door.docs.pages import docs
from seckill.web.door.door_lane import RETRY_S, Bought, Shed, Taken
from seckill.web.door.holds import Holds
from seckill.web.door.http import Problem, Receive, Response, Scope, Send
from seckill.web.door.ordering import Ordering
from seckill.web.door.orders import Orders
from seckill.web.door.page.page import Page
from seckill.web.door.plain.calls import Plain
from seckill.web.door.showcase import shown_showcase
from seckill.web.door.tickets import Ticket

log = logging.getLogger(__name__)

TICKETS = "/v1/tickets/"
# The query of who asks for a ticket, and knows that it is held.
STILL_HELD = b"state=held"
# Below these, people read the answers.
PAGES = ("/buy/", "/t/")
FORWARDED = b"x-forwarded-for"
HEALTHY = {"status": "ok"}


@dataclass
class Door:
    """One door process: its calls, and what each answers."""

    ordering: Ordering
    holds: Holds
    orders: Orders
    page: Page
    plain: Plain
    origins: frozenset[str] = frozenset()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI."""
        if scope["type"] != "http":
            return
        headers = http.headers_of(scope)
        try:
            response = await self._route(scope, headers, receive)
        except Problem as problem:
            self.ordering.counts.refuse(problem.status)
            response = self._refusal(problem, scope, headers)
        except Exception:
            # Without a ticket, which is the last part, or the one before "payment".
            path = scope["path"].removesuffix("/payment").rpartition("/")[0]
            where = f"{scope['method']} {path[:40]}"
            log.exception("a bug in the door: %s", where, extra=event("door-bug"))
            self.ordering.counts.refuse(500)
            fault = Problem(500, "a fault of ours; ask again with the same key", taken="unknown")
            response = self._refusal(fault, scope, headers)
        await http.respond(send, response, self._cors(headers))

    async def _route(
        self, scope: Scope, headers: Mapping[bytes, bytes], receive: Receive
    ) -> Response:
        method, path = scope["method"], scope["path"]
        if path in ("/healthz", "/readyz"):
            http.only(method, "GET", "HEAD")
            return self._readiness() if path == "/readyz" else http.json_response(200, HEALTHY)
        if method == "OPTIONS":
            return http.preflight()
        if path.startswith("/buy/") and method != "POST" and not path.endswith("/form"):
            return self.page.serve(method, path.removeprefix("/buy/"), headers)
        limits = self.ordering.limits
        hops = http.all_of(scope, FORWARDED) if FORWARDED in headers else ""
        caller = limits.callers.caller(http.peer_of(scope), hops)
        ticket, paying, _ = path.removeprefix(TICKETS).partition("/payment")
        if paying and path == f"{TICKETS}{ticket}/payment":
            http.only(method, "POST")
            return await self._payment(ticket, scope, headers, receive, caller)
        self.ordering.limit(limits.of_address(caller), "this address")
        if path.startswith(PAGES):
            return await self.plain.respond(scope, headers, receive, caller)
        if not path.startswith("/v1/"):
            described = docs(path, headers)
            if described is None:
                raise Problem(404, "there is nothing at this address; see /docs")
            http.only(method, "GET", "HEAD")
            return described
        name, _, rest = path.removeprefix("/v1/").partition("/")
        if name == "requests" and not rest:
            http.only(method, "POST")
            return await self._request(scope, headers, receive, caller)
        if name == "tickets" and rest:
            http.only(method, "GET", "DELETE")
            if method == "DELETE":
                return await self._give_back(rest, headers, caller)
            return await self._ticket(rest, scope["query_string"], headers, caller)
        if name == "activities" and rest:
            http.only(method, "GET", "HEAD")
            return await self._activity(rest)
        if name == "me" and rest == "orders":
            http.only(method, "GET")
            return await self._my_orders(headers)
        raise Problem(404, "there is nothing at this address; see /docs")

    # A click

    async def _request(
        self, scope: Scope, headers: Mapping[bytes, bytes], receive: Receive, caller: str
    ) -> Response:
        at_ms = time.time_ns() // 1_000_000
        user_id = self._user(headers)
        self.ordering.must_be_open()
        key = asking.key_of(headers)
        wait_s = asking.wait_of(headers)
        if headers.get(b"content-type", b"").partition(b";")[0].strip() != b"application/json":
            raise Problem(415, "send the order as application/json")
        order = asking.order_of(await http.body_of(scope, receive, headers), user_id, key)
        match await self.ordering.place(order, at_ms):
            case Taken() as taken:
                answer = await self.ordering.answer_click(taken, wait_s, caller)
                return self._told(taken.click.ticket, answer, 202)
            case Bought(Ticket() as ticket, answer):
                text = self.ordering.tickets.sign(ticket)
                return http.json_response(200, shown_answer(text, answer, self.holds.pay_url))
            case Bought(answer=answer):
                # No ticket is good for a topic that is gone.
                bought = shown_answer("", answer)
                del bought["ticket"]
                return http.json_response(200, bought)
            case Shed(outcome, seen):
                return http.json_response(
                    200,
                    {
                        "state": State.REFUSED,
                        "outcome": outcome.name,
                        "at_door": True,
                        "as_of": seen.now_ms,
                        "epoch": seen.epoch,
                        "version": seen.version,
                    },
                )

    # Its answer

    async def _ticket(
        self, text: str, query: bytes, headers: Mapping[bytes, bytes], caller: str
    ) -> Response:
        ticket = self.ordering.ticket(text)
        answer = await self.ordering.answer(
            ticket, asking.wait_of(headers), caller, until_settled=query == STILL_HELD
        )
        return self._told(ticket, answer, 200)

    async def _give_back(self, text: str, headers: Mapping[bytes, bytes], caller: str) -> Response:
        ticket = self.ordering.ticket(text, taken="no")
        self.ordering.limit(self.ordering.limits.of_user(ticket.user_id), "this buyer")
        self.ordering.must_be_open()
        wait_s = asking.wait_of(headers)
        return await self.holds.settle(ticket, text, Result.CANCELLED, None, wait_s, caller)

    async def _payment(
        self,
        text: str,
        scope: Scope,
        headers: Mapping[bytes, bytes],
        receive: Receive,
        caller: str,
    ) -> Response:
        # A shop's servers have few addresses: their keys are not limited by rate.
        if not self.holds.has_key(headers):
            self.ordering.limit(self.ordering.limits.of_address(caller), "this address")
        payment = self.holds.payment_of(headers, await http.body_of(scope, receive, headers), text)
        ticket = self.ordering.ticket(text, taken="no")
        self.ordering.must_be_open()
        return await self.holds.settle(
            ticket, text, Result(payment.result), payment.reference, asking.wait_of(headers), caller
        )

    def _told(self, ticket: Ticket, answer: Answer, undecided: int) -> Response:
        """The answer to a ticket. `undecided` is the status while it waits."""
        text = self.ordering.tickets.sign(ticket)
        content = shown_answer(text, answer, self.holds.pay_url)
        if answer.is_decided:
            return http.json_response(200, content)
        return http.json_response(
            undecided,
            content,
            [
                (b"cache-control", b"no-store"),
                (b"location", f"/v1/tickets/{text}".encode()),
                (b"retry-after", b"%d" % http.retry_after(RETRY_S if answer.delayed else 1)),
            ],
        )

    # For everybody

    async def _activity(self, text: str) -> Response:
        seen = await self.ordering.on_sale(asking.number_of(text))
        names = await self.orders.names(seen.activity_id)
        content = shown_showcase(seen, names.activity, names.items)
        return http.json_response(200, content, [(b"cache-control", b"public, max-age=1")])

    async def _my_orders(self, headers: Mapping[bytes, bytes]) -> Response:
        user_id = self._user(headers)
        try:
            found = await self.orders.of(user_id)
        except PostgresAway as away:
            raise Problem(
                503,
                f"stored orders cannot be read now: {away}. Nothing is lost",
                retry_after_s=RETRY_S,
            ) from None
        return http.json_response(200, {"orders": found})

    # What is common

    def _user(self, headers: Mapping[bytes, bytes]) -> int:
        scheme, _, token = headers.get(b"authorization", b"").partition(b" ")
        if scheme.lower() != b"bearer" or not token:
            raise Problem(401, "send the buyer's token: Authorization: Bearer <token>")
        return self.ordering.buyer(token.decode("latin-1").strip())

    def _refusal(self, problem: Problem, scope: Scope, headers: Mapping[bytes, bytes]) -> Response:
        """JSON for programs, a page for people."""
        if scope["path"].startswith(PAGES):
            return self.plain.refusal(problem, scope, headers)
        return http.problem_response(problem)

    def _readiness(self) -> Response:
        if self.ordering.stopping:
            raise Problem(503, "this door is closing", retry_after_s=1)
        if self.ordering.away:
            raise Problem(503, self.ordering.away, retry_after_s=RETRY_S)
        return http.json_response(200, {"status": "ready"})

    def _cors(self, headers: Mapping[bytes, bytes]) -> list[tuple[bytes, bytes]]:
        origin = headers.get(b"origin")
        if origin is None or origin.decode("latin-1") not in self.origins:
            return []
        return [(b"access-control-allow-origin", origin), (b"vary", b"Origin")]

"""The buyers' door: a bare ASGI application. Owns the calls of its API and what each answers.

POST /v1/requests              a click, acknowledged by Kafka; with `Prefer: wait=N` its outcome
GET  /v1/tickets/{ticket}      the answer to a click, as soon as it is decided
DELETE /v1/tickets/{ticket}    a buyer gives a hold back: `holds`
POST /v1/tickets/{ticket}/payment  the shop says what became of a payment
GET  /v1/activities/{id}       an activity, for everybody
GET  /v1/me/orders             a buyer's stored orders
GET  /buy/{id}                 the buyers' page
GET  /openapi.json, /docs      the document of all this
GET  /healthz, /readyz         for probes
"""

import logging
import time
from collections.abc import Mapping
from dataclasses import dataclass, field

from seckill.errors import PostgresAway, RedisAway
from seckill.formats.settle import Result
from seckill.process.events import event
from seckill.telemetry.door_counts import BOARD_AGE_MS, WAITING
from seckill.web.door import asking, http
from seckill.web.door.answers import shown_answer
from seckill.web.door.counts import Counts
from seckill.web.door.docs.pages import docs
from seckill.web.door.holds import Holds
from seckill.web.door.http import Problem, Receive, Response, Scope, Send
from seckill.web.door.limits import Limits
from seckill.web.door.mirror import Mirror
from seckill.web.door.orders import Orders
from seckill.web.door.page.page import page
from seckill.web.door.requests import RETRY_S, Requests
from seckill.web.door.showcase import shown_showcase
from seckill.web.door.tickets import Forged, Ticket, Tickets
from seckill.web.door.tokens import BadToken, BuyerTokens

log = logging.getLogger(__name__)

TICKETS = "/v1/tickets/"
# The query of who asks for a ticket, and knows that it is held.
STILL_HELD = b"state=held"
HEALTHY = {"status": "ok"}


@dataclass
class Door:
    """One door process. `stopping` refuses new clicks."""

    tokens: BuyerTokens
    tickets: Tickets
    limits: Limits
    requests: Requests
    holds: Holds
    mirror: Mirror
    orders: Orders
    counts: Counts = field(default_factory=Counts)
    origins: frozenset[str] = frozenset()
    stopping: bool = False

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI."""
        if scope["type"] != "http":
            return
        headers = http.headers_of(scope)
        try:
            response = await self._route(scope, headers, receive)
        except Problem as problem:
            self.counts.refuse(problem.status)
            response = http.problem_response(problem)
        except Exception:
            log.exception("a bug in the door: %s", scope["path"][:100], extra=event("door-bug"))
            self.counts.refuse(500)
            response = http.problem_response(
                Problem(500, "a fault of ours; ask again with the same key", taken="unknown")
            )
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
        if path.startswith("/buy/"):
            return page(method, path.removeprefix("/buy/"), headers)
        caller = self.limits.callers.caller(
            http.peer_of(scope), http.all_of(scope, b"x-forwarded-for")
        )
        ticket, paying, _ = path.removeprefix(TICKETS).partition("/payment")
        if paying and path == f"{TICKETS}{ticket}/payment":
            http.only(method, "POST")
            return await self._payment(ticket, headers, receive, caller)
        self._limit(self.limits.of_address(caller), "this address")
        if not path.startswith("/v1/"):
            described = docs(path, headers)
            if described is None:
                raise Problem(404, "there is nothing at this address; see /docs")
            http.only(method, "GET", "HEAD")
            return described
        name, _, rest = path.removeprefix("/v1/").partition("/")
        if name == "requests" and not rest:
            http.only(method, "POST")
            return await self._request(headers, receive, caller)
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

    def heartbeat(self) -> dict[str, int]:
        """What is counted and measured, for the heartbeat."""
        return {
            **self.counts.named(),
            WAITING: self.limits.waiting,
            BOARD_AGE_MS: round(min(self.mirror.look.age_s, 86_400.0) * 1000),
        }

    # A click

    async def _request(
        self, headers: Mapping[bytes, bytes], receive: Receive, caller: str
    ) -> Response:
        at_ms = time.time_ns() // 1_000_000
        user_id = self._user(headers)
        self._limit(self.limits.of_user(user_id), "this buyer")
        self._refuse_if_closing()
        key = asking.key_of(headers)
        wait_s = asking.wait_of(headers)
        if headers.get(b"content-type", b"").partition(b";")[0].strip() != b"application/json":
            raise Problem(415, "send the order as application/json")
        order = asking.order_of(await http.body_of(receive, headers), user_id, key)
        shed = await self.requests.shed(order)
        if shed is not None:
            return shed
        began = time.monotonic()
        ticket = await self.requests.take(order, at_ms)
        self.counts.taken(time.monotonic() - began)
        return await self._answered(ticket, wait_s, caller, status=202, began=began)

    # Its answer

    async def _ticket(
        self, text: str, query: bytes, headers: Mapping[bytes, bytes], caller: str
    ) -> Response:
        return await self._answered(
            self._read_ticket(text),
            asking.wait_of(headers),
            caller,
            status=200,
            until_settled=query == STILL_HELD,
        )

    def _read_ticket(self, text: str) -> Ticket:
        try:
            ticket = self.tickets.read(text)
        except Forged as forged:
            raise Problem(404, str(forged)) from None
        if ticket.source != self.requests.clicks.source:
            raise Problem(410, "the sale of this ticket has ended: its topic was made again")
        return ticket

    async def _give_back(self, text: str, headers: Mapping[bytes, bytes], caller: str) -> Response:
        ticket = self._read_ticket(text)
        self._limit(self.limits.of_user(ticket.user_id), "this buyer")
        self._refuse_if_closing()
        wait_s = asking.wait_of(headers)
        return await self.holds.settle(ticket, text, Result.CANCELLED, None, wait_s, caller)

    async def _payment(
        self, text: str, headers: Mapping[bytes, bytes], receive: Receive, caller: str
    ) -> Response:
        # A shop's servers have few addresses: their keys are not limited by rate.
        if not self.holds.has_key(headers):
            self._limit(self.limits.of_address(caller), "this address")
        payment = self.holds.payment_of(headers, await http.body_of(receive, headers), text)
        ticket = self._read_ticket(text)
        self._refuse_if_closing()
        return await self.holds.settle(
            ticket, text, Result(payment.result), payment.reference, asking.wait_of(headers), caller
        )

    def _refuse_if_closing(self) -> None:
        if self.stopping:
            raise Problem(503, "this door is closing; ask again", retry_after_s=1, taken="no")

    async def _answered(
        self,
        ticket: Ticket,
        wait_s: float,
        caller: str,
        *,
        status: int,
        until_settled: bool = False,
        began: float | None = None,
    ) -> Response:
        """The answer within `wait_s`: `status` while it waits, 200 when it is decided.

        `until_settled`: its buyer knows that it is held, and waits for what becomes of that.
        `began` is when this very call handed the click to Kafka.
        """
        if wait_s and not self.stopping:
            if not self.limits.enter(ticket.user_id, caller):
                self.counts.crowded += 1
                answer = self.mirror.ahead(ticket)
            else:
                try:
                    wait = self.mirror.wait_settled if until_settled else self.mirror.wait
                    answer = await wait(ticket, wait_s)
                finally:
                    self.limits.leave(ticket.user_id, caller)
        elif status == 200:
            answer = await self.mirror.ask(ticket)
        else:
            answer = self.mirror.ahead(ticket)
        text = self.tickets.sign(ticket)
        content = shown_answer(text, answer, self.requests.pay_url)
        if answer.is_decided:
            self.counts.told(answer.state, None if began is None else time.monotonic() - began)
            return http.json_response(200, content)
        location = f"/v1/tickets/{text}".encode()
        return http.json_response(
            status,
            content,
            [
                (b"cache-control", b"no-store"),
                (b"location", location),
                (b"retry-after", b"%d" % http.retry_after(RETRY_S if answer.delayed else 1)),
            ],
        )

    # For everybody

    async def _activity(self, text: str) -> Response:
        activity_id = asking.number_of(text)
        try:
            seen = await self.mirror.showcase(activity_id, 1.0) if activity_id else None
        except RedisAway as away:
            raise Problem(
                503, f"the sale cannot be shown now: {away}", retry_after_s=RETRY_S
            ) from None
        if seen is None:
            raise Problem(404, f"activity {text[:20]} is not on sale")
        names = await self.orders.names(seen.activity_id)
        content = shown_showcase(seen, names.activity, names.items)
        return http.json_response(200, content, [(b"cache-control", b"public, max-age=1")])

    async def _my_orders(self, headers: Mapping[bytes, bytes]) -> Response:
        user_id = self._user(headers)
        self._limit(self.limits.of_user(user_id), "this buyer")
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
        try:
            return self.tokens.verify(token.decode("latin-1").strip(), time.time())
        except BadToken as bad:
            raise Problem(401, str(bad)) from None

    def _limit(self, wait_s: float, who: str) -> None:
        if wait_s > 0:
            self.counts.limited += 1
            raise Problem(429, f"too many requests of {who}", retry_after_s=wait_s)

    def _readiness(self) -> Response:
        if self.stopping:
            raise Problem(503, "this door is closing", retry_after_s=1)
        if self.mirror.away:
            raise Problem(503, self.mirror.away, retry_after_s=RETRY_S)
        return http.json_response(200, {"status": "ready"})

    def _cors(self, headers: Mapping[bytes, bytes]) -> list[tuple[bytes, bytes]]:
        origin = headers.get(b"origin")
        if origin is None or origin.decode("latin-1") not in self.origins:
            return []
        return [(b"access-control-allow-origin", origin), (b"vary", b"Origin")]

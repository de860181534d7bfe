"""The buyers' door: a bare ASGI application. Owns the calls of its API and what each answers.

POST /v1/requests              a click, acknowledged by Kafka; with `Prefer: wait=N` its outcome
GET  /v1/tickets/{ticket}      the answer to a click, as soon as it is decided
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
from typing import Any

from seckill.errors import PostgresAway, RedisAway
from seckill.formats.outcomes import Outcome
from seckill.lane.clicks import Place
from seckill.lane.phase import Phase
from seckill.process.events import event
from seckill.telemetry.door_counts import BOARD_AGE_MS, WAITING
from seckill.web.door import asking, http
from seckill.web.door.answers import State, shown_answer
from seckill.web.door.clicks import AnotherBody, Clicks, NotTaken, Order, Unknown
from seckill.web.door.counts import Counts
from seckill.web.door.docs.pages import docs
from seckill.web.door.http import Problem, Receive, Response, Scope, Send
from seckill.web.door.limits import Limits
from seckill.web.door.mirror import Mirror
from seckill.web.door.orders import Orders
from seckill.web.door.page.page import page
from seckill.web.door.showcase import shown_showcase
from seckill.web.door.tickets import Forged, Ticket, Tickets
from seckill.web.door.tokens import BadToken, BuyerTokens

log = logging.getLogger(__name__)

# Seconds that knowledge of an activity may be old where a request is refused on it.
FRESH_S = 0.25
# Seconds until a buyer should ask again.
RETRY_S = 2.0
HEALTHY = {"status": "ok"}
FORWARDED = b"x-forwarded-for"


@dataclass
class Door:
    """One door process. `stopping` refuses new clicks."""

    tokens: BuyerTokens
    tickets: Tickets
    limits: Limits
    clicks: Clicks
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
        hops = http.all_of(scope, FORWARDED) if FORWARDED in headers else ""
        caller = self.limits.callers.caller(http.peer_of(scope), hops)
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
            return await self._request(scope, headers, receive, caller)
        if name == "tickets" and rest:
            http.only(method, "GET")
            return await self._ticket(rest, headers, caller)
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
        self, scope: Scope, headers: Mapping[bytes, bytes], receive: Receive, caller: str
    ) -> Response:
        at_ms = time.time_ns() // 1_000_000
        user_id = self._user(headers)
        self._limit(self.limits.of_user(user_id), "this buyer")
        if self.stopping:
            raise Problem(503, "this door is closing; ask again", retry_after_s=1, taken="no")
        key = asking.key_of(headers)
        wait_s = asking.wait_of(headers)
        if headers.get(b"content-type", b"").partition(b";")[0].strip() != b"application/json":
            raise Problem(415, "send the order as application/json")
        order = asking.order_of(await http.body_of(scope, receive, headers), user_id, key)
        shed = await self._shed(order)
        if shed is not None:
            return shed
        began = time.monotonic()
        try:
            ticket = await self.clicks.take(order, at_ms)
        except NotTaken as refused:
            self.counts.not_taken += 1
            raise Problem(
                503, f"nothing was ordered: {refused}", retry_after_s=RETRY_S, taken="no"
            ) from None
        except Unknown as unknown:
            self.counts.unknown += 1
            raise Problem(
                503,
                f"it is not known whether this was taken: {unknown}. Ask again with the same "
                "Idempotency-Key: it can never buy twice",
                retry_after_s=RETRY_S,
                taken="unknown",
            ) from None
        except AnotherBody:
            raise Problem(
                422, "this Idempotency-Key was used for another order a moment ago"
            ) from None
        self.counts.taken(time.monotonic() - began)
        return await self._answered(ticket, wait_s, caller, status=202, began=began)

    async def _shed(self, order: Order) -> Response | None:
        """The answer to a certain loser, who never reaches Kafka; None if it must be decided."""
        try:
            seen = await self.mirror.showcase(order.activity_id, FRESH_S)
            if seen is None:
                if not self.mirror.look.loaded:
                    # A Redis that lost everything: it will be recovered, and decide this.
                    return None
                raise Problem(404, f"activity {order.activity_id} is not on sale")
            if not seen.sells_nothing or self.mirror.delayed():
                return None
            # A buyer who has bought must never hear no, and may have asked again.
            place = await self.mirror.clicked(order.activity_id, order.user_id, order.click)
        except RedisAway:
            return None
        if place is not None:
            return self._bought_before(order, place)
        self.counts.shed += 1
        outcome = Outcome.SOLD_OUT if seen.phase is Phase.SOLD_OUT else Outcome.OVER
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

    def _bought_before(self, order: Order, place: Place) -> Response:
        self.counts.repeated += 1
        content: dict[str, Any] = {
            "state": State.ACCEPTED,
            "outcome": Outcome.ACCEPTED.name,
            "stored": self.mirror.look.is_stored(place),
        }
        if place.source == self.mirror.source:
            content["ticket"] = self.tickets.sign(
                Ticket(
                    self.clicks.source,
                    place.partition,
                    place.offset,
                    order.activity_id,
                    order.user_id,
                    order.click,
                )
            )
        return http.json_response(200, content)

    # Its answer

    async def _ticket(self, text: str, headers: Mapping[bytes, bytes], caller: str) -> Response:
        try:
            ticket = self.tickets.read(text)
        except Forged as forged:
            raise Problem(404, str(forged)) from None
        if ticket.source != self.clicks.source:
            raise Problem(410, "the sale of this ticket has ended: its topic was made again")
        return await self._answered(ticket, asking.wait_of(headers), caller, status=200)

    async def _answered(
        self,
        ticket: Ticket,
        wait_s: float,
        caller: str,
        *,
        status: int,
        began: float | None = None,
    ) -> Response:
        """The answer within `wait_s`: `status` while it waits, 200 when it is final.

        `began` is when this very call handed the click to Kafka.
        """
        if wait_s and not self.stopping:
            if not self.limits.enter(ticket.user_id, caller):
                self.counts.crowded += 1
                answer = self.mirror.ahead(ticket)
            else:
                try:
                    answer = await self.mirror.wait(ticket, wait_s)
                finally:
                    self.limits.leave(ticket.user_id, caller)
        elif status == 200:
            answer = await self.mirror.ask(ticket)
        else:
            answer = self.mirror.ahead(ticket)
        text = self.tickets.sign(ticket)
        content = shown_answer(text, answer)
        if answer.final:
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

"""The door's OpenAPI document: its calls, what is sent, and each status with its meaning."""

from functools import cache
from http import HTTPStatus
from typing import Any

import msgspec

from seckill import __version__
from seckill.web.door.asking import KEY_LENGTH, MOST_WAIT_S
from seckill.web.door.docs.schemas import ID, SCHEMAS, TICKET, ref

Part = dict[str, Any]

DESCRIPTION = """\
Takes buyers' clicks, and tells each its exact answer. A click is acknowledged when Kafka has it on
all in-sync replicas; it is then decided exactly once.

Make an `Idempotency-Key` before you send a click, and keep it: the same click asked again with the
same key can never buy twice. What is known to be taken is never answered with an error.
"""
_TICKET = "A" * 83
_WAITING = {"ticket": _TICKET, "state": "waiting", "ahead": 312, "delayed": False}
_ACCEPTED = {"ticket": _TICKET, "state": "accepted", "outcome": "ACCEPTED", "stored": False}
_REFUSED = {"ticket": _TICKET, "state": "refused", "outcome": "SOLD_OUT"}
_SHED: Part = {
    "state": "refused", "outcome": "SOLD_OUT", "at_door": True, "as_of": 1795757000000, "epoch": 0,
    "version": 7,
}  # fmt: skip
_HOLD: Part = {
    "ticket": _TICKET, "state": "held", "stored": False, "pay_until": 1795757600000,
    "remaining_ms": 599000, "pay_url": f"https://shop.example/pay/{_TICKET}",
}  # fmt: skip
_HELD = {**_HOLD, "outcome": "ACCEPTED"}
_EXPIRED = {"ticket": _TICKET, "state": "expired", "outcome": "ACCEPTED", "stored": True}
_LATE = {"ticket": _TICKET, "state": "expired", "stored": True, "too_late": True}
_DONE = {"ticket": _TICKET, "state": "paid", "stored": True, "too_late": False}
_YES = ("Accepted", "Held", "Settled")
_ANSWERS = [ref(name) for name in ("Waiting", *_YES, "Refused", "Void")]
_RETRY_AFTER: Part = {
    "Retry-After": {
        "description": "Seconds until a new try, with jitter.",
        "required": True,
        "schema": {"type": "integer", "minimum": 1},
    }
}
_LOCATION: Part = {
    "Location": {"description": "Where the answer is.", "schema": {"type": "string"}}
}
_LATER: Part = {
    **_LOCATION,
    "Retry-After": {
        "description": "While it waits: seconds until a new try, with jitter.",
        "schema": {"type": "integer", "minimum": 1},
    },
}
_BUYER: list[Part] = [{"buyer": []}]
_PROBLEMS = {
    400: (
        "The key or the body cannot be read. Nothing was sent.",
        "not an order: Input data was truncated",
    ),
    401: ("No token, key or signature, or one that is not valid.", "the token has expired"),
    404: ("What the call names is not there.", "activity 77 is not on sale"),
    408: ("The body was not complete in time.", "the body was not complete within 10 s"),
    409: (
        "There is no hold to settle, or it is not decided yet.",
        "there is no hold to settle: this request is refused",
    ),
    410: (
        "The topic was made again.",
        "the sale of this ticket has ended: its topic was made again",
    ),
    413: ("The body is too long.", "a request has at most 4,096 bytes"),
    415: ("The body is not JSON.", "send the order as application/json"),
    422: (
        "The body is not an order, or the key was used for another order a moment ago.",
        "not an order: Object missing required field `items`",
    ),
    429: (
        "Too many calls of this buyer or address; nothing was sent.",
        "too many requests of this buyer",
    ),
    503: ("It cannot be answered now. Nothing is lost.", "stored orders cannot be read now"),
}


def _name_of(example: Part) -> str:
    """Its state, and the outcome of one that was refused."""
    state = str(example.get("state", "one"))
    return str(example["outcome"]).lower() if state == "refused" else state


def _json(schema: Part, *examples: Part) -> Part:
    content: Part = {"schema": schema}
    if examples:
        content["examples"] = {_name_of(example): {"value": example} for example in examples}
    return {"application/json": content}


def _answer(description: str, content: Part, headers: Part | None = None) -> Part:
    return {"description": description, "content": content, "headers": headers or {}}


def _problem(status: int) -> Part:
    description, detail = _PROBLEMS[status]
    example = {"title": HTTPStatus(status).phrase, "status": status, "detail": detail}
    return {
        "description": description,
        "headers": _RETRY_AFTER if status in (429, 503) else {},
        "content": {
            "application/problem+json": {"schema": ref("Problem"), "example": example},
        },
    }


def _problems(*statuses: int) -> Part:
    return {str(status): _problem(status) for status in statuses}


_PREFER: Part = {
    "name": "Prefer",
    "in": "header",
    "description": f"`wait=N`: wait up to N seconds for the decision, {MOST_WAIT_S} at most. "
    "Other preferences are ignored.",
    "schema": {"type": "string", "examples": ["wait=3"]},
    "example": "wait=3",
}
_KEY: Part = {
    "name": "Idempotency-Key",
    "in": "header",
    "required": True,
    "description": "Names the click. The same key is the same click, whatever is asked again.",
    "schema": {
        "type": "string",
        "pattern": f"^[A-Za-z0-9_-]{{{KEY_LENGTH.start},{KEY_LENGTH.stop - 1}}}$",
    },
    "example": "4f1c6c0d8a7b4e52b1a9",
}
_NOT_TAKEN: Part = {
    "description": "`taken: no`: nothing was ordered. `taken: unknown`: handed to Kafka, and not "
    "acknowledged within 2 s. Ask again with the same key: it can never buy twice.",
    "headers": _RETRY_AFTER,
    "content": {
        "application/problem+json": {
            "schema": ref("NotTaken"),
            "example": {
                "title": "Service Unavailable",
                "status": 503,
                "detail": "nothing was ordered: Kafka does not answer",
                "taken": "no",
            },
        }
    },
}
_SEEN: Part = {
    "name": "state",
    "in": "query",
    "description": "`held`: the caller knows that it is held. `Prefer: wait` then waits for the "
    "end of the hold.",
    "schema": {"const": "held", "type": "string"},
}
_SETTLED: Part = {
    "200": _answer("The hold has ended.", _json(ref("SettledNow"), _DONE, _LATE)),
    "202": _answer(
        "Kafka has it. It will be settled exactly once.",
        _json(ref("Settling"), {**_HOLD, "too_late": False}),
        {**_LOCATION, **_RETRY_AFTER},
    ),
}
_HTML: Part = {"text/html": {"schema": {"type": "string"}}}


def _page(description: str) -> Part:
    """A page for people: an answer or a refusal."""
    return _answer(description, _HTML)


_PAGE_503 = _page("The sale cannot be shown now. The page loads itself again.")
_PAGE_429 = _page("Too many calls of this address, or of this buyer.")


def _path(name: str, schema: Part, example: object) -> Part:
    return {"name": name, "in": "path", "required": True, "schema": schema, "example": example}


def _get(operation: str, tag: str, summary: str, responses: Part, **more: Any) -> Part:
    return {
        "get": {
            "operationId": operation,
            "tags": [tag],
            "summary": summary,
            "responses": responses,
            **more,
        }
    }


PATHS: Part = {
    "/v1/requests": {
        "post": {
            "operationId": "click",
            "tags": ["buyers"],
            "summary": "A click",
            "security": _BUYER,
            "parameters": [_KEY, _PREFER],
            "requestBody": {
                "required": True,
                "content": {
                    "application/json": {
                        "schema": ref("Order"),
                        "example": {"activity_id": 1, "items": {"1001": 1}},
                    }
                },
            },
            "responses": {
                "200": _answer(
                    "Decided: within `wait`, before, or at the door.",
                    _json(
                        {"oneOf": [*map(ref, (*_YES, "Refused", "Shed", "Void"))]},
                        _ACCEPTED,
                        _HELD,
                        _SHED,
                    ),
                ),
                "202": _answer(
                    "Kafka has it. It will be decided exactly once.",
                    _json(ref("Waiting"), _WAITING),
                    {**_LOCATION, **_RETRY_AFTER},
                ),
                **_problems(400, 401, 404, 408, 413, 415, 422, 429),
                "503": _NOT_TAKEN,
            },
        }
    },
    "/v1/tickets/{ticket}": {
        **_get(
            "answer", "buyers", "The answer to a click",
            {
                "200": _answer(
                    "As far as it is known.",
                    _json({"oneOf": _ANSWERS}, _WAITING, _ACCEPTED, _HELD, _EXPIRED, _REFUSED),
                    _LATER,
                ),
                **_problems(404, 410, 429),
            },
            parameters=[_path("ticket", TICKET, _TICKET), _SEEN, _PREFER],
        ),
        "delete": {
            "operationId": "give_back",
            "tags": ["buyers"],
            "summary": "Gives a hold back; whoever has the ticket may",
            "parameters": [_path("ticket", TICKET, _TICKET), _PREFER],
            "responses": {**_SETTLED, **_problems(404, 409, 410, 429), "503": _NOT_TAKEN},
        },
    },
    "/v1/tickets/{ticket}/payment": {
        "post": {
            "operationId": "payment",
            "tags": ["shop"],
            "summary": "What became of a payment",
            "description": "Authorise the payment, send `paid`, and capture only when the state is "
            "`paid`. `too_late`: void it.",
            "security": [{"shop": []}, {"signature": []}],
            "parameters": [_path("ticket", TICKET, _TICKET), _PREFER],
            "requestBody": {
                "required": True,
                "content": {
                    "application/json": {
                        "schema": ref("Payment"),
                        "example": {"result": "paid", "reference": "pi_1"},
                    }
                },
            },
            "responses": {
                **_SETTLED,
                **_problems(400, 401, 404, 408, 409, 410, 413, 415, 422, 429),
                "503": _NOT_TAKEN,
            },
        }
    },
    "/v1/activities/{id}": _get(
        "activity", "everybody", "A sale; may be cached for a second",
        {"200": _answer("The sale.", _json(ref("Activity"))), **_problems(404, 429, 503)},
        parameters=[_path("id", ID, 1)],
    ),
    "/v1/me/orders": _get(
        "my_orders", "buyers", "The stored orders of the token's user",
        {"200": _answer("The orders.", _json(ref("Orders"))), **_problems(401, 429, 503)},
        security=_BUYER,
    ),
    "/buy/{id}": _get(
        "page", "everybody", "The buyers' page",
        {"200": _page("The page."), "404": _page("No number of an activity.")},
        parameters=[_path("id", ID, 1)],
    )
    | {
        "post": {
            "operationId": "form_click",
            "tags": ["pages"],
            "summary": "A click without JavaScript",
            "description": "The buyer's token comes in the cookie that `buyer_cookie` names; "
            "without that setting it is 404. `Origin` must be the door's own or one of "
            "`cors_origins`.",
            "parameters": [_path("id", ID, 1)],
            "requestBody": {
                "required": True,
                "content": {"application/x-www-form-urlencoded": {"schema": ref("Form")}},
            },
            "responses": {
                "200": _page("Decided without a ticket."),
                "303": _page("Taken, on to its ticket; or `another`, back to the form."),
                "400": _page("The connection was closed before the body was complete."),
                "401": _page("No token in the cookie, or one that is not valid."),
                "403": _page("The form is from elsewhere."),
                "404": _page("The activity is not on sale, or forms are switched off."),
                "408": _page("The body was not complete in time."),
                "413": _page("The body is too long."),
                "415": _page("The body is not a form."),
                "422": _page("Not the form of this page."),
                "429": _PAGE_429,
                "503": _page("Not taken, or not known whether it is: the same key again."),
            },
        }
    },
    "/buy/{id}/form": _get(
        "form", "pages", "The sale with a form, for browsers without JavaScript",
        {
            "200": _page("The sale."),
            "404": _page("It is not on sale, or forms are switched off."),
            "429": _PAGE_429,
            "503": _PAGE_503,
        },
        parameters=[_path("id", ID, 1)],
    ),
    "/t/{ticket}": _get(
        "ticket_page", "pages", "What became of a click, as a page",
        {
            "200": _page("The answer; while it waits or is held, with `Refresh`."),
            "404": _page("Not a ticket of this shop, or forms are switched off."),
            "410": _page("The topic was made again."),
            "429": _PAGE_429,
        },
        parameters=[_path("ticket", TICKET, _TICKET)],
    ),
    "/healthz": _get(
        "healthz", "probes", "Whether the process runs",
        {"200": _answer("It runs.", _json(ref("Status"), {"status": "ok"}))},
    ),
    "/readyz": _get(
        "readyz", "probes", "Whether it can read answers",
        {"200": _answer("It can.", _json(ref("Status"), {"status": "ready"})), **_problems(503)},
    ),
}  # fmt: skip


@cache
def document() -> bytes:
    """The document in JSON."""
    return msgspec.json.encode(
        {
            "openapi": "3.1.0",
            "info": {"title": "Flash sale: the buyers' door", "version": __version__,
                     "description": DESCRIPTION},
            "servers": [{"url": "/", "description": "The door that this document comes from."}],
            "tags": [
                {"name": "buyers", "description": "Clicks and their answers."},
                {"name": "shop", "description": "The shop's servers."},
                {"name": "pages", "description": "For people whose browser runs no script."},
                {"name": "everybody", "description": "Without a token."},
                {"name": "probes", "description": "For load balancers."},
            ],
            "paths": PATHS,
            "components": {
                "schemas": SCHEMAS,
                "securitySchemes": {
                    "buyer": {
                        "type": "http",
                        "scheme": "bearer",
                        "bearerFormat": "JWT",
                        "description": "The shop's token for this buyer: `sub`, `exp`, `kid`.",
                    },
                    "shop": {
                        "type": "http",
                        "scheme": "bearer",
                        "description": "A key of `payment_keys`.",
                    },
                    "signature": {
                        "type": "apiKey",
                        "in": "header",
                        "name": "Payment-Signature",
                        "description": "`t=<s>,v1=<hex of HMAC-SHA256(secret, t.body)>` with a "
                        "secret of `payment_secrets`; the body names the ticket.",
                    },
                },
            },
        }
    )  # fmt: skip

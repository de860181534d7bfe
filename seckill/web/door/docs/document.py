"""The door's OpenAPI document: its calls, what is sent, and each status with its meaning."""

from functools import cache

import msgspec

from seckill import __version__
from seckill.web.door.docs.parts import (
    ACCEPTED,
    ANSWERS,
    BUYER,
    EXPIRED,
    HELD,
    KEY,
    LATER,
    LOCATION,
    NOT_TAKEN,
    PAGE_429,
    PAGE_503,
    PREFER,
    REFUSED,
    RETRY_AFTER,
    SEEN,
    SETTLED,
    SHED,
    TICKET_TEXT,
    WAITING,
    YES,
    Part,
    answer_of,
    get,
    json_of,
    page_of,
    path_parameter,
    problems,
)
from seckill.web.door.docs.schemas import ID, SCHEMAS, TICKET, ref

DESCRIPTION = """\
Takes buyers' clicks, and tells each its exact answer. A click is acknowledged when Kafka has it on
all in-sync replicas; it is then decided exactly once.

Make an `Idempotency-Key` before you send a click, and keep it: the same click asked again with the
same key can never buy twice. What is known to be taken is never answered with an error.
"""
PATHS: Part = {
    "/v1/requests": {
        "post": {
            "operationId": "click",
            "tags": ["buyers"],
            "summary": "A click",
            "security": BUYER,
            "parameters": [KEY, PREFER],
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
                "200": answer_of(
                    "Decided: within `wait`, before, or at the door.",
                    json_of(
                        {"oneOf": [*map(ref, (*YES, "Refused", "Shed", "Void"))]},
                        ACCEPTED,
                        HELD,
                        SHED,
                    ),
                ),
                "202": answer_of(
                    "Kafka has it. It will be decided exactly once.",
                    json_of(ref("Waiting"), WAITING),
                    {**LOCATION, **RETRY_AFTER},
                ),
                **problems(400, 401, 404, 408, 413, 415, 422, 429),
                "503": NOT_TAKEN,
            },
        }
    },
    "/v1/tickets/{ticket}": {
        **get(
            "answer", "buyers", "The answer to a click",
            {
                "200": answer_of(
                    "As far as it is known.",
                    json_of({"oneOf": ANSWERS}, WAITING, ACCEPTED, HELD, EXPIRED, REFUSED),
                    LATER,
                ),
                **problems(404, 410, 429, 503),
            },
            parameters=[path_parameter("ticket", TICKET, TICKET_TEXT), SEEN, PREFER],
        ),
        "delete": {
            "operationId": "give_back",
            "tags": ["buyers"],
            "summary": "Gives a hold back; whoever has the ticket may",
            "parameters": [path_parameter("ticket", TICKET, TICKET_TEXT), PREFER],
            "responses": {**SETTLED, **problems(404, 409, 410, 429), "503": NOT_TAKEN},
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
            "parameters": [path_parameter("ticket", TICKET, TICKET_TEXT), PREFER],
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
                **SETTLED,
                **problems(400, 401, 404, 408, 409, 410, 413, 415, 422, 429),
                "503": NOT_TAKEN,
            },
        }
    },
    "/v1/activities/{id}": get(
        "activity", "everybody", "A sale; may be cached for a second",
        {"200": answer_of("The sale.", json_of(ref("Activity"))), **problems(404, 429, 503)},
        parameters=[path_parameter("id", ID, 1)],
    ),
    "/v1/me/orders": get(
        "my_orders", "buyers", "The stored orders of the token's user",
        {"200": answer_of("The orders.", json_of(ref("Orders"))), **problems(401, 429, 503)},
        security=BUYER,
    ),
    "/buy/{id}": get(
        "page", "everybody", "The buyers' page",
        {"200": page_of("The page."), "404": page_of("No number of an activity.")},
        parameters=[path_parameter("id", ID, 1)],
    )
    | {
        "post": {
            "operationId": "form_click",
            "tags": ["pages"],
            "summary": "A click without JavaScript",
            "description": "The buyer's token comes in the cookie that `buyer_cookie` names; "
            "without that setting it is 404. `Origin` must be the door's own or one of "
            "`cors_origins`.",
            "parameters": [path_parameter("id", ID, 1)],
            "requestBody": {
                "required": True,
                "content": {"application/x-www-form-urlencoded": {"schema": ref("Form")}},
            },
            "responses": {
                "200": page_of("Decided without a ticket."),
                "303": page_of("Taken, on to its ticket; or `another`, back to the form."),
                "400": page_of("The connection was closed before the body was complete."),
                "401": page_of("No token in the cookie, or one that is not valid."),
                "403": page_of("The form is from elsewhere."),
                "404": page_of("The activity is not on sale, or forms are switched off."),
                "408": page_of("The body was not complete in time."),
                "413": page_of("The body is too long."),
                "415": page_of("The body is not a form."),
                "422": page_of("Not the form of this page."),
                "429": PAGE_429,
                "503": page_of("Not taken, or not known whether it is: the same key again."),
            },
        }
    },
    "/buy/{id}/form": get(
        "form", "pages", "The sale with a form, for browsers without JavaScript",
        {
            "200": page_of("The sale."),
            "404": page_of("It is not on sale, or forms are switched off."),
            "429": PAGE_429,
            "503": PAGE_503,
        },
        parameters=[path_parameter("id", ID, 1)],
    ),
    "/t/{ticket}": get(
        "ticket_page", "pages", "What became of a click, as a page",
        {
            "200": page_of("The answer; while it waits or is held, with `Refresh`."),
            "404": page_of("Not a ticket of this shop, or forms are switched off."),
            "410": page_of("The topic was made again."),
            "429": PAGE_429,
            "503": PAGE_503,
        },
        parameters=[path_parameter("ticket", TICKET, TICKET_TEXT)],
    ),
    "/healthz": get(
        "healthz", "probes", "Whether the process runs",
        {"200": answer_of("It runs.", json_of(ref("Status"), {"status": "ok"}))},
    ),
    "/readyz": get(
        "readyz", "probes", "Whether it can read answers",
        {"200": answer_of("It can.", json_of(ref("Status"), {"status": "ready"})), **problems(503)},
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

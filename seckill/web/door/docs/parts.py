"""What the door's OpenAPI document is made of: examples, headers, parameters, answers."""

from http import HTTPStatus
from typing import Any

from seckill.web.door.asking import KEY_LENGTH, MOST_WAIT_S
from seckill.web.door.docs.schemas import ref

Part = dict[str, Any]

TICKET_TEXT = "A" * 83
WAITING = {"ticket": TICKET_TEXT, "state": "waiting", "ahead": 312, "delayed": False}
ACCEPTED = {"ticket": TICKET_TEXT, "state": "accepted", "outcome": "ACCEPTED", "stored": False}
REFUSED = {"ticket": TICKET_TEXT, "state": "refused", "outcome": "SOLD_OUT"}
SHED: Part = {
    "state": "refused", "outcome": "SOLD_OUT", "at_door": True, "as_of": 1795757000000, "epoch": 0,
    "version": 7,
}  # fmt: skip
_HOLD: Part = {
    "ticket": TICKET_TEXT, "state": "held", "stored": False, "pay_until": 1795757600000,
    "remaining_ms": 599000, "pay_url": f"https://shop.example/pay/{TICKET_TEXT}",
}  # fmt: skip
HELD = {**_HOLD, "outcome": "ACCEPTED"}
EXPIRED = {"ticket": TICKET_TEXT, "state": "expired", "outcome": "ACCEPTED", "stored": True}
_LATE = {"ticket": TICKET_TEXT, "state": "expired", "stored": True, "too_late": True}
_DONE = {"ticket": TICKET_TEXT, "state": "paid", "stored": True, "too_late": False}
YES = ("Accepted", "Held", "Settled")
ANSWERS = [ref(name) for name in ("Waiting", *YES, "Refused", "Void")]
RETRY_AFTER: Part = {
    "Retry-After": {
        "description": "Seconds until a new try, with jitter.",
        "required": True,
        "schema": {"type": "integer", "minimum": 1},
    }
}
LOCATION: Part = {"Location": {"description": "Where the answer is.", "schema": {"type": "string"}}}
LATER: Part = {
    **LOCATION,
    "Retry-After": {
        "description": "While it waits: seconds until a new try, with jitter.",
        "schema": {"type": "integer", "minimum": 1},
    },
}
BUYER: list[Part] = [{"buyer": []}]
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


def json_of(schema: Part, *examples: Part) -> Part:
    """A body in JSON; each example under its own name."""
    content: Part = {"schema": schema}
    if examples:
        content["examples"] = {_name_of(example): {"value": example} for example in examples}
    return {"application/json": content}


def answer_of(description: str, content: Part, headers: Part | None = None) -> Part:
    """An answer with a body."""
    return {"description": description, "content": content, "headers": headers or {}}


def _problem(status: int) -> Part:
    description, detail = _PROBLEMS[status]
    example = {"title": HTTPStatus(status).phrase, "status": status, "detail": detail}
    return {
        "description": description,
        "headers": RETRY_AFTER if status in (429, 503) else {},
        "content": {
            "application/problem+json": {"schema": ref("Problem"), "example": example},
        },
    }


def problems(*statuses: int) -> Part:
    """The answers that refuse a call, by status."""
    return {str(status): _problem(status) for status in statuses}


PREFER: Part = {
    "name": "Prefer",
    "in": "header",
    "description": f"`wait=N`: wait up to N seconds for the decision, {MOST_WAIT_S} at most. "
    "Other preferences are ignored.",
    "schema": {"type": "string", "examples": ["wait=3"]},
    "example": "wait=3",
}
KEY: Part = {
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
NOT_TAKEN: Part = {
    "description": "`taken: no`: nothing was ordered. `taken: unknown`: handed to Kafka, and not "
    "acknowledged within 2 s. Ask again with the same key: it can never buy twice.",
    "headers": RETRY_AFTER,
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
SEEN: Part = {
    "name": "state",
    "in": "query",
    "description": "`held`: the caller knows that it is held. `Prefer: wait` then waits for the "
    "end of the hold.",
    "schema": {"const": "held", "type": "string"},
}
SETTLED: Part = {
    "200": answer_of("The hold has ended.", json_of(ref("SettledNow"), _DONE, _LATE)),
    "202": answer_of(
        "Kafka has it. It will be settled exactly once.",
        json_of(ref("Settling"), {**_HOLD, "too_late": False}),
        {**LOCATION, **RETRY_AFTER},
    ),
}
_HTML: Part = {"text/html": {"schema": {"type": "string"}}}


def page_of(description: str) -> Part:
    """A page for people: an answer or a refusal."""
    return answer_of(description, _HTML)


PAGE_503 = page_of("The sale cannot be shown now. The page loads itself again.")
PAGE_429 = page_of("Too many calls of this address, or of this buyer.")


def path_parameter(name: str, schema: Part, example: object) -> Part:
    """A part of the address."""
    return {"name": name, "in": "path", "required": True, "schema": schema, "example": example}


def get(operation: str, tag: str, summary: str, responses: Part, **more: Any) -> Part:
    """A call by GET: an item of the paths."""
    return {
        "get": {
            "operationId": operation,
            "tags": [tag],
            "summary": summary,
            "responses": responses,
            **more,
        }
    }

"""The bodies of the door's OpenAPI document: orders, answers, the sale, problems.

Kept by hand, so that the hot path needs no model library. Tests hold each to the real answers.
"""

from typing import Any

from seckill.formats.outcomes import MAX_ID, MAX_ITEMS, MAX_QUANTITY, Outcome
from seckill.formats.settle import MAX_REFERENCE
from seckill.web.door.answers import YES
from seckill.web.door.plain.reading import ANOTHER, KEY_BYTES
from seckill.web.door.showcase import Left, Phase, state_of
from seckill.web.door.tickets import LENGTH

Schema = dict[str, Any]


def ref(name: str) -> Schema:
    """A schema by its name."""
    return {"$ref": f"#/components/schemas/{name}"}


def _object(description: str, required: dict[str, Schema], **optional: Schema) -> Schema:
    """An object with these members and no others."""
    return {
        "type": "object",
        "description": description,
        "properties": {**required, **optional},
        "required": list(required),
        "additionalProperties": False,
    }


def _const(value: object) -> Schema:
    return {"const": value, "type": "boolean" if isinstance(value, bool) else "string"}


ID: Schema = {"type": "integer", "minimum": 1, "maximum": MAX_ID, "examples": [1]}
# Ids are 1 to 2^63-1. The pattern leaves out those of 19 digits, which it could not tell apart.
ITEM_NAME: Schema = {"type": "string", "pattern": "^[1-9][0-9]{0,17}$"}
UNITS: Schema = {"type": "integer", "minimum": 1, "maximum": MAX_QUANTITY}
COUNT: Schema = {"type": "integer", "minimum": 0}
TIME: Schema = {"type": "integer", "minimum": 0, "description": "Ms since 1970, UTC."}
MAYBE_TIME: Schema = {**TIME, "type": ["integer", "null"]}
TICKET: Schema = {
    "type": "string",
    "pattern": f"^[A-Za-z0-9_-]{{{LENGTH}}}$",
    "description": "The signed place of the click in the log. Its holder may read the answer.",
}
PAGE_KEY: Schema = {"type": "string", "pattern": f"^[0-9a-f]{{{2 * KEY_BYTES}}}$"}
REASONS = sorted(outcome.name for outcome in Outcome if outcome is not Outcome.ACCEPTED)
REASON: Schema = {
    "type": "string",
    "enum": REASONS,
    "description": "Missing: the reason is not known one by one.",
}

STORED: Schema = {
    "type": "boolean",
    "description": "True: the order is in PostgreSQL as well.",
}
HOLD: dict[str, Schema] = {
    "pay_until": {**TIME, "description": "When the hold ends, on the server's clock: ms, UTC."},
    "remaining_ms": {**COUNT, "description": "Until then. 0: it ends as soon as nobody paid."},
}
PAY_URL: Schema = {"type": "string", "description": "Where it is paid, if the door knows."}
SETTLED_STATE: Schema = {"type": "string", "enum": ["paid", "expired", "cancelled"]}

SCHEMAS: dict[str, Schema] = {
    "Order": _object(
        "What a buyer asks for. The user is the token's, never the body's.",
        {
            "activity_id": ID,
            "items": {
                "type": "object",
                "propertyNames": ITEM_NAME,
                "additionalProperties": UNITS,
                "minProperties": 1,
                "maxProperties": MAX_ITEMS,
                "description": "Units by item id. All of them, or none.",
            },
        },
    ),
    "Form": {
        "type": "object",
        "description": "A button of the form: an item with the page's key, or a new key.",
        "oneOf": [
            _object("A click.", {"key": PAGE_KEY, "item": ITEM_NAME}),
            _object("A page with a new key.", {ANOTHER: {"type": "string"}}),
        ],
    },
    "Waiting": _object(
        "Not decided yet. Ask again after Retry-After; never click again.",
        {
            "ticket": TICKET,
            "state": _const("waiting"),
            "ahead": {
                "type": ["integer", "null"],
                "minimum": 0,
                "description": "Requests that are decided before this one; null: not known now.",
            },
            "delayed": {
                "type": "boolean",
                "description": "True: nothing is decided or told now. Nothing is lost.",
            },
        },
    ),
    "Accepted": _object(
        "Yes: the items are the buyer's.",
        {
            "state": _const("accepted"),
            "outcome": _const("ACCEPTED"),
            "stored": STORED,
        },
        ticket=TICKET,
    ),
    "Held": _object(
        "Yes, and it is to be paid in time. It may have another state later.",
        {
            "state": _const("held"),
            "outcome": _const("ACCEPTED"),
            "stored": STORED,
            **HOLD,
        },
        ticket=TICKET,
        pay_url=PAY_URL,
    ),
    "Settled": _object(
        "It was accepted, and held; then it was paid, was not paid in time, or was given back.",
        {"state": SETTLED_STATE, "outcome": _const("ACCEPTED")},
        ticket=TICKET,
        stored=STORED,
    ),
    "Payment": _object(
        "What became of a payment.",
        {"result": {"type": "string", "enum": ["paid", "failed"]}},
        reference={
            "type": ["string", "null"],
            "maxLength": MAX_REFERENCE,
            "description": "The shop's own, such as the id of the payment. Printable characters.",
        },
        ticket={
            "type": ["string", "null"],
            "description": "That of the address. Required with Payment-Signature, which binds the "
            "body alone.",
        },
    ),
    "Settling": _object(
        "Kafka has it. Ask the ticket for the hold's end.",
        {
            "ticket": TICKET,
            "state": _const("held"),
            "stored": STORED,
            **HOLD,
            "too_late": _const(value=False),
        },
        pay_url=PAY_URL,
    ),
    "SettledNow": _object(
        "The hold's end.",
        {
            "ticket": TICKET,
            "state": SETTLED_STATE,
            "stored": STORED,
            "too_late": {
                "type": "boolean",
                "description": "True: something else has settled the hold. For a payment: void the "
                "authorisation. Money that was taken is on the desk's list.",
            },
        },
    ),
    "Refused": _object(
        "No, as it was decided.",
        {"ticket": TICKET, "state": _const("refused")},
        outcome=REASON,
    ),
    "Shed": _object(
        "No, without a message: the activity is sold out or over, so it was certain. Ask again "
        "once version or epoch has moved.",
        {
            "state": _const("refused"),
            "outcome": {"type": "string", "enum": ["SOLD_OUT", "OVER"]},
            "at_door": _const(value=True),
            "as_of": TIME,
            "epoch": COUNT,
            "version": COUNT,
        },
    ),
    "Void": _object(
        "Kafka has lost the message, or the sale was split over lanes after the click. Click "
        "again: with the same key it can never buy twice.",
        {"ticket": TICKET, "state": _const("void")},
    ),
    "Activity": _object(
        "A sale, for everybody.",
        {
            "id": ID,
            "name": {"type": "string"},
            "state": {"type": "string", "enum": sorted({state_of(phase) for phase in Phase})},
            "opens_at": MAYBE_TIME,
            "closes_at": MAYBE_TIME,
            "now": {**TIME, "description": "The server's clock, for the countdown."},
            "epoch": COUNT,
            "version": COUNT,
            "items": {
                "type": "array",
                "items": _object(
                    "An item.",
                    {
                        "id": {"type": "string"},
                        "name": {"type": "string"},
                        "left": {"type": "string", "enum": [left.value for left in Left]},
                    },
                ),
            },
        },
    ),
    "Orders": _object(
        "The stored orders of the token's user, the newest first, 100 at most.",
        {
            "orders": {
                "type": "array",
                "items": _object(
                    "An order.",
                    {
                        "activity_id": ID,
                        "items": {
                            "type": "object",
                            "propertyNames": {"pattern": "^[0-9]+$"},
                            "additionalProperties": UNITS,
                        },
                        "state": {
                            "type": "string",
                            "enum": sorted(YES),
                        },
                        "decided_at": {"type": "string", "format": "date-time"},
                        "place": {"type": "string", "description": "source:partition:offset"},
                    },
                    pay_until={**TIME, "description": "Of a hold."},
                    part_id={**ID, "description": "Of a sale over several lanes: its part."},
                ),
            }
        },
    ),
    "Status": _object("For probes.", {"status": {"type": "string", "enum": ["ok", "ready"]}}),
    "Problem": _object(
        "Why not. `detail` is for people.",
        {
            "title": {"type": "string"},
            "status": {"type": "integer", "minimum": 400, "maximum": 599},
            "detail": {"type": "string"},
        },
    ),
    "NotTaken": _object(
        "As Problem. `no`: nothing was ordered. `unknown`: ask again with the same key.",
        {
            "title": {"type": "string"},
            "status": {"type": "integer", "minimum": 500, "maximum": 599},
            "detail": {"type": "string"},
            "taken": {"type": "string", "enum": ["no", "unknown"]},
        },
    ),
}

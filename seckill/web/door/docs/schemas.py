"""The bodies of the door's OpenAPI document: orders, answers, the sale, problems.

Kept by hand, so that the hot path needs no model library. Tests hold each to the real answers.
"""

from typing import Any

from seckill.formats.outcomes import MAX_ID, MAX_ITEMS, MAX_QUANTITY, Outcome
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
            "stored": {
                "type": "boolean",
                "description": "True: the order is in PostgreSQL as well.",
            },
        },
        ticket=TICKET,
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
        "Kafka has lost the message. Click again: with the same key it can never buy twice.",
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
                        "state": _const("accepted"),
                        "decided_at": {"type": "string", "format": "date-time"},
                        "place": {"type": "string", "description": "source:partition:offset"},
                    },
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

"""Reads requests strictly: repeated, unknown or unclear input is refused, never guessed.

Owns the parsing of bodies and query strings, and the validators of ids and units. A misspelt
parameter of `finish_activity` must not finish the default activity instead.
"""

import json
import re
from datetime import UTC, datetime
from typing import Annotated, Any

from django.http import HttpRequest
from django.utils.datastructures import MultiValueDict
from ninja.parser import Parser
from pydantic import BeforeValidator, Field, WithJsonSchema

from seckill.formats.outcomes import MAX_ID, MAX_UNITS

# The most items in one call: sums of their units stay exact in Lua.
MAX_ITEMS_A_CALL = 1_000
# How many characters of a wrong name or number an answer repeats.
SHOWN = 60
_MOMENT = re.compile(r"\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d", re.ASCII)
_DECIMAL = re.compile(r"[1-9][0-9]{0,18}\Z", re.ASCII)


def up_to(most: int) -> str:
    """A regular expression for the whole numbers from 1 to `most`, in plain digits."""
    digits = str(most)
    parts = [f"[1-9][0-9]{{0,{len(digits) - 2}}}"]
    for place, digit in enumerate(digits):
        least, below = (1 if place == 0 else 0), int(digit) - 1
        if below >= least:
            rest = len(digits) - place - 1
            parts.append(
                f"{digits[:place]}[{least}-{below}]" + (f"[0-9]{{{rest}}}" if rest else "")
            )
    return f"^({'|'.join([*parts, digits])})$"


class Unreadable(Exception):
    """A body or query string without a clear meaning. `field` names the place."""

    def __init__(self, field: str, message: str) -> None:
        super().__init__(message)
        self.field = field


def decimal(value: object) -> object:
    """A text of plain digits as a number; other types pass unchanged. Raises ValueError."""
    if not isinstance(value, str):
        return value
    if not _DECIMAL.match(value):
        raise ValueError(f"a whole number from 1 to {MAX_ID}, in plain digits")
    return int(value)


def whole(value: object) -> object:
    """A JSON number without a fraction as an integer (1.0 is 1); other values pass unchanged."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


def moment_text(value: object) -> object:
    """A time must be written as RFC 3339 has it: no number of seconds. Raises ValueError."""
    if isinstance(value, str) and not _MOMENT.match(value):
        raise ValueError("a time with its time zone, for example 2026-11-11T20:00Z")
    return value


def moment_utc(value: datetime | None) -> datetime | None:
    """The same moment in UTC. Raises ValueError for one in the first or last possible year."""
    try:
        return None if value is None else value.astimezone(UTC)
    except OverflowError:
        raise ValueError("a time that can be told in UTC") from None


def documented(least: int, most: int) -> WithJsonSchema:
    """The documentation of a whole number: pydantic cannot derive it from our validator."""
    return WithJsonSchema({"type": "integer", "minimum": least, "maximum": most})


def _mapping(least: int) -> WithJsonSchema:
    """The documentation of units by item: pydantic cannot describe keys that are numbers."""
    return WithJsonSchema(
        {
            "type": "object",
            "minProperties": 1,
            "maxProperties": MAX_ITEMS_A_CALL,
            "propertyNames": {"pattern": up_to(MAX_ID)},
            "additionalProperties": {"type": "integer", "minimum": least, "maximum": MAX_UNITS},
        }
    )


Id = Annotated[
    int, Field(strict=True, ge=1, le=MAX_ID), BeforeValidator(whole), documented(1, MAX_ID)
]
# An id as text: in keys of JSON objects, query parameters and paths.
_ID = WithJsonSchema(
    {"type": "integer", "format": "int64", "minimum": 1, "maximum": MAX_ID, "examples": [1]}
)
TextId = Annotated[int, BeforeValidator(decimal), Field(ge=1, le=MAX_ID), _ID]
OptionalTextId = Annotated[int | None, BeforeValidator(decimal), Field(ge=1, le=MAX_ID), _ID]
Units = Annotated[
    int, Field(strict=True, ge=0, le=MAX_UNITS), BeforeValidator(whole), documented(0, MAX_UNITS)
]
MoreUnits = Annotated[
    int, Field(strict=True, ge=1, le=MAX_UNITS), BeforeValidator(whole), documented(1, MAX_UNITS)
]
_SOME = Field(min_length=1, max_length=MAX_ITEMS_A_CALL)
Stock = Annotated[dict[TextId, Units], _SOME, _mapping(0)]
MoreStock = Annotated[dict[TextId, MoreUnits], _SOME, _mapping(1)]
# A text that PostgreSQL can store.
NO_NUL = r"^[^\x00]*$"


class StrictParser(Parser):
    """JSON in UTF-8 without repeated keys; query strings without repeated names."""

    def parse_body(self, request: HttpRequest) -> Any:
        """The body's JSON. Raises Unreadable."""
        try:
            text = request.body.decode("utf-8")
        except UnicodeDecodeError:
            raise Unreadable("body", "not UTF-8") from None
        try:
            return json.loads(text, object_pairs_hook=_members, parse_constant=_no_constant)
        except RecursionError:
            raise Unreadable("body", "nested too deeply") from None
        except json.JSONDecodeError as wrong:
            place = f"line {wrong.lineno}, column {wrong.colno}"
            raise Unreadable("body", f"not valid JSON: {wrong.msg} ({place})") from None
        except ValueError:
            # Python refuses integers of more than 4,300 digits.
            raise Unreadable("body", "a number in it has too many digits") from None

    def parse_querydict(
        self, data: "MultiValueDict[str, str]", list_fields: list[str], request: HttpRequest
    ) -> dict[str, Any]:
        """The query parameters. Raises Unreadable."""
        for name in data:
            if len(data.getlist(name)) > 1:
                raise Unreadable(f"query.{name[:SHOWN]}", "given more than once")
        return super().parse_querydict(data, list_fields, request)


def check_query(data: "MultiValueDict[str, str]", known: frozenset[str]) -> None:
    """Raises Unreadable for a parameter that the operation does not have."""
    for name in data:
        if name not in known:
            said = ", ".join(sorted(known)) or "none"
            raise Unreadable(f"query.{name[:SHOWN]}", f"unknown parameter; known: {said}")


def _members(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members: dict[str, Any] = {}
    for name, value in pairs:
        if name in members:
            raise Unreadable("body", f"key {name[:SHOWN]!r} appears twice")
        members[name] = value
    return members


def _no_constant(word: str) -> None:
    raise Unreadable("body", f"not valid JSON: {word}")

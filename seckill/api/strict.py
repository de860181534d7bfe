"""Reading requests strictly: what is said twice, unknown or not plain is refused, never guessed.

Owns the way from bytes and query strings to plain values, and the validators of ids and units.
A misspelt parameter of `finish_activity` must not finish the default activity instead.
"""

import json
import re
from typing import Annotated, Any

from django.http import HttpRequest
from django.utils.datastructures import MultiValueDict
from ninja.parser import Parser
from pydantic import BeforeValidator, Field

from seckill.wire import MAX_ID, MAX_UNITS

# The one query parameter that operations of this API have.
QUERY_PARAMETERS = ("activity_id",)
# Items of one call: sums of their units stay exact in Lua.
MAX_ITEMS_A_CALL = 1_000
# Characters of a wrong name or number that an answer repeats.
SHOWN = 60
_DECIMAL = re.compile(r"[1-9][0-9]{0,18}\Z", re.ASCII)


class Unreadable(Exception):
    """A body or a query string that has no one meaning. `field` names the place."""

    def __init__(self, field: str, message: str) -> None:
        super().__init__(message)
        self.field = field


def decimal(value: object) -> object:
    """A text of plain digits as a number; what is no text passes. Raises ValueError."""
    if not isinstance(value, str):
        return value
    if not _DECIMAL.match(value):
        raise ValueError(f"a whole number from 1 to {MAX_ID}, in plain digits")
    return int(value)


Id = Annotated[int, Field(strict=True, ge=1, le=MAX_ID)]
# An id that travels as text: keys of JSON objects, query parameters.
TextId = Annotated[int, BeforeValidator(decimal), Field(ge=1, le=MAX_ID)]
Units = Annotated[int, Field(strict=True, ge=0, le=MAX_UNITS)]
Stock = Annotated[dict[TextId, Units], Field(min_length=1, max_length=MAX_ITEMS_A_CALL)]


class StrictParser(Parser):
    """JSON in UTF-8 without repeated keys; query strings without unknown or repeated names."""

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
            raise Unreadable("body", f"no valid JSON: {wrong.msg} ({place})") from None
        except ValueError:
            # Python reads no integer of more than 4,300 digits.
            raise Unreadable("body", "a number in it has too many digits") from None

    def parse_querydict(
        self, data: "MultiValueDict[str, str]", list_fields: list[str], request: HttpRequest
    ) -> dict[str, Any]:
        """The query parameters. Raises Unreadable."""
        for name in data:
            if name not in QUERY_PARAMETERS:
                known = ", ".join(QUERY_PARAMETERS)
                raise Unreadable(f"query.{name[:SHOWN]}", f"unknown parameter; known: {known}")
            if len(data.getlist(name)) > 1:
                raise Unreadable(f"query.{name}", "given more than once")
        return super().parse_querydict(data, list_fields, request)


def _members(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members: dict[str, Any] = {}
    for name, value in pairs:
        if name in members:
            raise Unreadable("body", f"key {name[:SHOWN]!r} is named twice")
        members[name] = value
    return members


def _no_constant(word: str) -> None:
    raise Unreadable("body", f"no valid JSON: {word}")

"""Reads what a browser without scripts sends: origin, cookies, form. Raises Problem."""

import re
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import parse_qsl

from seckill.web.door import asking
from seckill.web.door.http import Problem, Scope

FORM = b"application/x-www-form-urlencoded"
# The key of the page's clicks. The browser keeps it, so that F5, back and a second tab go on with
# the same click.
KEY_COOKIE = "seckill_click"
# An item's id is put behind it, and all of it is an Idempotency-Key.
KEY_BYTES = 16
ANOTHER = "another"

_is_page_key = re.compile(f"[0-9a-f]{{{2 * KEY_BYTES}}}").fullmatch


@dataclass(frozen=True, slots=True)
class Pressed:
    """A button of the form: an item, with the key of its page."""

    page_key: str
    item: int

    @property
    def key(self) -> str:
        """The key of this click: each item of a page is a click of its own."""
        return f"{self.page_key}-{self.item}"


def check_origin(headers: Mapping[bytes, bytes], allowed: frozenset[str]) -> None:
    """Raises Problem 403 unless a form was sent from this host, or from an allowed origin."""
    origin = headers.get(b"origin", b"").decode("latin-1")
    if origin in allowed:
        return
    sent_by, host = origin.partition("://")[0], headers.get(b"host", b"").decode("latin-1")
    # A proxy says which scheme the browser used; without a word of it, either one is ours.
    scheme = headers.get(b"x-forwarded-proto", sent_by.encode()).decode("latin-1").lower()
    ours = f"{scheme}://{host}".lower()
    if not host or scheme not in ("http", "https") or origin.lower() != ours:
        raise Problem(403, "this form was not sent from a page of this door")


def own_address(scope: Scope, headers: Mapping[bytes, bytes], path: str) -> str:
    """The address of a page here, as the browser has it."""
    forwarded = headers.get(b"x-forwarded-proto", b"").lower()
    scheme = "https" if forwarded == b"https" else scope["scheme"]
    return f"{scheme}://{headers.get(b'host', b'').decode('latin-1')}{path}"


def cookie(scope: Scope, name: str) -> str:
    """A cookie's value, the first one of this name; "" if there is none."""
    for header, value in scope["headers"]:
        if header == b"cookie":
            for pair in value.decode("latin-1").split(";"):
                found, _, content = pair.strip().partition("=")
                if found == name:
                    return content.strip('"')
    return ""


def page_key(scope: Scope) -> str:
    """The key that this browser has for the page, or ""."""
    key = cookie(scope, KEY_COOKIE)
    return key if _is_page_key(key) else ""


def new_page_key() -> str:
    """A key for a page: nobody guesses it, and nobody has it twice."""
    return secrets.token_hex(KEY_BYTES)


def is_form(headers: Mapping[bytes, bytes]) -> None:
    """Raises Problem 415 for another body."""
    if headers.get(b"content-type", b"").partition(b";")[0].strip() != FORM:
        raise Problem(415, "send a form")


def pressed_of(body: bytes) -> Pressed | None:
    """The button that was pressed; None: the one for another click. Raises Problem 422."""
    try:
        fields = parse_qsl(
            body.decode("ascii"), keep_blank_values=True, strict_parsing=True, max_num_fields=2
        )
    except ValueError:
        raise Problem(422, "not the form of this page") from None
    sent = dict(fields)
    if len(sent) != len(fields):
        raise Problem(422, "a field of the form is named twice")
    if set(sent) == {ANOTHER}:
        return None
    item = asking.number_of(sent.get("item", ""))
    if set(sent) != {"key", "item"} or not item or not _is_page_key(sent["key"]):
        raise Problem(422, "not the form of this page")
    return Pressed(sent["key"], item)

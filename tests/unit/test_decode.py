"""Requests from bytes: every bad input has its reason, and nothing but Poison is ever raised."""

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from seckill.errors import Poison
from seckill.formats.outcomes import (
    DEFAULT_ACTIVITY,
    MAX_ID,
    MAX_ITEMS,
    MAX_QUANTITY,
    MAX_REQUEST_ID,
    MAX_TIME_MS,
)
from seckill.formats.request import Request, decode

GOOD = {"user_id": 564, "items": {"1001": 2, "1002": 1}, "request_initiation_time": 1795448539792}


def good(**changes: Any) -> bytes:
    return json.dumps({**GOOD, **changes}).encode()


def without(key: str) -> bytes:
    return json.dumps({k: v for k, v in GOOD.items() if k != key}).encode()


def items(text: str) -> bytes:
    return b'{"user_id":1,"items":{%s},"request_initiation_time":1}' % text.encode()


def tail(text: str) -> bytes:
    return b'{"user_id":1,"items":{"1":1},"request_initiation_time":1,%s}' % text.encode()


BAD: dict[str, tuple[bytes | None, str]] = {
    # No body, and what is no JSON.
    "tombstone": (None, "null value"),
    "empty body": (b"", "empty body"),
    "spaces": (b"  ", "truncated"),
    "broken JSON": (b'{"user_id": 564, "items', "truncated"),
    "JSON and more": (good() + b"x", "trailing characters"),
    "two requests": (good() + good(), "trailing characters"),
    "a megabyte of garbage": (bytes(range(256)) * 4096, "malformed"),
    "invalid UTF-8 in the request id": (
        tail('"request_id":"a').removesuffix(b"}") + b'\xff"}',
        "not UTF-8",
    ),
    "invalid UTF-8 in an unknown member": (
        tail('"x":"').removesuffix(b"}") + b'\xc3"}',
        "not UTF-8",
    ),
    "invalid UTF-8 in a key": (tail('"').removesuffix(b"}") + b'\xfe":1}', "not UTF-8"),
    "half a surrogate pair": (tail('"request_id":"\\ud800"'), "truncated"),
    "a byte order mark": (b"\xef\xbb\xbf" + good(), "malformed"),
    "UTF-16": (good().decode().encode("utf-16"), "malformed"),
    "deep nesting": (tail('"x":' + "[" * 100_000 + "]" * 100_000), "nested too deeply"),
    "deep nesting from the start": (b'{"a":' * 100_000, "nested too deeply"),
    # JSON of another shape.
    "a list": (b"[]", "got `array`"),
    "a number": (b"1", "got `int`"),
    "a text": (b'"x"', "got `str`"),
    "null": (b"null", "got `null`"),
    "another object": (b"{}", "user_id"),
    "no user": (without("user_id"), "user_id"),
    "no items": (without("items"), "items"),
    "no time": (without("request_initiation_time"), "request_initiation_time"),
    "items as a list": (good(items=[1001, 1002]), "$.items"),
    # Ids.
    "user 0": (good(user_id=0), "$.user_id"),
    "a negative user": (good(user_id=-5), "$.user_id"),
    "a float user": (good(user_id=1.5), "got `float` - at `$.user_id`"),
    "a float user that is whole": (good(user_id=1.0), "got `float` - at `$.user_id`"),
    "a text user": (good(user_id="564"), "got `str` - at `$.user_id`"),
    "a true user": (good(user_id=True), "got `bool` - at `$.user_id`"),
    "a user of 2^63": (good(user_id=2**63), "$.user_id"),
    "a user of 2^64 - 1": (good(user_id=2**64 - 1), "$.user_id"),
    "a user of 100 digits": (good(user_id=10**100), "$.user_id"),
    "activity 0": (good(activity_id=0), "$.activity_id"),
    "a negative activity": (good(activity_id=-1), "$.activity_id"),
    "an activity of 2^63": (good(activity_id=2**63), "$.activity_id"),
    # Items and quantities.
    "no item": (items(""), "length >= 1"),
    "51 items": (good(items={str(n): 1 for n in range(1, MAX_ITEMS + 2)}), "length <= 50"),
    "item 0": (items('"0":1'), "`key` in `$.items`"),
    "a negative item": (items('"-1":1'), "`key` in `$.items`"),
    "a float item": (items('"1.5":1'), "`key` in `$.items`"),
    "an item of 2^63": (items('"9223372036854775808":1'), "`key` in `$.items`"),
    "an item with a leading zero": (items('"01001":1'), "`key` in `$.items`"),
    "an item with a sign": (items('"+1":1'), "`key` in `$.items`"),
    "an item without a name": (items('"":1'), "`key` in `$.items`"),
    "an item in other digits": (items('"٣":1'), "`key` in `$.items`"),
    "an item that is no number": (items('"apple":1'), "`key` in `$.items`"),
    "quantity 0": (items('"1":0'), ">= 1"),
    "a negative quantity": (items('"1":-3'), ">= 1"),
    "a float quantity": (items('"1":1.5'), "got `float`"),
    "a quantity with an exponent": (items('"1":1e2'), "got `float`"),
    "a quantity above a million": (items(f'"1":{MAX_QUANTITY + 1}'), "<= 1000000"),
    "a quantity of 2^63": (items('"1":9223372036854775808'), "$.items"),
    "a null quantity": (items('"1":null'), "got `null`"),
    "a text quantity": (items('"1":"1"'), "got `str`"),
    # A key named twice.
    "the same item twice": (items('"1001":1,"1001":2'), "'1001' is named twice"),
    "the same item, once with an escape": (items('"\\u0031":1,"1":2'), "'1' is named twice"),
    "user_id twice": (tail('"user_id":2'), "'user_id' is named twice"),
    "user_id twice, the same": (tail('"user_id":1'), "'user_id' is named twice"),
    "items twice": (tail('"items":{"2":1}'), "'items' is named twice"),
    "an unknown key twice": (tail('"x":1,"x":2'), "'x' is named twice"),
    "a key twice deep inside": (tail('"x":[{"a":1,"a":1}]'), "'a' is named twice"),
    # Times.
    "a negative time": (good(request_initiation_time=-1), "$.request_initiation_time"),
    "a float time": (good(request_initiation_time=1.5), "$.request_initiation_time"),
    "a text time": (good(request_initiation_time="now"), "$.request_initiation_time"),
    "a time above 2^53": (good(request_initiation_time=2**53 + 1), "$.request_initiation_time"),
    # Request ids.
    "a long request id": (good(request_id="x" * (MAX_REQUEST_ID + 1)), "length <= 64"),
    "a request id that is a number": (good(request_id=5), "$.request_id"),
    "NUL in the request id": (good(request_id="a\0b"), "NUL"),
}


@pytest.mark.parametrize("name", BAD)
def test_a_bad_body_has_its_reason(name: str) -> None:
    value, reason = BAD[name]
    with pytest.raises(Poison) as poison:
        decode(value)
    text = str(poison.value)
    assert reason in text
    assert 0 < len(text) <= 300
    assert "\n" not in text


@pytest.mark.parametrize(
    ("value", "activity", "request_id"),
    [
        (good(), DEFAULT_ACTIVITY, None),
        (good(activity_id=7, request_id="r-1"), 7, "r-1"),
        (good(activity_id=None, request_id=None), DEFAULT_ACTIVITY, None),
        (good(request_id=""), DEFAULT_ACTIVITY, ""),
        (good(request_id="漢" * MAX_REQUEST_ID), DEFAULT_ACTIVITY, "漢" * MAX_REQUEST_ID),
        (good(colour="red: as ever", size={"a": 1, "b": {"a": 2}}), DEFAULT_ACTIVITY, None),
        (json.dumps(GOOD, indent=4).encode(), DEFAULT_ACTIVITY, None),
        (good(request_id=':":"'), DEFAULT_ACTIVITY, ':":"'),
    ],
)
def test_what_is_optional(value: bytes, activity: int, request_id: str | None) -> None:
    request = decode(value)
    assert request.user_id == 564
    assert request.items == {1001: 2, 1002: 1}
    assert request.activity == activity
    assert (request.request_id or None) == (request_id or None)


def test_the_limits_themselves_are_allowed() -> None:
    request = decode(
        good(
            user_id=MAX_ID,
            activity_id=MAX_ID,
            items={str(MAX_ID - n): MAX_QUANTITY for n in range(MAX_ITEMS)},
            request_initiation_time=MAX_TIME_MS,
        )
    )
    assert request.user_id == request.activity == MAX_ID
    assert request.items == {MAX_ID - n: MAX_QUANTITY for n in range(MAX_ITEMS)}
    assert decode(good(request_initiation_time=0)).request_initiation_time == 0


IDS = st.integers(1, MAX_ID)
TEXTS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=64)
REQUESTS = st.fixed_dictionaries(
    {
        "user_id": IDS,
        "items": st.dictionaries(IDS, st.integers(1, MAX_QUANTITY), min_size=1, max_size=MAX_ITEMS),
        "request_initiation_time": st.integers(0, MAX_TIME_MS),
    },
    optional={"activity_id": IDS, "request_id": TEXTS, "note": TEXTS},
)
JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=10,
)
# What somebody could send in place of a request: any bytes, any JSON, and nearly a request.
NEARLY = st.builds(
    lambda request, member, value: json.dumps({**request, member: value}).encode(),
    REQUESTS,
    st.sampled_from([*GOOD, "activity_id", "request_id"]),
    JSON_VALUES,
)
CUT = st.builds(
    lambda request, where, byte: (
        (text := json.dumps(request, ensure_ascii=False).encode())[: where % len(text)]
        + byte
        + text[where % len(text) + 1 :]
    ),
    REQUESTS,
    st.integers(0, 10_000),
    st.binary(max_size=3),
)
ANYTHING = st.binary(max_size=200) | JSON_VALUES.map(lambda v: json.dumps(v).encode())


@settings(derandomize=True, database=None, deadline=None, max_examples=300)
@given(value=ANYTHING | NEARLY | CUT)
def test_any_bytes_are_a_request_or_poison(value: bytes) -> None:
    try:
        request = decode(value)
    except Poison:
        return
    assert isinstance(request, Request)
    assert 1 <= request.user_id <= MAX_ID
    assert 1 <= request.activity <= MAX_ID
    assert 1 <= len(request.items) <= MAX_ITEMS
    assert all(1 <= i <= MAX_ID and 1 <= n <= MAX_QUANTITY for i, n in request.items.items())
    assert "\0" not in (request.request_id or "")
    # Python's own parser reads the same out of it.
    again = json.loads(value)
    assert again["user_id"] == request.user_id
    assert {int(item): n for item, n in again["items"].items()} == request.items


@settings(derandomize=True, database=None, deadline=None, max_examples=200)
@given(sent=REQUESTS, escaped=st.booleans(), indent=st.none() | st.integers(0, 3))
def test_a_valid_request_comes_back_as_it_was_sent(
    sent: dict[str, Any], escaped: bool, indent: int | None
) -> None:
    value = json.dumps(sent, ensure_ascii=escaped, indent=indent).encode()
    request = decode(value)
    assert request.user_id == sent["user_id"]
    assert list(request.items.items()) == list(sent["items"].items())
    assert request.request_initiation_time == sent["request_initiation_time"]
    assert request.activity == sent.get("activity_id", DEFAULT_ACTIVITY)
    assert (request.request_id or "") == sent.get("request_id", "")

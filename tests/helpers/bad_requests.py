"""Messages that are not requests, each with its reason."""

import json
from typing import Any

from seckill.formats.outcomes import MAX_ITEMS, MAX_QUANTITY, MAX_REQUEST_ID

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

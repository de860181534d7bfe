"""Bodies that are not requests: one for each way to break the format (`seckill.formats.request`).

Owns only the list. That module decides whether a body is INVALID, and a test compares the two.
Nothing here is random.
"""

from typing import NamedTuple

from seckill.formats.outcomes import MAX_ID, MAX_ITEMS, MAX_QUANTITY, MAX_REQUEST_ID, MAX_TIME_MS


class Malformed(NamedTuple):
    """A body, and a name for what is wrong. `heavy` ones are large, so few of them are sent."""

    name: str
    body: bytes | None
    heavy: bool = False


TIME = b"1795448539792"


def _request(
    user: bytes = b"564",
    items: bytes = b'{"1001":2}',
    time: bytes = TIME,
    more: bytes = b"",
) -> bytes:
    return b'{"user_id":%b,"items":%b,"request_initiation_time":%b%b}' % (user, items, time, more)


def _items(count: int) -> bytes:
    return b"{" + b",".join(b'"%d":1' % (1001 + n) for n in range(count)) + b"}"


MALFORMED: tuple[Malformed, ...] = (
    Malformed("empty", b""),
    Malformed("tombstone", None),
    Malformed("blank", b"   "),
    Malformed("not_json", b"one of 1001, please"),
    Malformed("broken_json", _request()[:-20]),
    Malformed("trailing_text", _request() + b" and one more"),
    Malformed("byte_order_mark", b"\xef\xbb\xbf" + _request()),
    Malformed("nan", _request(user=b"NaN")),
    Malformed("shape_list", b"[564,1001,2]"),
    Malformed("shape_number", b"42"),
    Malformed("shape_text", b'"564"'),
    Malformed("shape_null", b"null"),
    Malformed("shape_empty_object", b"{}"),
    Malformed("no_user", b'{"items":{"1001":2},"request_initiation_time":%b}' % TIME),
    Malformed("no_items", b'{"user_id":564,"request_initiation_time":%b}' % TIME),
    Malformed("no_time", b'{"user_id":564,"items":{"1001":2}}'),
    Malformed("items_empty", _request(items=b"{}")),
    Malformed("items_list", _request(items=b"[1001]")),
    Malformed("items_null", _request(items=b"null")),
    Malformed("items_51", _request(items=_items(MAX_ITEMS + 1))),
    Malformed("item_not_a_number", _request(items=b'{"phone":1}')),
    Malformed("item_zero", _request(items=b'{"0":1}')),
    Malformed("item_negative", _request(items=b'{"-1001":1}')),
    Malformed("item_float", _request(items=b'{"1001.5":1}')),
    Malformed("item_huge", _request(items=b'{"%d":1}' % (MAX_ID + 1))),
    Malformed("item_twice", _request(items=b'{"1001":1,"1001":2}')),
    Malformed("quantity_zero", _request(items=b'{"1001":0}')),
    Malformed("quantity_negative", _request(items=b'{"1001":-1}')),
    Malformed("quantity_float", _request(items=b'{"1001":1.5}')),
    Malformed("quantity_text", _request(items=b'{"1001":"2"}')),
    Malformed("quantity_too_many", _request(items=b'{"1001":%d}' % (MAX_QUANTITY + 1))),
    Malformed("quantity_huge", _request(items=b'{"1001":%d}' % 10**40)),
    Malformed("user_zero", _request(user=b"0")),
    Malformed("user_negative", _request(user=b"-564")),
    Malformed("user_float", _request(user=b"5.64")),
    Malformed("user_text", _request(user=b'"564"')),
    Malformed("user_true", _request(user=b"true")),
    Malformed("user_null", _request(user=b"null")),
    Malformed("user_64_bit", _request(user=b"%d" % (MAX_ID + 1))),
    Malformed("user_huge", _request(user=b"%d" % 10**40)),
    Malformed("user_twice", _request(more=b',"user_id":565')),
    Malformed("time_negative", _request(time=b"-1")),
    Malformed("time_text", _request(time=b'"now"')),
    Malformed("time_float", _request(time=b"1795448539.792")),
    Malformed("time_huge", _request(time=b"%d" % (MAX_TIME_MS + 1))),
    Malformed("activity_zero", _request(more=b',"activity_id":0')),
    Malformed("activity_text", _request(more=b',"activity_id":"spring"')),
    Malformed("request_id_number", _request(more=b',"request_id":7')),
    Malformed(
        "request_id_long", _request(more=b',"request_id":"%b"' % (b"x" * (MAX_REQUEST_ID + 1)))
    ),
    Malformed("not_utf8", _request(more=b',"request_id":"\xff\xfe"')),
    Malformed("deeply_nested", _request(more=b',"x":' + b"[" * 100_000), heavy=True),
    Malformed("garbage_1mb", bytes(range(256)) * 3_906, heavy=True),
)

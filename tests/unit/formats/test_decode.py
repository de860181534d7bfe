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
from tests.helpers.bad_requests import BAD, GOOD, good


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

"""Settlements from bytes: what is none has its reason, and nothing but Poison is ever raised."""

import json
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from seckill.errors import Poison
from seckill.formats.outcomes import MAX_ID, Unreadable
from seckill.formats.settle import (
    MAX_OFFSET,
    MAX_PARTITION,
    MAX_REFERENCE,
    Result,
    Settlement,
    decode,
    encode,
    key_of,
    request_topic,
    settle_topic,
)

SOURCE = "6f1b2c3d-0000-4000-8000-00000000000a"


def body(**members: Any) -> bytes:
    """A good body with these members changed; a member that is `...` is left out."""
    good: dict[str, Any] = {
        "activity_id": 1,
        "user_id": 7,
        "hold": [SOURCE, 2, 41],
        "result": "paid",
        "at": 1_700_000_000_000,
    }
    return json.dumps({k: v for k, v in (good | members).items() if v is not ...}).encode()


def test_what_is_encoded_is_decoded() -> None:
    told = Settlement(
        MAX_ID, MAX_ID, (SOURCE, MAX_PARTITION, MAX_OFFSET), Result.CANCELLED, 5, "pi_1"
    )
    assert decode(encode(told)) == told
    assert told.place == f"{SOURCE}:{MAX_PARTITION}:{MAX_OFFSET}"


@pytest.mark.parametrize(
    ("value", "result", "reference"),
    [
        (body(), Result.PAID, ""),
        (body(result="failed", reference=None), Result.FAILED, ""),
        (body(result="cancelled", reference=""), Result.CANCELLED, ""),
        (body(reference="a:b 付款"), Result.PAID, "a:b 付款"),
        (body(reference="x" * MAX_REFERENCE), Result.PAID, "x" * MAX_REFERENCE),
        (body(note={"from": "a later version"}), Result.PAID, ""),
    ],
)
def test_a_good_body(value: bytes, result: Result, reference: str) -> None:
    found = decode(value)
    assert (found.activity_id, found.user_id, found.result) == (1, 7, result)
    assert (found.reference or "") == reference


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (None, "null value"),
        (b"", "empty body"),
        (Unreadable("it is damaged"), "it is damaged"),
        (b"[]", "object"),
        (b"\xff", "malformed"),
        (body(note=0)[:-2] + b"[" * 5000, "nested"),
        (body(result="refunded"), "refunded"),
        (body(result=...), "result"),
        (body(hold=...), "hold"),
        (body(at=...), "at"),
        (body(user_id=0), "user_id"),
        (body(activity_id=MAX_ID + 1), "activity_id"),
        (body(hold=[SOURCE, 2]), "hold"),
        (body(hold=[SOURCE, -1, 41]), "hold"),
        (body(hold=[SOURCE, 2, MAX_OFFSET + 1]), "hold"),
        (body(hold=["seckill:1", 2, 41]), "no topic's id"),
        (body(hold=[SOURCE.upper(), 2, 41]), "no topic's id"),
        (body(reference="x" * (MAX_REFERENCE + 1)), "reference"),
        (body(reference="a\nb"), "cannot be printed"),
        (body(reference="\ud800"), "truncated"),
        (body()[:-1] + b', "result": "cancelled"}', "'result' is named twice"),
    ],
)
def test_a_bad_body_has_its_reason(value: bytes | None, reason: str) -> None:
    with pytest.raises(Poison, match=reason) as poison:
        decode(value)
    assert 0 < len(str(poison.value)) <= 300


@settings(max_examples=300)
@given(st.one_of(st.binary(max_size=80), st.integers(0, 400).map(lambda n: body()[:n] + b"}")))
def test_any_bytes_are_a_settlement_or_poison(value: bytes) -> None:
    with suppress(Poison):
        assert isinstance(decode(value), Settlement)


def test_the_key_and_the_topic() -> None:
    assert key_of(7) == b"7"
    assert settle_topic("seckill_requests") == "seckill_requests.settle"
    assert request_topic(settle_topic("a.settle")) == "a.settle"

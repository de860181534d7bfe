"""Records back from the list's text: what is one, what is none and why, and its identity."""

import json
from typing import Any
from uuid import UUID

import pytest

from seckill.errors import Poison
from seckill.formats.outcomes import MAX_ID
from seckill.formats.record import LatePayment, parse

SOURCE = "0f9a2c51-6f0e-4b8e-9d0c-3a54f1f2a111"
# A record as the script writes it.
TEXT = (
    '{"user_id":564,"activity_id":1,"item_id":1001,"quantity":2,"cost_ms":12,"status":"success",'
    f'"timestamp":1795448539,"source":"{SOURCE}","partition":3,"offset":70,"version":4}}'
)


def changed(**members: Any) -> bytes:
    return json.dumps({**json.loads(TEXT), **members}).encode()


def test_a_record() -> None:
    record = parse(TEXT.encode())
    assert (record.user_id, record.activity_id, record.item_id) == (564, 1, 1001)
    assert (record.quantity, record.cost_ms, record.status) == (2, 12, "success")
    assert (record.timestamp, record.version, record.request_id) == (1795448539, 4, None)
    assert record.identity == (UUID(SOURCE), 3, 70, 1001)
    assert parse(changed(request_id='a"b')).request_id == 'a"b'
    assert parse(changed(more="is ignored")).identity == record.identity


def test_a_hold_and_its_settlements() -> None:
    plain = parse(TEXT.encode())
    assert (plain.kind, plain.due, plain.settled_by, plain.reference) == ("accepted", *[None] * 3)
    assert (parse(changed(due=1795448639000)).due, parse(changed(due=1)).kind) == (
        1795448639000, "accepted"
    )  # fmt: skip
    paid = parse(changed(status="paid", settled_by=[SOURCE, 1, 7], reference="pi_1"))
    assert (paid.kind, paid.settled_by, paid.reference) == ("paid", (SOURCE, 1, 7), "pi_1")
    # The hold's own place, and a settlement is no second record of it.
    assert paid.identity == plain.identity
    assert [parse(changed(status=s)).kind for s in ("expired", "cancelled")] == [
        "expired", "cancelled"
    ]  # fmt: skip


LATE = {"status": "too_late", "item_id": 0, "quantity": 0, "settled_by": [SOURCE, 1, 7]}


def test_a_payment_that_came_too_late_moves_no_units() -> None:
    late = parse(changed(**LATE, reference="pi_1"))
    assert isinstance(late, LatePayment)
    assert (late.kind, late.quantity, late.settled_by) == ("too_late", 0, (SOURCE, 1, 7))
    assert hash(late) != hash(parse(changed(**LATE, reference="pi_2")))
    for wrong in ({"status": "success"}, {"settled_by": None}, {"settled_by": ["x", 1, 7]}):
        with pytest.raises(Poison):
            parse(changed(**{**LATE, **wrong}))


def test_the_identity_is_the_message_and_the_item() -> None:
    same = {parse(changed(user_id=n, cost_ms=n, version=n)).identity for n in (1, 2)}
    assert len(same) == 1
    others = [
        changed(source="0f9a2c51-6f0e-4b8e-9d0c-3a54f1f2a112"),
        changed(partition=4),
        changed(offset=71),
        changed(item_id=1002),
    ]
    assert len({parse(raw).identity for raw in others} | same) == 5


def test_the_largest_values() -> None:
    record = parse(changed(user_id=MAX_ID, item_id=MAX_ID, activity_id=MAX_ID, offset=MAX_ID))
    assert record.user_id == record.item_id == record.activity_id == record.offset == MAX_ID


@pytest.mark.parametrize(
    ("raw", "reason"),
    [
        (b"", "truncated"),
        (b"junk", "malformed"),
        (b"[]", "array"),
        (b"{}", "user_id"),
        (TEXT.encode()[:-1], "truncated"),
        (TEXT.encode().replace(b"success", b"succ\xff"), ""),
        (changed(user_id=0), "$.user_id"),
        (changed(user_id=2**63), "$.user_id"),
        (changed(item_id="1001"), "$.item_id"),
        (changed(quantity=0), "$.quantity"),
        (changed(quantity=1.5), "$.quantity"),
        (changed(cost_ms=-1), "$.cost_ms"),
        (changed(status="x" * 33), "$.status"),
        (changed(timestamp=10**12), "$.timestamp"),
        (changed(source="seckill"), "$.source"),
        (changed(partition=2**31), "$.partition"),
        (changed(offset=-1), "$.offset"),
        (changed(version=None), "$.version"),
        (changed(due=-1), "$.due"),
        (changed(settled_by=[SOURCE, 1]), "$.settled_by"),
        (changed(settled_by=["a topic", 1, 7]), "UUID"),
        (changed(reference="x" * 129), "$.reference"),
        # The original's seven members alone: nobody can tell whether it is stored already.
        (json.dumps({k: v for k, v in json.loads(TEXT).items() if k != "offset"}).encode(),
         "offset"),
    ],
    ids=range(23),
)  # fmt: skip
def test_what_is_no_record_has_its_reason(raw: bytes, reason: str) -> None:
    with pytest.raises(Poison) as poison:
        parse(raw)
    assert reason in str(poison.value)
    assert 0 < len(str(poison.value)) <= 300

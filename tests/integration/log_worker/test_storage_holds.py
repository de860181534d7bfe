"""What became of holds, into PostgreSQL: once each, in order, counted with the same commit."""

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest
from django.db import connection

from seckill.formats.record import WireRecord
from seckill.models import DeadRecord, Item, LatePayment, Record, Settlement
from tests.helpers.books import Books, record, sold
from tests.helpers.holds import DUE_MS, SETTLE_SOURCE, cancelled, expired, held, late, paid


@pytest.fixture
def storage(pg_dsn: str) -> Iterator[Books]:
    """Books on the empty test database."""
    books = Books(pg_dsn)
    yield books
    books.storage.close()


def kinds() -> dict[int, str]:
    """{offset of the hold: how it ended}"""
    return dict(Settlement.objects.values_list("offset", "kind"))


def returned() -> dict[tuple[int, int], int]:
    """{(activity, item): returned} as the inventory says."""
    return {(i.activity_id, i.item_id): i.returned for i in Item.objects.all()}


def test_rows_have_what_the_entries_had(storage: Books) -> None:
    entries = [held(70), record(71), paid(70, 5, reference="pi_1"), held(72), expired(72)]
    assert storage.store([*entries, late(72, 6, reference="pi_2")]) == 6
    due = Record.objects.get(offset=70).due
    assert due is not None
    assert round(due.timestamp() * 1000) == DUE_MS
    assert Record.objects.get(offset=71).due is None
    row = Settlement.objects.get(offset=70)
    assert (row.user_id, row.activity_id, row.item_id, row.quantity) == (564, 1, 1001, 2)
    assert (row.kind, row.reference, row.ts) == (
        "paid", "pi_1", datetime.fromtimestamp(1795448539, UTC)
    )  # fmt: skip
    assert (str(row.settle_source), row.settle_partition, row.settle_offset) == (
        SETTLE_SOURCE, 1, 5
    )  # fmt: skip
    assert Settlement.objects.get(offset=72).settle_source is None
    money = LatePayment.objects.get()
    assert (money.offset, money.user_id, money.reference, money.settle_offset) == (
        72, 564, "pi_2", 6
    )  # fmt: skip


def test_units_come_back_and_are_counted_once(storage: Books) -> None:
    entries = [*(held(n) for n in range(6)), paid(0, 0), expired(1), cancelled(2, 1), expired(3)]
    assert storage.store(entries) == 10
    assert (sold(), returned()) == ({(1, 1001): 6}, {(1, 1001): 6})
    # The same batch again, and one that overlaps it.
    assert storage.store(entries) == 0
    assert storage.store([*entries[5:], expired(4), late(4, 2)]) == 2
    assert storage.store([late(4, 2)]) == 0
    assert storage.refused == []
    assert (sold(), returned()) == ({(1, 1001): 4}, {(1, 1001): 8})
    assert kinds() == {0: "paid", 1: "expired", 2: "cancelled", 3: "expired", 4: "expired"}
    assert LatePayment.objects.count() == 1


def test_a_sale_its_return_and_the_second_sale_in_one_batch(storage: Books) -> None:
    entries = [
        *(held(1), held(1, item_id=1002)),
        *(expired(1), expired(1, item_id=1002)),
        *(held(2, user_id=565), paid(2, 0, user_id=565)),
    ]
    assert storage.store(entries) == 6
    assert sold() == {(1, 1001): 2, (1, 1002): 0}
    assert returned() == {(1, 1001): 2, (1, 1002): 2}


def test_a_settlement_without_its_order_is_kept_apart(storage: Books) -> None:
    alone = [expired(1), paid(2, 0), held(3), expired(3, quantity=1), expired(3, user_id=9)]
    assert storage.store(alone) == 1
    assert len(storage.refused) == 4
    assert all("the order that it settles is not stored" in why for why in storage.refused)
    assert (sold(), returned(), kinds()) == ({(1, 1001): 2}, {(1, 1001): 0}, {})
    assert set(DeadRecord.objects.values_list("offset", "entry")) == {
        (1, "expired"), (2, "paid"), (3, "expired")
    }  # fmt: skip


def test_a_replay_settles_the_dead(storage: Books) -> None:
    storage.store([expired(1)])
    assert storage.storage.count_dead() == 1
    # Its order comes, by a replay of its own. Only then the settlement can be replayed.
    storage.store([held(1)])
    assert storage.storage.count_dead() == 1
    assert DeadRecord.objects.filter(DeadRecord.settled()).count() == 0
    storage.store([expired(1)])
    assert storage.storage.count_dead() == 0
    assert DeadRecord.objects.filter(DeadRecord.settled()).count() == 1
    assert sold() == {(1, 1001): 0}


@pytest.mark.parametrize(
    ("second", "why"),
    [
        (paid(1, 9), "settled otherwise: expired, user 564, activity 1, quantity 2"),
        (cancelled(1, 9), "settled otherwise"),
    ],
    ids=["paid", "cancelled"],
)
def test_a_hold_is_settled_once(storage: Books, second: WireRecord, why: str) -> None:
    storage.store([held(1), expired(1)])
    assert storage.store([second, held(2), paid(2, 10)]) == 2
    assert [why in reason for reason in storage.refused] == [True]
    assert kinds() == {1: "expired", 2: "paid"}
    assert (sold(), returned()) == ({(1, 1001): 2}, {(1, 1001): 2})


@pytest.mark.parametrize(
    ("again", "refused"),
    [
        (paid(1, 5, reference="pi_1"), False),
        (paid(1, 5, reference="pi_2"), True),
        (paid(1, 6, reference="pi_1"), True),
    ],
    ids=["the same", "another reference", "another message"],
)
def test_content_is_compared(storage: Books, again: WireRecord, refused: bool) -> None:
    storage.store([held(1), paid(1, 5, reference="pi_1")])
    assert storage.store([again]) == 0
    assert bool(storage.refused) is refused


@pytest.mark.parametrize("stored", [None, False, True])
@pytest.mark.parametrize("again", [None, False, True])
def test_an_expiry_says_one_thing_about_the_limit(
    storage: Books, stored: bool | None, again: bool | None
) -> None:
    """That an earlier version did not say it is no difference."""
    storage.store([held(1), expired(1, forgiven=stored)])
    assert Settlement.objects.get().forgiven is stored
    assert storage.store([expired(1, forgiven=again)]) == 0
    assert bool(storage.refused) is ({stored, again} == {False, True})


def test_a_late_payment_belongs_to_one_hold(storage: Books) -> None:
    assert storage.store([late(1, 5)]) == 1
    assert storage.store([late(2, 5), late(2, 6)]) == 1
    assert len(storage.refused) == 1
    assert "stored with another hold" in storage.refused[0]
    assert set(LatePayment.objects.values_list("offset", "settle_offset")) == {(1, 5), (2, 6)}


@pytest.mark.parametrize(
    "wrong",
    [{"reference": "a\0b"}, {"settled_by": None}],
    ids=["NUL in the reference", "paid by nobody"],
)
def test_what_postgresql_refuses_is_kept_apart_and_the_rest_is_stored(
    storage: Books, wrong: dict[str, Any]
) -> None:
    entries = [held(1), held(2), held(3), expired(1), paid(2, 5, **wrong), cancelled(3, 6)]
    assert storage.store(entries) == 5
    assert len(storage.refused) == 1
    assert kinds() == {1: "expired", 3: "cancelled"}
    assert (sold(), returned()) == ({(1, 1001): 2}, {(1, 1001): 4})
    assert DeadRecord.objects.get().entry == "paid"


def test_a_refused_order_takes_its_settlement_with_it(storage: Books) -> None:
    entries = [held(1, request_id="a\0b"), expired(1), held(2), paid(2, 0)]
    assert storage.store(entries) == 2
    assert len(storage.refused) == 2
    assert set(DeadRecord.objects.values_list("offset", "entry")) == {
        (1, "accepted"), (1, "expired")
    }  # fmt: skip
    assert (sold(), returned()) == ({(1, 1001): 2}, {(1, 1001): 0})


@pytest.mark.parametrize("table", ["seckill_settlement", "seckill_latepayment"])
def test_ids_that_are_behind_are_skipped(storage: Books, table: str) -> None:
    entries = [held(1), expired(1), late(1, 0), held(2), expired(2), late(2, 1)]
    storage.store(entries[:3])
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT setval(pg_get_serial_sequence('{table}', 'id'), 1, false)")
    assert storage.store(entries[3:]) == 3
    assert storage.refused == []

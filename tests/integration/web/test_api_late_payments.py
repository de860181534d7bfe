"""/v1/late-payments: the list, and the tick of whoever has paid one back."""

import uuid

import pytest
from django.utils import timezone

from seckill.models import LatePayment, StockChange
from tests.integration.web.pages import Ask

pytestmark = pytest.mark.django_db


def late(offset: int, activity: int = 1) -> LatePayment:
    """Money for a hold that had ended."""
    place = {"source": uuid.UUID(int=1), "partition": 0, "offset": offset}
    return LatePayment.objects.create(
        settle_source=uuid.UUID(int=2), settle_partition=0, settle_offset=offset, **place,
        user_id=7, activity_id=activity, reference=f"pi_{offset}", ts=timezone.now(),
    )  # fmt: skip


def listed(ask: Ask, query: str = "") -> list[str]:
    """The references of a list."""
    page = ask("GET", f"/v1/late-payments?{query}").json()
    return [payment["reference"] for payment in page["late_payments"]]


def test_one_is_ticked_off_once(ask: Ask) -> None:
    first, _, other = late(1), late(2), late(3, activity=2)
    assert listed(ask) == ["pi_3", "pi_2", "pi_1"]
    assert listed(ask, f"limit=1&before={other.pk}") == ["pi_2"]
    assert listed(ask, "activity_id=2") == ["pi_3"]
    tick = f"/v1/late-payments/{first.pk}/settle"
    told = ask("POST", tick, {"note": "refunded: re_1"})
    assert told.status_code == 200
    assert (told.json()["state"], told.json()["note"]) == ("settled", "refunded: re_1")
    assert told.json()["settled_by"]
    assert (listed(ask, "state=open"), listed(ask, "state=settled")) == (["pi_3", "pi_2"], ["pi_1"])
    # A repeat gets the first tick, and is no second row of the journal.
    assert ask("POST", tick, {"note": "again"}).json() == told.json()
    entry = StockChange.objects.get(act="late_payment")
    assert (entry.note, entry.new) == ("refunded: re_1", {"pi_1": "settled"})


def test_what_is_refused(ask: Ask) -> None:
    unknown = ask("POST", "/v1/late-payments/999/settle")
    assert unknown.status_code == 404
    assert unknown.json()["detail"] == "late payment 999 is not known"
    assert ask("POST", f"/v1/late-payments/{late(1).pk}/settle", {"amount": 1}).status_code == 422
    assert ask("GET", "/v1/late-payments?state=lost").status_code == 422
    assert listed(ask, "state=open") == ["pi_1"]

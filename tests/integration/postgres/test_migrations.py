"""Migrations that move data: on the tables of the version before."""

import pytest
from django.core.management import call_command

from seckill.models import DeadRecord
from tests.helpers import sale

pytestmark = pytest.mark.django_db


def migrate(to: str = "") -> None:
    """Forwards or backwards."""
    call_command("migrate", "seckill", *([to] if to else []), verbosity=0)


def test_0005_gives_older_dead_records_their_request_id() -> None:
    for raw in (
        sale.record(1, offset=1, request_id="r-1"),
        sale.record(2, offset=2),
        sale.record(3, offset=3, request_id="r-3"),
        b"no record",
    ):
        sale.keep_dead(raw)
    DeadRecord.objects.filter(user_id=1).update(request_id=None)
    broken = sale.record(4, offset=4, request_id="r-4")
    sale.keep_dead(broken)
    DeadRecord.objects.filter(user_id=4).update(request_id=None, raw=broken[:-1])
    migrate("0004_clicks")
    migrate()
    found = DeadRecord.objects.order_by("id").values_list("user_id", "request_id")
    assert list(found) == [(1, "r-1"), (2, None), (3, "r-3"), (None, None), (4, None)]

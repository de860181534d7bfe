"""Dead records in the admin: what could not be stored is shown with its reason, and as it stands
now.
"""

from django.test import Client

from seckill.dead_letters.records import Kind
from seckill.models import DeadRecord, Record
from tests.helpers.sale import SOURCE, keep_dead
from tests.integration.web.pages import rows, text

DEAD = "/admin/seckill/deadrecord/"
RAW = (
    b'{"user_id":5,"activity_id":1,"item_id":1001,"quantity":2,"cost_ms":1,"status":"success",'
    b'"timestamp":1795448539,"source":"%b","partition":3,"offset":%d,"version":1}'
)


def raw(offset: int) -> bytes:
    return RAW % (SOURCE.encode(), offset)


def test_each_with_its_reason_and_its_state(observer: Client) -> None:
    keep_dead(raw(1), "value out of range")
    keep_dead(raw(2), "another order")
    keep_dead(b"\x1b]0;junk\x07", "malformed", Kind.UNREADABLE)
    DeadRecord.objects.filter(kind="unreadable").update(dismissed_at="2026-01-01T00:00:00Z")
    Record.objects.create(
        user_id=5, activity_id=1, item_id=1001, quantity=2, cost_ms=1, status="success",
        ts="2026-01-01T00:00:00Z", source=SOURCE, partition=3, offset=2, version=1,
    )  # fmt: skip
    page = observer.get(DEAD)
    shown = text(page)
    assert len(rows(page)) == 3
    for words in ("value out of range", f"{SOURCE}:3:1", "needs a person", "stored later"):
        assert words in shown
    assert "dismissed" in shown
    assert "value out of range" in text(observer.get(DEAD + "?state=open"))
    assert len(rows(observer.get(DEAD + "?state=settled"))) == 1
    assert len(rows(observer.get(DEAD + "?kind=unreadable"))) == 1
    one = observer.get(f"{DEAD}{DeadRecord.objects.get(kind='unreadable').pk}/change/")
    assert "\\x1b]0;junk\\x07" in text(one)
    assert b"\x1b" not in one.content


def test_nobody_changes_or_deletes_them(boss: Client) -> None:
    keep_dead(raw(1))
    page = f"{DEAD}{DeadRecord.objects.get().pk}/"
    assert boss.post(page + "delete/", {"post": "yes"}).status_code == 403
    assert boss.post(page + "change/", {"reason": "x"}).status_code == 403
    assert boss.get(DEAD + "export/").status_code == 200

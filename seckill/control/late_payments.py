"""Late payments, settled by a person: money for a hold that had ended, which was paid back.

Owns that act and its row in the journal. It changes nothing in Redis and no version of an activity.
"""

from collections.abc import Sequence

from django.db import transaction
from django.utils import timezone

from seckill.control.acts import LATE_PAYMENT
from seckill.control.journal import postgres_errors
from seckill.models import LatePayment, StockChange


def settle(ids: Sequence[int], actor: str, note: str) -> list[LatePayment]:
    """Tick these off, each with its row in the journal, all or none. Returns those that were open.

    Safe to repeat: what is ticked off stays as it is. Raises PostgresAway.
    """
    with postgres_errors(), transaction.atomic():
        rows = LatePayment.objects.filter(pk__in=ids, resolved_at=None).order_by("pk")
        late = list(rows.select_for_update())
        now = timezone.now()
        for payment in late:
            payment.resolved_at, payment.resolved_by, payment.note = now, actor[:150], note
            payment.save(update_fields=["resolved_at", "resolved_by", "note"])
            StockChange.objects.create(
                actor=actor[:150],
                act=LATE_PAYMENT,
                activity_id=payment.activity_id,
                old={name_of(payment): "open"},
                new={name_of(payment): "settled"},
                state=StockChange.State.APPLIED,
                note=note,
            )
        return late


def name_of(payment: LatePayment) -> str:
    """A payment as the shop knows it; the place of its hold if the shop named none."""
    hold = f"{payment.source}:{payment.partition}:{payment.offset}"
    return payment.reference or hold

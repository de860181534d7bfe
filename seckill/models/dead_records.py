"""Dead records: entries of the list that could not become a row."""

from typing import ClassVar

from django.db import models
from django.db.models import Exists, OuterRef, Q, Value
from django.db.models.functions import Coalesce
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from seckill.formats import record as formats
from seckill.formats.record import CLICK, SAME_ORDER
from seckill.models.orders import LatePayment, Record, Settlement


class DeadRecord(models.Model):
    """An entry of the list that could not become a row: see `seckill.dead_letters.records`."""

    class Kind(models.TextChoices):
        """Why it could not be stored."""

        REFUSED = "refused", _("refused by PostgreSQL")
        UNREADABLE = "unreadable", _("no record")
        OVERLAP = "overlap", _("decided on a Redis that did not lead")

    # Where it came from. By this the same entry is recognized when it is read again.
    place = models.CharField(unique=True, max_length=300, editable=False)
    kind = models.CharField(_("kind"), max_length=12, choices=Kind.choices)
    reason = models.CharField(_("reason"), max_length=500)
    raw = models.BinaryField(_("text"))
    source = models.UUIDField(_("source"), null=True)
    partition = models.IntegerField(_("partition"), null=True)
    offset = models.BigIntegerField(_("offset"), null=True)
    item_id = models.BigIntegerField(_("item"), null=True)
    activity_id = models.BigIntegerField(_("activity"), null=True)
    user_id = models.BigIntegerField(_("user"), null=True)
    quantity = models.BigIntegerField(_("quantity"), null=True)
    request_id = models.TextField(_("request id"), null=True)
    # "accepted" for a record. For what became of a hold: paid, expired, cancelled, too_late.
    entry = models.CharField(
        _("entry"), max_length=10, default=formats.ACCEPTED, db_default=formats.ACCEPTED
    )
    at = models.DateTimeField(_("when"))
    # When somebody settled it by hand. It raises no alarm any more, but still counts as sold.
    dismissed_at = models.DateTimeField(_("dismissed"), null=True)
    dismissed_by = models.CharField(
        _("dismissed by"), max_length=150, blank=True, default="", db_default=""
    )
    note = models.CharField(_("note"), max_length=500, blank=True, default="", db_default="")

    class Meta:
        verbose_name = _("dead record")
        verbose_name_plural = _("dead records")
        ordering: ClassVar = ["-id"]
        indexes: ClassVar = [
            models.Index(fields=["source", "partition", "offset"], name="dead_record_origin"),
            models.Index(
                fields=["request_id"],
                name="dead_record_request",
                condition=Q(request_id__isnull=False),
            ),
        ]

    def __str__(self) -> str:
        return gettext("dead record %(id)s") % {"id": self.pk}

    @staticmethod
    def settled() -> Q:
        """Whether a row with the same identity and content has been stored since: for a filter."""
        same = {name: OuterRef(name) for name in SAME_ORDER}
        late = {name: same[name] for name in ("source", "partition", "offset", "user_id")}
        rows = Record.objects.filter(**same).alias(click=Coalesce(CLICK, Value("")))
        return Q(
            (
                Q(entry=formats.ACCEPTED)
                & Exists(rows.filter(click=Coalesce(OuterRef(CLICK), Value(""))))
            )
            | Exists(Settlement.objects.filter(**same, kind=OuterRef("entry")))
            | (Q(entry=formats.TOO_LATE) & Exists(LatePayment.objects.filter(**late)))
        )

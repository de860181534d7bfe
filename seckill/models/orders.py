"""Orders: the records of accepted requests, how holds ended, and payments that came too late."""

from typing import ClassVar

from django.db import models
from django.db.models import Q
from django.utils.translation import gettext, pgettext_lazy
from django.utils.translation import gettext_lazy as _

from seckill.formats import record as formats
from seckill.formats.outcomes import MAX_REQUEST_ID


class Record(models.Model):
    """One accepted item of a request: an order line. Written once, only by the log worker."""

    user_id = models.BigIntegerField(_("user"))
    activity_id = models.BigIntegerField(_("activity"))
    item_id = models.BigIntegerField(_("item"))
    quantity = models.BigIntegerField(_("quantity"))
    cost_ms = models.BigIntegerField(_("latency, ms"))
    status = models.CharField(_("status"), max_length=32)
    ts = models.DateTimeField(_("decided at"))
    # The identity: which Kafka message it comes from, and which item of that message it is.
    source = models.UUIDField(_("source"), help_text=_("Kafka's id of the topic."))
    partition = models.IntegerField(_("partition"))
    offset = models.BigIntegerField(_("offset"))
    request_id = models.CharField(_("request id"), max_length=MAX_REQUEST_ID, null=True, blank=True)
    version = models.BigIntegerField(_("version"), help_text=_("Of the sale, when decided."))
    due = models.DateTimeField(
        _("due"), null=True, help_text=_("Until when it may be paid. Empty: sold at once.")
    )

    class Meta:
        verbose_name = _("order")
        verbose_name_plural = _("orders")
        ordering: ClassVar = ["-id"]
        constraints: ClassVar = [
            models.UniqueConstraint(
                fields=["source", "partition", "offset", "item_id"], name="record_stored_once"
            ),
            models.CheckConstraint(condition=Q(quantity__gte=1), name="record_quantity_positive"),
        ]
        # Each index costs the log worker time. Each makes one search or filter of the admin fast
        # at ten million orders. All but the first grow at their right end.
        indexes: ClassVar = [
            models.Index(fields=["user_id"], name="record_user"),
            models.Index(fields=["activity_id", "item_id"], name="record_item"),
            models.Index(fields=["ts"], name="record_ts"),
            models.Index(
                fields=["request_id"],
                name="record_request",
                condition=Q(request_id__isnull=False),
            ),
        ]

    def __str__(self) -> str:
        return gettext("order %(id)s") % {"id": self.pk}


class Settlement(models.Model):
    """What became of one item of a hold. A hold is settled once. Only the log worker writes it."""

    class Kind(models.TextChoices):
        """How a hold ended. The last two give the units back."""

        PAID = formats.PAID, _("paid")
        EXPIRED = formats.EXPIRED, pgettext_lazy("hold", "expired")
        CANCELLED = formats.CANCELLED, _("cancelled")

    # The identity: that of the record which it settles.
    source = models.UUIDField(_("source"))
    partition = models.IntegerField(_("partition"))
    offset = models.BigIntegerField(_("offset"))
    item_id = models.BigIntegerField(_("item"))
    user_id = models.BigIntegerField(_("user"))
    activity_id = models.BigIntegerField(_("activity"))
    quantity = models.BigIntegerField(_("quantity"))
    kind = models.CharField(_("kind"), max_length=10, choices=Kind.choices)
    ts = models.DateTimeField(_("settled at"))
    # The settle message. Nobody sends one for a hold that expires.
    settle_source = models.UUIDField(null=True)
    settle_partition = models.IntegerField(null=True)
    settle_offset = models.BigIntegerField(null=True)
    reference = models.CharField(_("reference"), max_length=formats.MAX_REFERENCE, null=True)
    # Of an expired hold: whether it counts against the user's limit no more. NULL: nobody knows,
    # and the setting `expired_gives_back` says it.
    forgiven = models.BooleanField(null=True)

    class Meta:
        verbose_name = _("settlement")
        verbose_name_plural = _("settlements")
        ordering: ClassVar = ["-id"]
        constraints: ClassVar = [
            models.UniqueConstraint(
                fields=["source", "partition", "offset", "item_id"], name="hold_settled_once"
            ),
            models.CheckConstraint(
                condition=Q(quantity__gte=1), name="settlement_quantity_positive"
            ),
            models.CheckConstraint(
                condition=Q(
                    kind=formats.EXPIRED,
                    settle_source__isnull=True,
                    settle_partition__isnull=True,
                    settle_offset__isnull=True,
                )
                | Q(
                    kind__in=[formats.PAID, formats.CANCELLED],
                    settle_source__isnull=False,
                    settle_partition__isnull=False,
                    settle_offset__isnull=False,
                ),
                name="settlement_has_its_message",
            ),
        ]
        indexes: ClassVar = [
            # The last message of each settle partition that is stored: from there a recovery goes
            # on.
            models.Index(
                fields=["settle_source", "settle_partition", "settle_offset"],
                name="settlement_message",
                condition=Q(settle_source__isnull=False),
            ),
        ]

    def __str__(self) -> str:
        return gettext("settlement %(id)s") % {"id": self.pk}


class LatePayment(models.Model):
    """Money for a hold that had expired or was given back: somebody must pay it back."""

    # The identity: the settle message that reported it.
    settle_source = models.UUIDField()
    settle_partition = models.IntegerField()
    settle_offset = models.BigIntegerField()
    # The hold.
    source = models.UUIDField(_("source"))
    partition = models.IntegerField(_("partition"))
    offset = models.BigIntegerField(_("offset"))
    user_id = models.BigIntegerField(_("user"))
    activity_id = models.BigIntegerField(_("activity"))
    reference = models.CharField(_("reference"), max_length=formats.MAX_REFERENCE, null=True)
    ts = models.DateTimeField(_("decided at"))
    # When somebody has paid it back.
    resolved_at = models.DateTimeField(_("resolved"), null=True)
    resolved_by = models.CharField(
        _("resolved by"), max_length=150, blank=True, default="", db_default=""
    )
    note = models.CharField(_("note"), max_length=500, blank=True, default="", db_default="")

    class Meta:
        verbose_name = _("late payment")
        verbose_name_plural = _("late payments")
        ordering: ClassVar = ["-id"]
        constraints: ClassVar = [
            models.UniqueConstraint(
                fields=["settle_source", "settle_partition", "settle_offset"],
                name="late_payment_once",
            ),
        ]
        indexes: ClassVar = [
            models.Index(fields=["source", "partition", "offset"], name="late_payment_hold"),
        ]

    def __str__(self) -> str:
        return gettext("late payment %(id)s") % {"id": self.pk}

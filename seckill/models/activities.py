"""Activities and their items: what is on sale, when, and how much of it."""

from typing import ClassVar

from django.core.validators import MaxValueValidator, MinValueValidator
from django.db import models
from django.db.models import Q
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from seckill.formats.lanes import MAIN
from seckill.formats.outcomes import DEFAULT_ACTIVITY, MAX_UNITS

# The longest time that a hold may have: a week.
MAX_HOLD_S = 604_800


class Activity(models.Model):
    """One sale: its time window, its limit per user, the maximum age of a request."""

    id = models.BigIntegerField(
        _("number"),
        primary_key=True,
        default=DEFAULT_ACTIVITY,
        validators=[MinValueValidator(1)],
        help_text=_("What requests name as activity_id."),
    )
    name = models.CharField(_("name"), max_length=200, blank=True)
    opens_at = models.DateTimeField(
        _("opens at"), null=True, blank=True, help_text=_("Empty: open from the start.")
    )
    closes_at = models.DateTimeField(
        _("closes at"), null=True, blank=True, help_text=_("Empty: open until it is finished.")
    )
    user_limit = models.BigIntegerField(
        _("units per user"),
        null=True,
        blank=True,
        validators=[MinValueValidator(1), MaxValueValidator(MAX_UNITS)],
        help_text=_("The most units that one user gets. Empty: no limit."),
    )
    timeout_ms = models.BigIntegerField(
        _("timeout, ms"),
        null=True,
        blank=True,
        validators=[MinValueValidator(1)],
        help_text=_("Requests older than this expire. Empty: what the consumers are started with."),
    )
    hold_s = models.BigIntegerField(
        _("hold, s"),
        null=True,
        blank=True,
        validators=[MinValueValidator(1), MaxValueValidator(MAX_HOLD_S)],
        help_text=_(
            "How long an accepted request may wait for payment. Empty: it is sold at once."
        ),
    )
    # Chosen when it is made. Redis holds it in this lane alone, so it can never change.
    lane = models.CharField(_("lane"), max_length=32, default=MAIN, db_default=MAIN, editable=False)
    # A sale over several lanes: its head, its number among the parts, and how many they are. The
    # head is part 0 of itself. Set once, by `activity split`; never changed again.
    part_of = models.BigIntegerField(_("part of"), null=True, editable=False)
    part = models.SmallIntegerField(null=True, editable=False)
    parts = models.SmallIntegerField(null=True, editable=False)
    # Restored in Redis when the activity is loaded again. Only acts change them.
    paused = models.BooleanField(_("paused"), default=False, db_default=False, editable=False)
    finished = models.BooleanField(_("finished"), default=False, db_default=False, editable=False)
    # Its orders were taken away with their season, and the manifest that names their file. Only
    # `seckill.seasons` sets them: from then on it is history, and no act changes it.
    archived_at = models.DateTimeField(null=True, editable=False)
    archived_in = models.CharField(
        max_length=1000, default="", db_default="", editable=False, blank=True
    )
    created_at = models.DateTimeField(_("created"), auto_now_add=True)

    class Meta:
        verbose_name = _("activity")
        verbose_name_plural = _("activities")
        ordering: ClassVar = ["id"]
        constraints: ClassVar = [
            models.CheckConstraint(condition=Q(id__gte=1), name="activity_id_positive"),
            models.CheckConstraint(
                condition=Q(user_limit__isnull=True) | Q(user_limit__gte=1),
                name="activity_user_limit_positive",
            ),
            models.CheckConstraint(
                condition=Q(opens_at__isnull=True)
                | Q(closes_at__isnull=True)
                | Q(closes_at__gt=models.F("opens_at")),
                name="activity_closes_after_opening",
            ),
            models.CheckConstraint(
                condition=Q(hold_s__isnull=True) | Q(hold_s__gte=1, hold_s__lte=MAX_HOLD_S),
                name="activity_hold_in_range",
            ),
            models.CheckConstraint(
                condition=Q(part_of__isnull=True, part__isnull=True, parts__isnull=True)
                | Q(
                    part_of__isnull=False,
                    part__gte=0,
                    parts__gte=2,
                    part__lt=models.F("parts"),
                ),
                name="activity_part_whole",
            ),
            models.UniqueConstraint(fields=["part_of", "part"], name="activity_part_once"),
        ]

    def __str__(self) -> str:
        return self.name or gettext("activity %(id)s") % {"id": self.pk}

    @staticmethod
    def of_sale(activity_id: int) -> list[int]:
        """The numbers of a sale's activities: of a head all parts, else its own. It may have no
        row.
        """
        parts = Activity.objects.filter(part_of=activity_id).values_list("pk", flat=True)
        return sorted({activity_id, *parts})

    @property
    def part_text(self) -> str:
        """Which part of how many it is, as Redis has it: 0/2; "" if it is not split."""
        return "" if self.part_of is None else f"{self.part}/{self.parts}"


class Item(models.Model):
    """Something on sale: its allocation, and how much of it is sold in stored orders."""

    # No constraint in the database: a record must be storable even if the activity's row is gone.
    activity = models.ForeignKey(
        Activity,
        on_delete=models.PROTECT,
        db_constraint=False,
        related_name="items",
        verbose_name=_("activity"),
    )
    item_id = models.BigIntegerField(_("item"))
    name = models.CharField(_("name"), max_length=200, blank=True, default="", db_default="")
    allocation = models.BigIntegerField(
        _("allocation"), default=0, db_default=0, help_text=_("Units ever put on sale.")
    )
    sold = models.BigIntegerField(
        _("sold"),
        default=0,
        db_default=0,
        help_text=_("Units in stored orders, without those that came back."),
    )
    returned = models.BigIntegerField(
        _("returned"),
        default=0,
        db_default=0,
        help_text=_("Units that came back: holds that expired or were given back."),
    )

    class Meta:
        verbose_name = _("item")
        verbose_name_plural = _("inventory")
        ordering: ClassVar = ["activity_id", "item_id"]
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["activity", "item_id"], name="item_once_an_activity"),
            models.CheckConstraint(
                condition=Q(item_id__gte=1)
                & Q(allocation__gte=0)
                & Q(sold__gte=0)
                & Q(returned__gte=0),
                name="item_counts_not_negative",
            ),
        ]

    def __str__(self) -> str:
        return self.name or gettext("item %(id)s") % {"id": self.item_id}

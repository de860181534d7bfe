"""The journal of control acts, and the moves of units between the parts of a split sale."""

from typing import ClassVar

from django.db import models
from django.db.models import Q
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _


class StockChange(models.Model):
    """The journal: one row for each control act, begun before Redis is changed."""

    class State(models.TextChoices):
        """How far the act got. A row that stays STARTED: the result is unknown, see the version."""

        STARTED = "started", _("started")
        APPLIED = "applied", _("applied")
        FAILED = "failed", _("failed")

    at = models.DateTimeField(_("when"), auto_now_add=True)
    actor = models.CharField(_("who"), max_length=150)
    act = models.CharField(_("act"), max_length=32)
    activity_id = models.BigIntegerField(_("activity"))
    old = models.JSONField(_("from"), null=True)
    new = models.JSONField(_("to"), null=True)
    version = models.BigIntegerField(_("version"), null=True, help_text=_("After the act."))
    state = models.CharField(
        _("state"), max_length=10, choices=State.choices, default=State.STARTED
    )
    detail = models.CharField(_("detail"), max_length=500, blank=True)
    note = models.CharField(
        _("note"), max_length=500, blank=True, default="", db_default="", help_text=_("Why.")
    )
    # The caller's key for this act, by which a repeat is recognized; empty if none was given.
    idempotency_key = models.CharField(max_length=100, null=True, editable=False)
    fingerprint = models.CharField(
        max_length=64, blank=True, default="", db_default="", editable=False
    )

    class Meta:
        verbose_name = _("journal entry")
        verbose_name_plural = _("journal")
        ordering: ClassVar = ["-id"]
        constraints: ClassVar = [
            models.UniqueConstraint(
                fields=["actor", "idempotency_key"],
                condition=Q(idempotency_key__isnull=False),
                name="act_once_a_key",
            ),
        ]
        indexes: ClassVar = [
            models.Index(fields=["activity_id", "-id"], name="journal_activity"),
        ]

    def __str__(self) -> str:
        return gettext("journal entry %(id)s") % {"id": self.pk}


class Move(models.Model):
    """Units on their way from one part of a split sale to another: see `seckill.control.moves`.

    They are taken from one and then added to the other, each by an act in the journal. In between
    they are on sale in neither.
    """

    class State(models.TextChoices):
        """How far it is. `dropped`: nothing was left to take."""

        PLANNED = "planned", _("planned")
        TAKEN = "taken", _("taken")
        GIVEN = "given", _("given")
        DROPPED = "dropped", _("dropped")

    at = models.DateTimeField(_("when"), auto_now_add=True)
    # Of both acts, whoever ends the move.
    actor = models.CharField(_("who"), max_length=150)
    head = models.BigIntegerField(_("activity"))
    source = models.BigIntegerField()
    target = models.BigIntegerField()
    # {item: units}
    units = models.JSONField(_("units"))
    state = models.CharField(
        _("state"), max_length=10, choices=State.choices, default=State.PLANNED
    )

    class Meta:
        verbose_name = _("move")
        verbose_name_plural = _("moves")
        default_permissions: ClassVar = ()
        indexes: ClassVar = [
            models.Index(
                fields=["head"],
                name="move_open",
                condition=Q(state__in=["planned", "taken"]),
            ),
        ]

    def __str__(self) -> str:
        return gettext("move %(id)s") % {"id": self.pk}

"""The tables: activities, items, records (orders), the journal of control acts, API keys.

Owns the schema and the constraints that carry the invariants. Only the log worker writes `Record`,
`Settlement` and `LatePayment` rows, `Item.sold` and `Item.returned`, in one transaction.
`seckill.control.control` writes everything else.
"""

import hashlib
import secrets
from typing import ClassVar

from django.core.validators import MaxValueValidator, MinValueValidator
from django.db import models
from django.db.models import Exists, OuterRef, Q, Value
from django.db.models.functions import Coalesce
from django.utils.translation import gettext, pgettext_lazy
from django.utils.translation import gettext_lazy as _

from seckill.formats import record as formats
from seckill.formats.lanes import MAIN
from seckill.formats.outcomes import DEFAULT_ACTIVITY, MAX_REQUEST_ID, MAX_UNITS
from seckill.formats.record import CLICK, SAME_ORDER

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
    def of_sale(activity_id: int) -> "models.QuerySet[Activity, int]":
        """The numbers of a sale's activities, as a subquery: of a head all parts, else its own."""
        mine = Q(pk=activity_id) | Q(part_of=activity_id)
        return Activity.objects.filter(mine).values_list("pk", flat=True)

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


class Lane(models.Model):
    """A lane as PostgreSQL knows it. Only `seckill.postgres.lease` reads and writes it."""

    # The name of its list in Redis.
    name = models.CharField(primary_key=True, max_length=200)
    identity = models.UUIDField()
    # How often it was rebuilt after a loss of Redis.
    generation = models.BigIntegerField()
    # The run id of the Redis process that leads it, and how many processes have led it so far.
    master = models.CharField(max_length=64)
    term = models.BigIntegerField()

    class Meta:
        verbose_name = _("lane")
        default_permissions: ClassVar = ()

    def __str__(self) -> str:
        return self.name


class Lease(models.Model):
    """Who may decide in a lane, on which Redis, until when: see `seckill.postgres.lease`."""

    holder = models.CharField(primary_key=True, max_length=200)
    lane = models.CharField(max_length=200)
    master = models.CharField(max_length=64)
    until = models.DateTimeField()

    class Meta:
        verbose_name = _("lease")
        default_permissions: ClassVar = ()

    def __str__(self) -> str:
        return self.holder


class EventCursor(models.Model):
    """How far a topic's events are published: see `seckill.events.keeper`, which owns it."""

    topic = models.CharField(primary_key=True, max_length=250)
    # The last row of each table of which an event was published.
    record_id = models.BigIntegerField()
    settlement_id = models.BigIntegerField()
    late_payment_id = models.BigIntegerField(db_default=0)
    # Who publishes, and until when that is so without a renewal. Nobody: empty.
    holder = models.CharField(max_length=200)
    until = models.DateTimeField(null=True)

    class Meta:
        verbose_name = _("event cursor")
        default_permissions: ClassVar = ()

    def __str__(self) -> str:
        return self.topic


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


class ApiKey(models.Model):
    """A credential for programs. Only its hash is kept: the key, 256 random bits, is shown once."""

    name = models.CharField(_("name"), max_length=100, unique=True)
    prefix = models.CharField(_("begins with"), max_length=12, editable=False)
    digest = models.CharField(max_length=64, unique=True, editable=False)
    can_steer = models.BooleanField(
        _("may steer"), default=True, help_text=_("Without it the key may only look.")
    )
    created_at = models.DateTimeField(_("created"), auto_now_add=True)
    last_used_at = models.DateTimeField(_("last used"), null=True, blank=True, editable=False)
    revoked_at = models.DateTimeField(_("revoked"), null=True, blank=True)

    class Meta:
        verbose_name = _("API key")
        verbose_name_plural = _("API keys")
        ordering: ClassVar = ["name"]

    def __str__(self) -> str:
        return self.name

    @staticmethod
    def hash(key: str) -> str:
        """The stored form of a key. A fast hash is enough: the key cannot be guessed."""
        return hashlib.sha256(key.encode()).hexdigest()

    def renew(self) -> str:
        """Set a new key on this row and return it: the only chance to read it. Does not save."""
        key = "sk_" + secrets.token_urlsafe(32)
        self.prefix, self.digest = key[:9], self.hash(key)
        return key

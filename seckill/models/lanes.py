"""Lanes, who leads them, and how far the events of a topic are published."""

from typing import ClassVar

from django.db import models
from django.utils.translation import gettext_lazy as _


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

"""The admin: orders, inventory, activities, journal, API keys, people. One file per page."""

from django.contrib import admin
from django.utils.translation import gettext_lazy as _

from seckill.web.admin import (
    activities,
    api_keys,
    dead_records,
    inventory,
    journal,
    late_payments,
    orders,
    people,
)

__all__ = [
    "activities",
    "api_keys",
    "dead_records",
    "inventory",
    "journal",
    "late_payments",
    "orders",
    "people",
]

admin.site.index_title = _("Overview")
admin.site.index_template = "seckill/index.html"

"""The two groups of the project: operators steer a sale, observers look at it."""

from typing import Any

from django.apps import AppConfig
from django.apps.registry import Apps
from django.apps.registry import apps as apps_now

# A group's permissions when it is created. Later changes by an administrator stay.
ROLES = {
    "observers": (
        "view_activity",
        "view_item",
        "view_record",
        "view_stockchange",
        "view_deadrecord",
        "view_latepayment",
    ),
    "operators": (
        "view_activity",
        "add_activity",
        "change_activity",
        "view_item",
        "change_item",
        "view_record",
        "view_stockchange",
        "view_deadrecord",
        "view_latepayment",
    ),
}


def make_groups(sender: AppConfig, using: str, apps: Apps = apps_now, **_: Any) -> None:
    """Create missing groups. Receiver of post_migrate.

    The permissions exist by then: `django.contrib.auth` stands before this app in INSTALLED_APPS,
    so its own receiver runs first and creates them.
    """
    try:
        groups = apps.get_model("auth", "Group")._default_manager.using(using)
        permissions = apps.get_model("auth", "Permission")._default_manager.using(using)
    except LookupError:
        # `migrate seckill` alone on a new database: the next `migrate` creates them.
        return
    for name, codenames in ROLES.items():
        group, made = groups.get_or_create(name=name)
        if made:
            group.permissions.set(
                permissions.filter(content_type__app_label=sender.label, codename__in=codenames)
            )

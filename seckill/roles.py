"""The two groups that come with the project: operators steer a sale, observers look at it."""

from typing import Any

from django.apps import AppConfig
from django.apps.registry import Apps
from django.apps.registry import apps as apps_now

# A group's permissions when it is made; what an administrator changes later stays.
ROLES = {
    "observers": (
        "view_activity",
        "view_item",
        "view_record",
        "view_stockchange",
        "view_deadrecord",
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
    ),
}


def make_groups(sender: AppConfig, using: str, apps: Apps = apps_now, **_: Any) -> None:
    """Make the groups that do not exist. Receiver of post_migrate.

    The permissions are there: `django.contrib.auth` makes them in its own receiver, which is
    connected first because it stands before this app in INSTALLED_APPS.
    """
    try:
        groups = apps.get_model("auth", "Group")._default_manager.using(using)
        permissions = apps.get_model("auth", "Permission")._default_manager.using(using)
    except LookupError:
        # `migrate seckill` alone, on a new database: the next `migrate` makes them.
        return
    for name, codenames in ROLES.items():
        group, made = groups.get_or_create(name=name)
        if made:
            group.permissions.set(
                permissions.filter(content_type__app_label=sender.label, codename__in=codenames)
            )

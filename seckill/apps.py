"""The sale itself: models, admin, API, workers."""

from django.apps import AppConfig
from django.db.models.signals import post_migrate
from django.utils.translation import gettext_lazy as _


class SeckillConfig(AppConfig):
    """App `seckill`."""

    name = "seckill"
    verbose_name = _("Flash sale")

    def ready(self) -> None:
        """Create the groups of operators and observers together with the tables."""
        from seckill.web.shared.roles import make_groups

        post_migrate.connect(make_groups, sender=self, dispatch_uid="seckill.roles")

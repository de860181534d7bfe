"""Makes `manage.py devstack` known to Django. No models."""

from django.apps import AppConfig


class DevstackConfig(AppConfig):
    """The embedded services' command."""

    name = "devstack"
    verbose_name = "Embedded services"

"""The app of `manage.py devstack`. It has no models."""

from django.apps import AppConfig


class DevstackConfig(AppConfig):
    """The embedded services' command."""

    name = "devstack"
    verbose_name = "Embedded services"

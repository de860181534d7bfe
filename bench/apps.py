"""The app of `manage.py bench`. It has no models."""

from django.apps import AppConfig


class BenchConfig(AppConfig):
    """The measurements' command."""

    name = "bench"
    verbose_name = "Measurements"

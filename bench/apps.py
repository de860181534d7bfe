"""Makes `manage.py bench` known to Django. No models."""

from django.apps import AppConfig


class BenchConfig(AppConfig):
    """The measurements' command."""

    name = "bench"
    verbose_name = "Measurements"

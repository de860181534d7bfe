"""The app of `manage.py run_sale`. It has no models."""

from django.apps import AppConfig


class DemoConfig(AppConfig):
    """The demonstration's command."""

    name = "demo"
    verbose_name = "Demonstration"

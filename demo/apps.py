"""Makes `manage.py run_sale` known to Django. No models."""

from django.apps import AppConfig


class DemoConfig(AppConfig):
    """The demonstration's command."""

    name = "demo"
    verbose_name = "Demonstration"

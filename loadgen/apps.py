"""The load generator as an app, so that Django finds its management command."""

from django.apps import AppConfig


class LoadgenConfig(AppConfig):
    """App `loadgen`."""

    name = "loadgen"

"""The buyers: an app only so that its management command is found."""

from django.apps import AppConfig


class LoadgenConfig(AppConfig):
    """App `loadgen`."""

    name = "loadgen"

"""`manage.py finish_activity`: what `finish` was called first. `help` does not list it."""

from seckill.management.commands.finish import Command

__all__ = ["Command"]

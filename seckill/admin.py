"""Django's door to the admin: it looks for a module of this name."""

from seckill.web import admin

__all__ = ["admin"]

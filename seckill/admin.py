"""Where Django looks for the admin: it imports a module of this name."""

from seckill.web import admin

__all__ = ["admin"]

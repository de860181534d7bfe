"""How django-redis connects: to whatever an address of ours names, as all else of ours does."""

from typing import Any

import redis
from django_redis.pool import ConnectionFactory as Base

from seckill.lane.pools import pool


class ConnectionFactory(Base):
    """See django-redis."""

    def get_connection_pool(self, params: dict[str, Any]) -> "redis.ConnectionPool":
        """See django-redis."""
        return pool(**params, **self.pool_cls_kwargs)

"""Connections to the Redis that an address names: one server, Sentinel's master, or a cluster's.

A lane lives in one slot of a cluster, so one server has all of it, and a connection needs no more
than that server's address. It is asked for whenever a connection opens, by redis-py's pool for
Sentinel: only whom it asks differs. A server that says that the slot is elsewhere loses its
connections. Whoever used one hears that Redis is away for a moment, and tries again.
"""

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any

import redis
import redis.asyncio
import redis.asyncio.sentinel
import redis.sentinel
from redis.connection import SSLConnection
from redis.crc import key_slot
from redis.exceptions import MovedError

from seckill.formats.redis_address import CLUSTER, RedisAddress, several

# Seconds for the answer to where the master is.
WHERE_S = 2.0
ASK_FOR_SLOTS = "CLUSTER SLOTS"
MOVED = "the lane's slot has moved to another server of the cluster"


def pool(url: str, **options: Any) -> "redis.ConnectionPool":
    """A pool for this address. `options` are those of a connection. Nothing is asked yet."""
    address = several(url)
    if address is None:
        return redis.ConnectionPool.from_url(url, **options)
    options, asking = _options(address, options)
    if address.kind == CLUSTER:
        kind = _SecuredSlotConnection if options["ssl"] else _SlotConnection
        options |= {"connection_class": kind}
        return _SlotPool(address.master, _Slots(address.nodes, asking), **options)
    sentinels = redis.sentinel.Sentinel(address.nodes, sentinel_kwargs=asking)
    return redis.sentinel.SentinelConnectionPool(address.master, sentinels, **options)


def async_pool(url: str, **options: Any) -> "redis.asyncio.ConnectionPool":
    """The same on an event loop."""
    address = several(url)
    if address is None:
        return redis.asyncio.ConnectionPool.from_url(url, **options)
    options, asking = _options(address, options)
    if address.kind == CLUSTER:
        kind = _AsyncSecuredSlotConnection if options["ssl"] else _AsyncSlotConnection
        options |= {"connection_class": kind}
        return redis.asyncio.sentinel.SentinelConnectionPool(
            address.master, _AsyncSlots(_Slots(address.nodes, asking)), **options
        )
    sentinels = redis.asyncio.sentinel.Sentinel(address.nodes, sentinel_kwargs=asking)
    return redis.asyncio.sentinel.SentinelConnectionPool(address.master, sentinels, **options)


async def end(used: "redis.asyncio.ConnectionPool") -> None:
    """Close a pool of `async_pool`, and what it asks."""
    await used.aclose()
    if isinstance(used, redis.asyncio.sentinel.SentinelConnectionPool):
        for asked in getattr(used.sentinel_manager, "sentinels", ()):
            await asked.aclose()


def in_cluster(client: "redis.Redis") -> bool:
    """Whether its server is one of a cluster: it answers for the keys of the lane's slot alone."""
    return isinstance(client.connection_pool, _SlotPool)


def server_of(client: "redis.Redis") -> str:
    """host:port of the server that a connection would be to now, or its socket's path.

    Raises redis.ConnectionError: none of those who should know it says it.
    """
    used = client.connection_pool
    if isinstance(used, redis.sentinel.SentinelConnectionPool):
        host, port = used.get_master_address()
        return f"{host}:{port}"
    known = used.connection_kwargs
    return str(known.get("path") or f"{known['host']}:{known['port']}")


def _options(
    address: RedisAddress, more: Mapping[str, Any]
) -> tuple[dict[str, Any], dict[str, Any]]:
    """The options of a pool, and of a connection that asks where the master is."""
    options = {**address.options, **more}
    secured = options.pop("connection_class", None) is SSLConnection
    asking = {name: value for name, value in address.options.items() if name.startswith("ssl_")}
    asking |= address.asking | {"socket_timeout": WHERE_S, "socket_connect_timeout": WHERE_S}
    if secured:
        asking["ssl"] = True
    return {**options, "ssl": secured}, asking


def _owner(answer: Sequence[Any], slot: int, asked: str) -> tuple[str, int] | None:
    """Who has the slot, from the answer to ASK_FOR_SLOTS of the server at `asked`."""
    for first, last, (host, port, *_), *_replicas in answer:
        if first <= slot <= last:
            name = host.decode() if isinstance(host, bytes) else host
            return name or asked, int(port)
    return None


class _Slots:
    """Finds the master of a key's slot, in the manner of redis.sentinel.Sentinel."""

    def __init__(self, nodes: Sequence[tuple[str, int]], options: Mapping[str, Any]) -> None:
        self._nodes, self._options = nodes, options

    def discover_master(self, key: str) -> tuple[str, int]:
        """Its address. Raises redis.ConnectionError."""
        slot, why = key_slot(key.encode()), None
        for host, port in self._nodes:
            try:
                with redis.Redis(host=host, port=port, **self._options) as client:
                    found = _owner(client.execute_command(ASK_FOR_SLOTS), slot, host)
            except (redis.RedisError, OSError) as error:
                why = error
                continue
            if found is not None:
                return found
        raise redis.ConnectionError(
            f"none of the cluster's servers says who has slot {slot}" + (f": {why}" if why else "")
        )


class _AsyncSlots:
    """The same for an event loop, which goes on meanwhile."""

    def __init__(self, slots: _Slots) -> None:
        self._slots = slots

    async def discover_master(self, key: str) -> tuple[str, int]:
        """Its address. Raises redis.ConnectionError."""
        return await asyncio.to_thread(self._slots.discover_master, key)


class _SlotPool(redis.sentinel.SentinelConnectionPool):
    """Connections to the server of one slot."""


class _SlotConnection(redis.sentinel.SentinelManagedConnection):
    """A connection to the server that had the slot when it was opened."""

    def read_response(self, *args: Any, **options: Any) -> Any:
        """See redis-py."""
        try:
            return super().read_response(*args, **options)
        except MovedError:
            self.disconnect()
            raise redis.ConnectionError(MOVED) from None


class _SecuredSlotConnection(_SlotConnection, redis.sentinel.SentinelManagedSSLConnection):
    pass


class _AsyncSlotConnection(redis.asyncio.sentinel.SentinelManagedConnection):
    """The same on an event loop."""

    async def read_response(self, *args: Any, **options: Any) -> Any:
        """See redis-py."""
        try:
            return await super().read_response(*args, **options)
        except MovedError:
            await self.disconnect()
            raise redis.ConnectionError(MOVED) from None


class _AsyncSecuredSlotConnection(
    _AsyncSlotConnection, redis.asyncio.sentinel.SentinelManagedSSLConnection
):
    pass

"""Reads the addresses of a Redis that is more than one server: Sentinel's, and a cluster's.

redis+sentinel://user:password@host:port,host:port/MASTER/db
redis+cluster://user:password@host:port,host:port

`rediss` in front for TLS, and redis-py's options of a connection behind `?`. The options
`sentinel_username` and `sentinel_password` are for the Sentinels themselves.
"""

from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from redis.connection import parse_url

from seckill.formats.lanes import MAIN_LIST

SENTINEL, CLUSTER = "sentinel", "cluster"
PORTS = {SENTINEL: 26379, CLUSTER: 6379}
_OF_SENTINELS = "sentinel_"
KEY = "key"


class BadAddress(ValueError):
    """A part is missing. The message says which, and repeats nothing of the address."""


@dataclass(frozen=True)
class RedisAddress:
    """`nodes` are asked where the master is. `options` are those of a connection to it, as redis-py
    takes them; `asking` has the user of a connection to a node. `master` is Sentinel's name of it,
    in a cluster a key whose slot it has.
    """

    kind: str
    nodes: tuple[tuple[str, int], ...]
    options: dict[str, Any]
    asking: dict[str, Any]
    master: str


def several(url: str) -> RedisAddress | None:
    """The address in parts; None: it is one server's. Raises BadAddress, ValueError."""
    parts = urlsplit(url)
    base, _, kind = parts.scheme.partition("+")
    if not kind:
        return None
    if base not in ("redis", "rediss") or kind not in PORTS:
        raise BadAddress("must begin with redis+sentinel:// or redis+cluster://, or with rediss+")
    user, at, hosts = parts.netloc.rpartition("@")
    nodes = tuple(_node(word, PORTS[kind]) for word in hosts.split(","))
    master, _, database = parts.path.removeprefix("/").partition("/")
    if kind == CLUSTER and parts.path not in ("", "/", "/0"):
        raise BadAddress("a cluster has no databases: write nothing behind its hosts")
    if kind == SENTINEL and not master:
        raise BadAddress("must name the master behind the hosts: redis+sentinel://host:26379/NAME")
    database = database if kind == SENTINEL else ""
    options = parse_url(f"{base}://{user}{at}host/{database}?{parts.query}")
    del options["host"]
    if kind == CLUSTER:
        master = options.pop(KEY, MAIN_LIST)
        own = {name: options[name] for name in ("username", "password") if name in options}
    else:
        own = {
            name.removeprefix(_OF_SENTINELS): options.pop(name)
            for name in list(options)
            if name.startswith(_OF_SENTINELS)
        }
    return RedisAddress(kind, nodes, options, own, master)


def for_key(url: str, key: str) -> str:
    """The address of the server that has this key: in a cluster it depends on that."""
    parts = urlsplit(url)
    if not parts.scheme.endswith(f"+{CLUSTER}"):
        return url
    return parts._replace(query="&".join(filter(None, (parts.query, f"{KEY}={key}")))).geturl()


def _node(word: str, port: int) -> tuple[str, int]:
    parts = urlsplit(f"//{word.strip()}")
    if not parts.hostname:
        raise BadAddress("must name its hosts, host:port with commas between them")
    return parts.hostname, parts.port or port

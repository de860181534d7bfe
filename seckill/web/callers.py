"""Whose call it is: the address that limits count. Pure.

`X-Forwarded-For` is believed only as far as configured proxies wrote it: from the right, the first
address that is none of them is the caller. All before it may be the caller's invention.
"""

import ipaddress
import re
from collections.abc import Sequence
from functools import lru_cache

from seckill.config.addresses import Network

# The prefix of an IPv6 address that identifies a caller, in bits: a provider gives each line one.
IPV6_CALLER = 64
# Addresses whose reading is remembered.
REMEMBERED = 50_000
# The caller where an address cannot be read: one for all of them.
UNREADABLE = "?"

# An address as some proxies write it: with a port, in brackets.
_with_port = re.compile(r"(?:\[([^\]]+)\]|([\d.]+))(?::\d+)?", re.ASCII).fullmatch


class Callers:
    """Tells callers from proxies. `proxies` are the networks that are believed."""

    def __init__(self, proxies: Sequence[Network]) -> None:
        self._proxies = tuple(proxies)
        self._read = lru_cache(REMEMBERED)(self._read_address)

    def caller(self, peer: str, forwarded_for: str = "") -> str:
        """The caller's name for the limits: an IPv4 address, or an IPv6 network of 64 bits.

        "" where only proxies are known: such a call is not limited by address. `peer` is the
        connection's address, `forwarded_for` all X-Forwarded-For headers joined with commas.
        """
        name, is_proxy = self._read(peer)
        while is_proxy and forwarded_for:
            forwarded_for, _, hop = forwarded_for.rpartition(",")
            name, is_proxy = self._read(hop.strip())
        return "" if is_proxy else name

    def _read_address(self, text: str) -> tuple[str, bool]:
        """The name of an address, and whether it is a proxy's."""
        found = _with_port(text)
        host = (found[1] or found[2]) if found else text
        try:
            address = ipaddress.ip_address(host.partition("%")[0])
        except ValueError:
            return UNREADABLE, False
        address = getattr(address, "ipv4_mapped", None) or address
        is_proxy = any(address in network for network in self._proxies)
        if address.version == 4:
            return str(address), is_proxy
        return str(ipaddress.ip_network((address, IPV6_CALLER), strict=False)), is_proxy

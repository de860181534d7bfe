"""Addresses by way of a proxy."""

from tests.faults.proxy import Proxy


def port_of(address: str) -> int:
    """The port of an address whose end is `:port` or `:port/name`."""
    return int(address.rpartition(":")[2].partition("/")[0])


def on_line(address: str, line: Proxy) -> str:
    """The address, but with the proxy's port."""
    return address.replace(f":{port_of(address)}", f":{line.port}")

"""Tells the variables that Kubernetes injects into every container from our own.

Kubernetes injects these for each service of the namespace, in the style of Docker links (see
kubelet, pkg/kubelet/envvars): NAME_SERVICE_HOST, NAME_SERVICE_PORT, NAME_SERVICE_PORT_<port name>,
NAME_PORT, NAME_PORT_3000_TCP, and the last one with _PROTO, _PORT and _ADDR. NAME is the service's
name in capitals, with `_` for `-`. A service named `seckill...` gives names that look like ours.
"""

import ipaddress
import re
from collections.abc import Callable, Mapping

PROTOCOLS = "TCP|UDP|SCTP"


def _is_ip(value: str) -> bool:
    try:
        ipaddress.ip_address(value)
    except ValueError:
        return False
    return True


def _is_port(value: str) -> bool:
    return bool(re.fullmatch(r"\d{1,5}", value, re.ASCII))


def _is_link(value: str) -> bool:
    """For example tcp://10.0.0.1:3000 or tcp://[fd00::1]:3000."""
    found = re.fullmatch(rf"(?:{PROTOCOLS.lower()})://(\[[\w:]+\]|[\d.]+):(.+)", value)
    return found is not None and _is_ip(found[1].strip("[]")) and _is_port(found[2])


# The part after the service's name, and what Kubernetes writes as its value. The name alone proves
# nothing: SECKILL_PORT is ours if its value is a number.
FORMS: Mapping[str, Callable[[str], bool]] = {
    "SERVICE_HOST": _is_ip,
    "SERVICE_PORT(_[A-Z0-9_]+)?": _is_port,
    "PORT": _is_link,
    rf"PORT_\d{{1,5}}_({PROTOCOLS})": _is_link,
    rf"PORT_\d{{1,5}}_({PROTOCOLS})_PROTO": lambda value: value in PROTOCOLS.lower().split("|"),
    rf"PORT_\d{{1,5}}_({PROTOCOLS})_PORT": _is_port,
    rf"PORT_\d{{1,5}}_({PROTOCOLS})_ADDR": _is_ip,
}


def is_injected(name: str, value: str) -> bool:
    """Whether Kubernetes injected this variable for one of its services."""
    return any(
        re.fullmatch(rf"[A-Z][A-Z0-9_]*_{form}", name) and is_what_kubernetes_writes(value)
        for form, is_what_kubernetes_writes in FORMS.items()
    )


def without_injected(environ: Mapping[str, str]) -> dict[str, str]:
    """The environment without what Kubernetes injected."""
    return {name: value for name, value in environ.items() if not is_injected(name, value)}

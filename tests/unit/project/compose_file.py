"""docker-compose.yml as the tests look at it: parsed, and filled in as compose would.

Owns reading and interpolation; judges nothing.
"""

import re
from functools import cache
from typing import Any

import yaml

from seckill.config.layers import BASE_DIR

SERVERS = {"kafka", "valkey", "postgres"}
WORKERS = {"web", "door", "consumer", "settler", "log-worker"}
ONCE = {"migrate", "create-admin", "loadgen"}
MONITORING = {"prometheus", "grafana"}
# Started only with their profile.
EVENTS = {"events", "webhooks"}
REPLICAS = {"kafka-2", "kafka-3"}
OURS = sorted(WORKERS | ONCE | EVENTS)
# What may not be just any word.
_LONG = "0a1b2c3d" * 4
FILLED_IN = {
    "SECKILL_TICKET_SECRET": _LONG,
    "SECKILL_BUYER_KEYS": f"shop:{_LONG}",
    "SECKILL_PAYMENT_KEYS": f"shop:{_LONG * 2}",
    "SECKILL_PAYMENT_SECRETS": f"shop:{_LONG}",
    "SECKILL_WEBHOOKS_URLS": "shop=https://shop.example/hook",
    "SECKILL_WEBHOOKS_SECRETS": f"shop:whsec_{_LONG}",
}
# ${NAME}, ${NAME:-default}, ${NAME:?message}; $$ is a dollar.
PLACEHOLDER = re.compile(r"\$\$|\$\{(\w+)(?::([-?])([^}]*))?\}")
SECRET = re.compile(r"PASSWORD|SECRET|AUTH|_DSN|(?<!LOGIN)_URL|_KEYS")


@cache
def read(name: str) -> str:
    """A file of the project's folder."""
    return (BASE_DIR / name).read_text(encoding="utf-8")


@cache
def document() -> dict[str, Any]:
    """The compose file, anchors resolved, placeholders not."""
    parsed: dict[str, Any] = yaml.safe_load(read("docker-compose.yml"))
    return parsed


def service(name: str) -> dict[str, Any]:
    """One service of the file."""
    found: dict[str, Any] = document()["services"][name]
    return found


def dotenv(*, optional: bool) -> dict[str, str]:
    """A made-up .env: the example with its passwords filled in, its samples too if asked for."""
    lines = re.findall(r"^(#?)([A-Z0-9_]+)=(.*)$", read(".env.example"), re.MULTILINE)
    return {
        name: value or FILLED_IN.get(name, "0a1b2c")
        for mark, name, value in lines
        if optional or not mark
    }


def replicated() -> dict[str, str]:
    """The variables of Kafka with three nodes."""
    lines = re.findall(r"^([A-Z_]+)=(.*)$", read("deploy/compose/replicated.env"), re.MULTILINE)
    return dict(lines)


def fill(text: str, env: dict[str, str]) -> str:
    """The text as compose would hand it on. KeyError where compose would refuse to start."""

    def one(match: re.Match[str]) -> str:
        name, kind, default = match.groups()
        if name is None:
            return "$"
        return env.get(name, default) if kind == "-" else env[name]

    return PLACEHOLDER.sub(one, text)


def environment(name: str, env: dict[str, str]) -> dict[str, str]:
    """What the service's process finds in its environment; a key without a value is handed on."""
    found: dict[str, str] = {}
    for key, value in service(name).get("environment", {}).items():
        if value is not None:
            found[key] = fill(value, env)
        elif key in env:
            found[key] = env[key]
    return found

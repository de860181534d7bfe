"""All sections, and which of their values are secret."""

from seckill.config.sections.base import Section
from seckill.config.sections.client import Client
from seckill.config.sections.door import Door
from seckill.config.sections.events import Events, Webhooks
from seckill.config.sections.web import ControlApi
from seckill.config.sections.workers import LogWorker, Server, Settler

SECTIONS: tuple[type[Section], ...] = (
    Server, Client, LogWorker, ControlApi, Door, Settler, Events, Webhooks,
)  # fmt: skip
# Sections that use section server's stores if they name none, as in the original system.
AS_THE_SERVER: tuple[type[Section], ...] = (LogWorker, ControlApi, Door, Settler, Events, Webhooks)
STORES = ("redis_url", "pg_dsn")
# The password of each store: it belongs to the address that is named in the same place.
STORE_PASSWORDS = {"redis_url": "redis_password", "pg_dsn": "pg_password"}
# What is not shown because a password may be in it, and is no secret as a whole.
ADDRESSES = frozenset({*STORES, "urls", "otlp_endpoint"})


def is_hidden(section: type[Section], parameter: str) -> bool:
    """Whether its value is never shown: it is a secret, or an address that may hold one."""
    field = section.model_fields.get(parameter)
    return field is not None and not field.repr


def is_secret(section: type[Section], parameter: str) -> bool:
    """Whether it has no flag: everybody on a machine sees the flags of its processes."""
    return is_hidden(section, parameter) and parameter not in ADDRESSES

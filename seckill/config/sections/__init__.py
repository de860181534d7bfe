"""The sections of the configuration: names, types, limits and defaults of every parameter."""

from seckill.config.sections.base import (
    DEFAULT_PG_DSN,
    DEFAULT_REDIS_URL,
    ENV_PREFIX,
    UNITS,
    Section,
    flag_of,
    variable_of,
)
from seckill.config.sections.client import Client
from seckill.config.sections.door import Door
from seckill.config.sections.events import Events, Webhooks
from seckill.config.sections.every import (
    ADDRESSES,
    AS_THE_SERVER,
    SECTIONS,
    STORE_PASSWORDS,
    STORES,
    is_hidden,
    is_secret,
)
from seckill.config.sections.kafka import (
    DEFAULT_BROKERS,
    DEFAULT_GROUP,
    DEFAULT_TOPIC,
    ConsumerSection,
    KafkaSection,
)
from seckill.config.sections.web import ControlApi
from seckill.config.sections.workers import LogWorker, Server, Settler

__all__ = [
    "ADDRESSES",
    "AS_THE_SERVER",
    "DEFAULT_BROKERS",
    "DEFAULT_GROUP",
    "DEFAULT_PG_DSN",
    "DEFAULT_REDIS_URL",
    "DEFAULT_TOPIC",
    "ENV_PREFIX",
    "SECTIONS",
    "STORES",
    "STORE_PASSWORDS",
    "UNITS",
    "Client",
    "ConsumerSection",
    "ControlApi",
    "Door",
    "Events",
    "KafkaSection",
    "LogWorker",
    "Section",
    "Server",
    "Settler",
    "Webhooks",
    "flag_of",
    "is_hidden",
    "is_secret",
    "variable_of",
]

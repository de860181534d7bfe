"""The addresses of the embedded services, with passwords, and names that all modules share.

It imports nothing heavy, and never starts, stops or asks a service.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

HOST = "127.0.0.1"
NAMES = ("kafka", "valkey", "postgres")
STATE_FILE = "state.json"
# The role and the database that PostgreSQL is made with.
PG_NAME = "seckill"
# The user of a secured Kafka that may do what all the others may: for a person at a shell.
ALL = "devstack"
SASL_MECHANISM = "SCRAM-SHA-512"
SECRETS_FOLDER = "secrets"


class DevstackError(Exception):
    """Something that a person must know or fix; the message needs no traceback."""


@dataclass(frozen=True)
class Endpoints:
    """Addresses of the three services, passwords included: for clients, not for logs."""

    brokers: str
    redis_url: str
    pg_dsn: str
    # Of the role that owns the tables: where it is not another one, `pg_dsn`.
    owner_dsn: str
    # Further parameters of Kafka, named as in the sections.
    kafka: Mapping[str, str] = field(default_factory=dict)

    def __repr__(self) -> str:
        return f"Endpoints(brokers={self.brokers!r}, redis_url=…, pg_dsn=…)"

    def as_settings(self) -> dict[str, str]:
        """The parameters of the project's configuration by name."""
        return {
            "brokers": self.brokers,
            "redis_url": self.redis_url,
            "pg_dsn": self.pg_dsn,
            **self.kafka,
        }

    def as_env(self) -> dict[str, str]:
        """The environment variables that the project's configuration reads."""
        return {f"SECKILL_{name.upper()}": value for name, value in self.as_settings().items()}


def without_passwords(variables: Mapping[str, str], folder: Path) -> dict[str, str]:
    """The variables of a secured folder, with files that hold the passwords in their place."""
    told, secrets = dict(variables), folder / SECRETS_FOLDER
    del told["SECKILL_SASL_PASSWORD"]
    user = told["SECKILL_SASL_USERNAME"]
    told["SECKILL_SASL_PASSWORD_FILE"] = str(secrets / f"kafka-{user}")
    for address, service, password in (
        ("SECKILL_REDIS_URL", "valkey", "SECKILL_REDIS_PASSWORD_FILE"),
        ("SECKILL_PG_DSN", "postgres", "SECKILL_PG_PASSWORD_FILE"),
    ):
        parts = urlsplit(told[address])
        place = f"{parts.username}@{parts.netloc.rpartition('@')[2]}"
        told[address] = parts._replace(netloc=place).geturl()
        told[password] = str(secrets / f"{service}-{parts.username}")
    return told

"""The addresses of the embedded services, with passwords, read from the state file.

It imports nothing heavier than json, and never starts, stops or asks a service.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

HOST = "127.0.0.1"
NAMES = ("kafka", "valkey", "postgres")
STATE_FILE = "state.json"
# The role and the database that PostgreSQL is made with.
PG_NAME = "seckill"


class DevstackError(Exception):
    """Something that a person must know or fix; the message needs no traceback."""


@dataclass(frozen=True)
class Endpoints:
    """Addresses of the three services, passwords included: for clients, not for logs."""

    brokers: str
    redis_url: str
    pg_dsn: str

    def __repr__(self) -> str:
        return f"Endpoints(brokers={self.brokers!r}, redis_url=…, pg_dsn=…)"

    def as_env(self) -> dict[str, str]:
        """The environment variables that the project's configuration reads."""
        return {
            "SECKILL_BROKERS": self.brokers,
            "SECKILL_REDIS_URL": self.redis_url,
            "SECKILL_PG_DSN": self.pg_dsn,
        }


def endpoints_from(ports: Mapping[str, int], passwords: Mapping[str, str]) -> Endpoints:
    """Addresses from ports and passwords by service name. Raises KeyError when one is missing."""
    return Endpoints(
        brokers=f"{HOST}:{ports['kafka']}",
        redis_url=f"redis://:{passwords['valkey']}@{HOST}:{ports['valkey']}/0",
        pg_dsn=(
            f"postgresql://{PG_NAME}:{passwords['postgres']}@{HOST}:{ports['postgres']}/{PG_NAME}"
        ),
    )


def read_endpoints(folder: Path) -> Endpoints | None:
    """The last addresses of `folder`'s services; None if there are none.

    None also if the file belongs to another user or is damaged. `devstack status` gives the reason.
    """
    try:
        document: Any = json.loads((folder / STATE_FILE).read_text(encoding="utf-8"))
        return endpoints_from(document["ports"], document["passwords"])
    except (OSError, ValueError, KeyError, TypeError):
        return None

"""What a checkout's embedded services leave for others: addresses with passwords, a site's key, the
secrets of a door.

Every command reads it at start, so this module imports nothing heavy.
"""

import json
from pathlib import Path

FILE, KEY_FILE, DOOR_FILE = "addresses.json", "secret_key", "door_secrets.json"
# Named as in the sections.
NAMES = ("brokers", "redis_url", "pg_dsn")
# What a secured Kafka needs more.
KAFKA_NAMES = (
    "security_protocol",
    "sasl_mechanism",
    "sasl_username",
    "sasl_password",
    "ssl_cafile",
)
DOOR_NAMES = ("ticket_secret", "buyer_keys")


def read(folder: Path) -> dict[str, str]:
    """Addresses and a door's secrets by name, without those whose file is missing or broken.

    `devstack status` gives the reason.
    """
    file = folder / FILE
    return _read(file, NAMES) | _read(file, KAFKA_NAMES) | door_secrets(folder)


def door_secrets(folder: Path) -> dict[str, str]:
    """The secrets of a door by name; {} where there are none, or the file is another user's."""
    return _read(folder / DOOR_FILE, DOOR_NAMES)


def _read(file: Path, names: tuple[str, ...]) -> dict[str, str]:
    try:
        known = json.loads(file.read_text(encoding="utf-8"))
        return {name: str(known[name]) for name in names}
    except (OSError, ValueError, KeyError, TypeError):
        return {}


def site_key(folder: Path) -> str:
    """Django's secret key; "" where there is none, or the file is another user's."""
    try:
        return (folder / KEY_FILE).read_text(encoding="utf-8").strip()
    except (OSError, ValueError):
        return ""

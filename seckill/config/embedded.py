"""What a checkout's embedded services leave for others: addresses with passwords, a site's key.

Every command reads it at start, so this module imports nothing heavy.
"""

import json
from pathlib import Path

FILE, KEY_FILE = "addresses.json", "secret_key"
# Named as in the sections.
NAMES = ("brokers", "redis_url", "pg_dsn")


def read(folder: Path) -> dict[str, str]:
    """The addresses by name, or {} if the file is missing, unreadable or broken.

    `devstack status` gives the reason.
    """
    try:
        known = json.loads((folder / FILE).read_text(encoding="utf-8"))
        return {name: str(known[name]) for name in NAMES}
    except (OSError, ValueError, KeyError, TypeError):
        return {}


def site_key(folder: Path) -> str:
    """Django's secret key; "" where there is none, or the file is another user's."""
    try:
        return (folder / KEY_FILE).read_text(encoding="utf-8").strip()
    except (OSError, ValueError):
        return ""

"""What the embedded services of a checkout leave for others: addresses with passwords, a site's
key.

Read at every start of every command: imports nothing heavy.
"""

import json
from pathlib import Path

FILE, KEY_FILE = "addresses.json", "secret_key"
# In the words of the sections.
NAMES = ("brokers", "redis_url", "pg_dsn")


def read(folder: Path) -> dict[str, str]:
    """The addresses by name. {} where the file is not there, is another user's or was spoilt:
    `devstack status` names the reason.
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

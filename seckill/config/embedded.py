"""The file in which a checkout's embedded services leave their addresses, passwords included.

Every command reads it at start, so this module imports nothing heavy.
"""

import json
from pathlib import Path

FILE = "addresses.json"
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

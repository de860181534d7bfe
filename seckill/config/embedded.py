"""The file in which the embedded services of a checkout leave their addresses, passwords included.

Read at every start of every command: imports nothing heavy.
"""

import json
from pathlib import Path

FILE = "addresses.json"
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

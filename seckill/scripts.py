"""The Lua scripts by name: one file a command in `lua/`, each with its contract at the top."""

import hashlib
from dataclasses import dataclass
from functools import cache
from pathlib import Path

FOLDER = Path(__file__).parent / "lua"


@dataclass(frozen=True)
class Script:
    """A script's text, and the name by which Redis knows it."""

    name: str
    text: str
    sha: str


@cache
def load(name: str) -> Script:
    """The script `lua/<name>.lua`."""
    text = (FOLDER / f"{name}.lua").read_text(encoding="utf-8")
    return Script(name, text, hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest())

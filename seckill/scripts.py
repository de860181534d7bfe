"""The Lua scripts by name: one file a command in `lua/`, each with its contract at the top.

Redis has no way for one script to call another. What several scripts need stands in
`lua/include/`, and the line `-- include <name>` of a script is replaced by that file's text.
"""

import hashlib
import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path

FOLDER = Path(__file__).parent / "lua"
INCLUDE = re.compile(r"^-- include (\w+)$", re.MULTILINE)


@dataclass(frozen=True)
class Script:
    """A script's text, and the name by which Redis knows it."""

    name: str
    text: str
    sha: str


@cache
def load(name: str) -> Script:
    """The script `lua/<name>.lua`, with what it includes."""
    text = INCLUDE.sub(lambda found: _read(f"include/{found[1]}").rstrip("\n"), _read(name))
    return Script(name, text, hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest())


def names() -> list[str]:
    """All scripts."""
    return sorted(path.stem for path in FOLDER.glob("*.lua"))


def _read(name: str) -> str:
    return (FOLDER / f"{name}.lua").read_text(encoding="utf-8")

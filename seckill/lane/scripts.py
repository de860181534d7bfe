"""The Lua scripts by name: one file per command in `lua/`, each with its contract at the top.

A Redis script cannot call another one. Code that several scripts share is in `lua/include/`; the
line `-- include <name>` in a script is replaced by the text of that file.
"""

import hashlib
import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path

FOLDER = Path(__file__).parent.parent / "lua"
INCLUDE = re.compile(r"^-- include (\w+)$", re.MULTILINE)


@dataclass(frozen=True)
class Script:
    """A script's text, and the SHA by which Redis identifies it."""

    name: str
    text: str
    sha: str


@cache
def load(name: str) -> Script:
    """The script `lua/<name>.lua`, with its includes."""
    text = INCLUDE.sub(lambda found: _read(f"include/{found[1]}").rstrip("\n"), _read(name))
    return Script(name, text, hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest())


def names() -> list[str]:
    """The names of all scripts."""
    return sorted(path.stem for path in FOLDER.glob("*.lua"))


def _read(name: str) -> str:
    return (FOLDER / f"{name}.lua").read_text(encoding="utf-8")

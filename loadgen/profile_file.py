"""Profiles as YAML files: the included ones, and a user's own.

Owns how a name or path becomes a Profile, and the one line that says what is wrong with a file.
"""

import difflib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from loadgen.profile import Bad, Hot, Keys, Multi, Phase, Profile, Repeated, Stale
from seckill.config.layers import ConfigError

FOLDER = Path(__file__).resolve().parent / "profiles"
# The model of each key that has keys of its own.
PARTS: dict[str, type[Keys]] = {
    "rate": Phase,
    "hot": Hot,
    "multi": Multi,
    "repeated": Repeated,
    "stale": Stale,
    "malformed": Bad,
}


def names(folder: Path = FOLDER) -> list[str]:
    """The names of the included profiles."""
    return sorted(path.stem for path in folder.glob("*.yaml"))


def path_of(name: str) -> Path:
    """The file of a profile that is named, or given as a path. Raises ConfigError."""
    if name.endswith((".yaml", ".yml")) or "/" in name:
        return Path(name)
    if name in names():
        return FOLDER / f"{name}.yaml"
    raise ConfigError(
        f"no profile {name!r}{hint(name, names())}. A file of your own: give its path, "
        "ending in .yaml"
    )


def read_profile(name: str) -> Profile:
    """A profile by its name, or by the path of a YAML file. Raises ConfigError."""
    path = path_of(name)
    try:
        document = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as wrong:
        reason = getattr(wrong, "strerror", None) or wrong
        raise ConfigError(f"{path}: cannot be read: {reason}") from None
    except yaml.YAMLError as wrong:
        mark = getattr(wrong, "problem_mark", None)
        line = f", line {mark.line + 1}" if mark else ""
        problem = getattr(wrong, "problem", None) or "no valid YAML"
        raise ConfigError(f"{path}{line}: {problem}") from None
    return parse_profile(document, str(path))


def parse_profile(document: object, place: str) -> Profile:
    """A profile from parsed YAML. Raises ConfigError: one line with `place` and the key."""
    if not isinstance(document, Mapping):
        raise ConfigError(f"{place}: must hold `key: value` lines: {', '.join(_known(Profile))}")
    try:
        return Profile.model_validate(dict(document))
    except ValidationError as wrong:
        raise ConfigError(f"{place}: {_first(wrong)}") from None


def hint(word: str, known: list[str]) -> str:
    """The end of a message: the nearest known word, or all of them."""
    close = difflib.get_close_matches(word, known, n=1)
    return f"; did you mean {close[0]}?" if close else f"; known: {', '.join(known)}"


def _known(model: type[Keys]) -> list[str]:
    return [field.alias or name for name, field in model.model_fields.items()]


def _first(wrong: ValidationError) -> str:
    """The first of pydantic's errors as `key: reason (given: value)`."""
    error: Any = wrong.errors()[0]
    # `[key]` marks a bad key of a mapping: the key itself comes before it.
    where = ".".join(str(part) for part in error["loc"] if part != "[key]")
    if error["type"] == "extra_forbidden":
        inside = len(error["loc"]) > 1
        model = PARTS.get(str(error["loc"][0]), Profile) if inside else Profile
        return f"unknown key {where}{hint(str(error['loc'][-1]), _known(model))}"
    if error["type"] == "missing":
        return f"{where} is missing"
    reason = error["msg"].removeprefix("Value error, ")
    if not where or isinstance(error["input"], Mapping | Profile):
        return f"{where}: {reason}" if where else reason
    return f"{where}: {reason} (given: {error['input']!r})"

"""Secrets in files: `SECKILL_<NAME>_FILE` names a file in the place of `SECKILL_<NAME>`.

As Docker and Kubernetes hand secrets over. Every variable that messages do not show may come so.
No message repeats what a file holds.
"""

import re
from collections.abc import Mapping
from pathlib import Path

from seckill.config.errors import ConfigError
from seckill.config.sections import ENV_PREFIX, SECTIONS, is_hidden, variable_of

# Behind the name of the variable.
FILE = "_FILE"
# The address of a lane's Redis, in a file.
OF_A_LANE = rf"{ENV_PREFIX}LANE_[A-Z0-9_]+_REDIS_URL{FILE}"
# Secrets that belong to no section.
OTHER_SECRETS = ("SECRET_KEY", "ADMIN_PASSWORD")


def secret_variables() -> frozenset[str]:
    """The variables that may come in a file."""
    of_sections = {
        variable_of(section, name)
        for section in SECTIONS
        for name in section.model_fields
        if is_hidden(section, name)
    }
    return frozenset(of_sections | {ENV_PREFIX + name for name in OTHER_SECRETS})


def with_files(environ: Mapping[str, str]) -> dict[str, str]:
    """The environment with the content of the files it names. Raises ConfigError."""
    found = dict(environ)
    of_lanes = {name.removesuffix(FILE) for name in environ if re.fullmatch(OF_A_LANE, name)}
    for name in secret_variables() | of_lanes:
        file = found.pop(name + FILE, "")
        if not file:
            continue
        if found.get(name):
            raise ConfigError(f"{name} and {name}{FILE} are both set: keep one of them")
        found[name] = _read(name + FILE, Path(file))
    return found


def secret(name: str, environ: Mapping[str, str]) -> str:
    """One of OTHER_SECRETS; "" if it is not set. Raises ConfigError."""
    wanted = {key: v for key, v in environ.items() if key.startswith(ENV_PREFIX + name)}
    return with_files(wanted).get(ENV_PREFIX + name, "")


def _read(variable: str, file: Path) -> str:
    try:
        text = file.read_text(encoding="utf-8")
    except OSError as wrong:
        raise ConfigError(f"{variable}: {file} cannot be read: {wrong.strerror}") from None
    except UnicodeDecodeError:
        raise ConfigError(f"{variable}: {file} is not text in UTF-8") from None
    # Editors and `echo` end a file with a line's end, which no secret has.
    text = text.rstrip("\r\n")
    if not text:
        raise ConfigError(f"{variable}: {file} is empty")
    return text

"""The page of all parameters, made from the sections' own descriptions: `docs/configuration.md`.

Owns how a parameter is shown: its default, what it may be, what it means. Reads no environment and
no file.
"""

import inspect
from typing import Any

from seckill.config.lanes import LaneSection, redis_variable
from seckill.config.layers import OTHER_VARIABLES
from seckill.config.secret_files import FILE
from seckill.config.sections import (
    AS_THE_SERVER,
    ENV_PREFIX,
    SECTIONS,
    STORES,
    Door,
    Section,
    Server,
    variable_of,
)
from seckill.formats.lanes import ALL

HEAD = f"""\
# Configuration

This page is made by `manage.py config_reference`. Do not edit it: change the descriptions in
`seckill/config/sections`, then run `make config-reference`. A test compares the two.

## Where a value comes from
The first layer that has a value wins:

1. the flag of the command: `--status-interval 5`; a timeout has its unit: `--timeout-ms 500`
2. the environment: `{ENV_PREFIX}STATUS_INTERVAL=5`; for an address or a secret also a file:
   `{ENV_PREFIX}PG_PASSWORD_FILE=/run/secrets/pg_password`
3. the section in `config.yaml`, or in the file that `{ENV_PREFIX}CONFIG` names
4. for {" and ".join(f"`{name}`" for name in STORES)} in the sections
   {", ".join(f"`{section.name}`" for section in AS_THE_SERVER)}: their value in section
   `{Server.name}`, and with it the password that stands beside it
5. the addresses of the embedded services, if they have been started in this checkout, and the
   passwords and secrets that were made there
6. the default

The flag is the parameter's name with dashes. A password or another secret has none, because
everybody on a machine sees the flags of its processes. The environment variable is
`{ENV_PREFIX}` and the name in capitals. One variable sets the parameter in every section that has
it; only a door's port has a variable of its own, `{variable_of(Door, "port")}`. An empty value in
the file is no value. An unknown key and an unknown `{ENV_PREFIX}` variable are errors, and the
message suggests the nearest name. Variables that Kubernetes injects for a service are not taken for
ours. No message shows any part of a password.
"""
LANES_TEXT = f"""\
What a lane is, and how one is added: [lanes.md](lanes.md).

Lane `main` has no entry: its values are those of the other sections. For any other one, a worker
or command with `--lane NAME` takes these in the place of what environment and sections say; only a
flag comes first. A lane's list in Redis follows from its name: `seckill:logs:NAME`. A name is 1 to
32 of `a-z 0-9 -`. No two lanes may share a topic or a group. `{redis_variable("name")}` (the
name in capitals, `_` for `-`), or a file that `{redis_variable("name")}{FILE}` names, sets
`redis_url`, so that no password is in the file. No lane is called `{ALL}`: `--lane {ALL}` means
every lane, for workers, doors, `healthy` and `wait`."""
BETWEEN = """\

## Variables of the environment that belong to no section

| variable | meaning |
|---|---|
"""


def reference() -> str:
    """The whole page, in Markdown, with a line's end at its end."""
    variables = "".join(
        f"| `{ENV_PREFIX}{name}` | {_cell(meaning)} |\n"
        for name, meaning in OTHER_VARIABLES.items()
    )
    return HEAD + "".join(map(_section, SECTIONS)) + _lanes() + BETWEEN + variables


def _lanes() -> str:
    what, table = _section(LaneSection).split("\n\n", 1)
    return f"{what} {LANES_TEXT}\n\n{table}"


def _section(section: type[Section]) -> str:
    what = inspect.cleandoc(section.__doc__ or "").removeprefix(f"`{section.name}`: ")
    schema = section.model_json_schema()
    shapes, needed = schema["properties"], schema.get("required", ())
    rows = "".join(
        f"| `{name}` | {_default(shape, needed=name in needed)} | "
        f"{_cell(_allowed(shape))} | {_cell(shape['description'])} |\n"
        for name, shape in shapes.items()
    )
    return (
        f"\n## Section `{section.name}`\n{what[:1].upper()}{what[1:]}\n\n"
        f"| parameter | default | allowed | meaning |\n|---|---|---|---|\n{rows}"
    )


def _default(shape: dict[str, Any], *, needed: bool = False) -> str:
    if needed:
        return "needed"
    value = shape.get("default")
    if value in (None, ""):
        return "none"
    if isinstance(value, bool):
        return f"`{str(value).lower()}`"
    return f"`{value:g}`" if isinstance(value, float) else f"`{value}`"


def _allowed(shape: dict[str, Any]) -> str:
    """What a value may be, in words."""
    for choice in shape.get("anyOf", ()):
        if choice["type"] != "null":
            return _allowed(choice)
    if "enum" in shape:
        return ", ".join(f"`{value}`" for value in shape["enum"])
    kind = shape["type"]
    if kind == "object":
        units = shape["additionalProperties"]
        return f"`ITEM:UNITS,...`, units from {units['minimum']} to {units['maximum']}"
    if kind == "boolean":
        return "`true`, `false`"
    if "pattern" in shape:
        return f"text that matches `{shape['pattern']}`"
    if kind == "string":
        return "text"
    number = "whole number" if kind == "integer" else "number"
    limits = (("from", "minimum"), ("above", "exclusiveMinimum"), ("to", "maximum"))
    return " ".join([number, *(f"{word} {shape[name]}" for word, name in limits if name in shape)])


def _cell(text: str) -> str:
    return text.replace("|", "\\|")

"""The layers of the configuration. The first layer with a value wins: command-line flag,
environment variable (`SECKILL_<NAME>`, or a file that `SECKILL_<NAME>_FILE` names), section of
config.yaml, embedded services, default.

If another section than client names no store, the store of section server counts. For a lane
beside main its entry in section `lanes` comes right after the flags.
Nothing is read at import: `load` reads once per process and returns frozen objects.
"""

import difflib
import os
import re
import reprlib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import ValidationError
from pydantic_settings import EnvSettingsSource

from seckill.config import embedded
from seckill.config.addresses import is_address, with_password
from seckill.config.errors import ConfigError
from seckill.config.kubernetes import without_injected
from seckill.config.lanes import SECTION as LANES
from seckill.config.lanes import LaneSection, check_names, collision, redis_variable
from seckill.config.secret_files import FILE, secret_variables, with_files
from seckill.config.sections import (
    AS_THE_SERVER,
    ENV_PREFIX,
    SECTIONS,
    STORE_PASSWORDS,
    STORES,
    Section,
    Server,
    flag_of,
    is_hidden,
    variable_of,
)
from seckill.formats.lanes import MAIN, list_of
from seckill.formats.redis_address import for_key

BASE_DIR = Path(__file__).resolve().parents[2]
# Environment variables of ours that are not parameters of a section.
OTHER_VARIABLES = {
    "CONFIG": "path of the configuration file",
    "DEVSTACK": "folder of the embedded services",
    "SECRET_KEY": "Django's secret key",
    "ALLOWED_HOSTS": "host names that the web process answers to, with commas",
    "TRUSTED_ORIGINS": "origins from which forms are accepted, with commas",
    "DEBUG": "1 shows Django's debug pages: never in production",
    "ADMIN_PASSWORD": "password that create_admin gives to the first operator",
}
# A few hundred bytes of YAML can define gigabytes, so messages show values abbreviated.
_brief = reprlib.Repr()
_brief.maxlevel = 3
_brief.maxstring = _brief.maxlong = _brief.maxother = 200
S = TypeVar("S", bound=Section)
# The values of a layer, and what a message calls one of them.
Layer = tuple[Mapping[str, Any], Callable[[str], str]]


def read_config(environ: Mapping[str, str]) -> tuple[Path, dict[str, dict[str, Any]]]:
    """The path and the sections of the file in force: SECKILL_CONFIG, or the project's config.yaml.

    A file named by SECKILL_CONFIG must exist; /dev/null means no file. Raises ConfigError.
    """
    variable = ENV_PREFIX + "CONFIG"
    named = environ.get(variable)
    path = Path(named or BASE_DIR / "config.yaml")
    if named and not path.exists():
        raise ConfigError(
            f"{variable}: there is no file {path}; name an existing file, or /dev/null for none"
        )
    return path, read_file(path)


def devstack_folder(environ: Mapping[str, str]) -> Path:
    """The folder of this checkout's embedded services: SECKILL_DEVSTACK, or .devstack."""
    return Path(environ.get(ENV_PREFIX + "DEVSTACK") or BASE_DIR / ".devstack")


def load(
    section: type[S],
    flags: Mapping[str, Any] | None = None,
    environ: Mapping[str, str] | None = None,
    lane: str = MAIN,
) -> S:
    """One section for a lane, with all layers merged and validated. Flags that are None are absent.

    Raises ConfigError, which names the layer, the key and what is allowed.
    """
    environ = without_injected(os.environ if environ is None else environ)
    flags = {key: value for key, value in (flags or {}).items() if value is not None}
    path, file = read_config(environ)
    _check_variables(environ, file)
    environ = with_files(environ)
    lanes = _lanes(path, file, environ)
    if lane != MAIN and lane not in lanes:
        known = ", ".join([MAIN, *lanes])
        raise ConfigError(
            f"--lane: there is no lane {lane!r}; known: {known}. Section {LANES} of {path} names "
            "those beside main"
        )
    found = _merged(section, flags, environ, path, file, lanes.get(lane))
    if lane != MAIN and (url := getattr(found, "redis_url", None)):
        found = found.model_copy(update={"redis_url": for_key(url, list_of(lane))})
    if lanes:
        of_main = _merged(Server, {}, environ, path, file)
        every: dict[str, LaneSection | Server] = {MAIN: of_main, **lanes}
        topics = {name: each.topic for name, each in every.items()}
        groups = {name: each.group_id for name, each in every.items()}
        topics[lane] = getattr(found, "topic", topics[lane])
        groups[lane] = getattr(found, "group_id", groups[lane])
        wrong = collision(topics, groups)
        if wrong:
            raise ConfigError(f"{path}: {LANES}: {wrong}")
    return found


def lane_addresses(of_main: str, environ: Mapping[str, str] | None = None) -> dict[str, str]:
    """{lane: the address of its Redis} of all configured lanes, main first; main's is given.

    Raises ConfigError.
    """
    environ = without_injected(os.environ if environ is None else environ)
    path, file = read_config(environ)
    lanes = _lanes(path, file, with_files(environ))
    urls = {name: for_key(lane.redis_url or of_main, list_of(name)) for name, lane in lanes.items()}
    return {MAIN: of_main, **urls}


def _lanes(
    path: Path, file: Mapping[str, Mapping[str, Any]], environ: Mapping[str, str]
) -> dict[str, LaneSection]:
    """The lanes beside main, by name."""

    def lane(name: str, values: Mapping[str, Any]) -> LaneSection:
        variable = redis_variable(name)
        layers: list[Layer] = [
            ({"redis_url": environ.get(variable) or None}, lambda _k: variable),
            (values, lambda k: f"{path}: {LANES}.{name}.{k}"),
        ]
        return _validated(LaneSection, layers)

    return {name: lane(name, values) for name, values in file.get(LANES, {}).items()}


def _merged(
    section: type[S],
    flags: Mapping[str, Any],
    environ: Mapping[str, str],
    path: Path,
    file: Mapping[str, Mapping[str, Any]],
    lane: LaneSection | None = None,
) -> S:
    named = file.get(Server.name, {})
    own = file.get(section.name, {})
    # A password belongs to the address that is named in the same place.
    taken = [
        name for store in STORES if store not in own for name in (store, STORE_PASSWORDS[store])
    ]
    stores = _only(section, {name: named[name] for name in taken if name in named})
    services = embedded.read(devstack_folder(environ))
    variables = _from_environment(section, environ)
    if any("brokers" in layer for layer in (flags, variables, own)):
        # The user and the certificate of one Kafka are not those of another.
        services = {k: v for k, v in services.items() if k not in embedded.KAFKA_NAMES}
    of_lane = {} if lane is None else _only(section, lane.model_dump(exclude_none=True))
    layers: list[Layer] = [
        ({f"{key}": value for key, value in flags.items()}, flag_of),
        (of_lane, lambda k: f"{path}: {LANES}, {k}"),
        (variables, lambda k: variable_of(section, k)),
        (own, lambda k: f"{path}: {section.name}.{k}"),
        (stores if section in AS_THE_SERVER else {}, lambda k: f"{path}: {Server.name}.{k}"),
        (_only(section, services), lambda k: f"the embedded services' {k}"),
    ]
    if "redis_url" in of_lane:
        # The password of main's Redis is none of the lane's.
        password = STORE_PASSWORDS["redis_url"]
        layers = [
            ({k: v for k, v in values.items() if k != password}, label) for values, label in layers
        ]
    return _validated(section, layers)


def _validated(section: type[S], layers: Sequence[Layer]) -> S:
    merged: dict[str, Any] = {}
    for values, _ in reversed(layers):
        merged.update({key: value for key, value in values.items() if value is not None})
    try:
        return _with_passwords(section.model_validate(merged))
    except ValidationError as wrong:
        first = wrong.errors()[0]
        reason = first["msg"].removeprefix("Value error, ")
        if not first["loc"]:
            raise ConfigError(f"section {section.name}: {reason}") from None
        key = str(first["loc"][0])
        # A key that is missing has to stand in the last layer.
        last = layers[-1][1]
        place = next(
            (label(key) for values, label in layers if values.get(key) is not None), last(key)
        )
        given = merged.get(key)
        brief = _brief.repr(given)
        hidden = key not in merged or is_hidden(section, key)
        hidden = hidden or is_address(given if type(given) is str else brief)
        shown = "" if hidden else f" (given: {brief})"
        field = section.model_fields.get(key)
        meaning = f"; it is the {field.description}" if field and field.description else ""
        raise ConfigError(f"{place}: {reason}{shown}{meaning}") from None


def read_file(path: Path) -> dict[str, dict[str, Any]]:
    """The file's sections, {section: {key: value}}; {} without a file. Raises ConfigError."""
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return {}
    except (OSError, UnicodeDecodeError) as wrong:
        raise ConfigError(f"{path}: cannot be read: {wrong}") from None
    try:
        document = yaml.safe_load(text)
    except yaml.YAMLError as wrong:
        mark = getattr(wrong, "problem_mark", None)
        line = f", line {mark.line + 1}" if mark else ""
        # Without the words that YAML quotes: a password may begin with `*` or `!`.
        problem = getattr(wrong, "problem", None) or "not valid YAML"
        problem = re.sub(r""" (?:'[^<'][^']+'|"[^"]{2,}")""", "", problem)
        raise ConfigError(f"{path}{line}: {problem}") from None
    if document is None:
        return {}
    known: dict[str, type[Section]] = {section.name: section for section in SECTIONS}
    known[LANES] = LaneSection
    if not isinstance(document, dict):
        raise ConfigError(f"{path}: must hold sections ({', '.join(known)})")
    result: dict[str, dict[str, Any]] = {}
    for name, values in document.items():
        if name not in known:
            raise ConfigError(f"{path}: unknown section {name!r}{_hint(str(name), list(known))}")
        if values is None:
            continue
        if not isinstance(values, dict):
            raise ConfigError(f"{path}: section {name} must hold `key: value` lines")
        if name == LANES:
            try:
                check_names(values)
            except ValueError as wrong:
                raise ConfigError(f"{path}: {wrong}") from None
            result[name] = {
                lane: _known(LaneSection, keys, path, f"{LANES}.{lane}")
                for lane, keys in values.items()
            }
            continue
        result[name] = _known(known[name], values, path, name)
    return result


def _known(
    section: type[Section], values: Mapping[Any, Any], path: Path, name: str
) -> dict[str, Any]:
    """What is set. Raises ConfigError for a key that the section does not have."""
    for key in values:
        if key not in section.model_fields:
            hint = _hint(str(key), list(section.model_fields))
            raise ConfigError(f"{path}: unknown key {name}.{key}{hint}")
    return {key: value for key, value in values.items() if value is not None}


def _from_environment(section: type[Section], environ: Mapping[str, str]) -> dict[str, Any]:
    source = EnvSettingsSource(section, env_prefix=ENV_PREFIX)
    named = {variable_of(section, key): ENV_PREFIX + key.upper() for key in section.model_fields}
    source.env_vars = {named[key].lower(): value for key, value in environ.items() if key in named}
    return source()


def _with_passwords(section: S) -> S:
    """The section with its stores' passwords in their addresses: what all below reads."""
    complete = {
        store: with_password(getattr(section, store), password)
        for store, name in STORE_PASSWORDS.items()
        if (password := getattr(section, name, None))
    }
    return section.model_copy(update=complete)


def _only(section: type[Section], values: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in values.items() if key in section.model_fields}


def _check_variables(environ: Mapping[str, str], file: Mapping[str, Mapping[str, Any]]) -> None:
    known = {ENV_PREFIX + name for name in OTHER_VARIABLES}
    for lane in file.get(LANES, {}):
        known |= {redis_variable(lane), redis_variable(lane) + FILE}
    for section in SECTIONS:
        known.update(variable_of(section, key) for key in section.model_fields)
    known.update(name + FILE for name in secret_variables())
    for variable in environ:
        if variable.startswith(ENV_PREFIX) and variable not in known:
            hint = _hint(variable, sorted(known))
            raise ConfigError(f"environment: unknown variable {variable}{hint}")


def _hint(word: str, known: list[str]) -> str:
    close = difflib.get_close_matches(word, known, n=1)
    return f"; did you mean {close[0]}?" if close else f"; known: {', '.join(sorted(known))}"

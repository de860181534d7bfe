"""The configuration: its sections, their parameters, and the order of the layers.

Owns names, types, limits and defaults of every parameter. The first layer that has a value wins:
command-line flag, environment (`SECKILL_` and the name), the section in config.yaml, embedded
services, default. Where log_worker and control_api name no store, section server's counts.
Nothing is read at import: `load` reads, once a process, and hands out frozen objects.
"""

import difflib
import os
import re
import reprlib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, TypeVar

import yaml
from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    ValidationError,
    ValidationInfo,
    field_validator,
)
from pydantic_settings import (
    BaseSettings,
    EnvSettingsSource,
    NoDecode,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
)

from devstack.endpoints import read_endpoints
from seckill.wire import MAX_ID, MAX_UNITS
from seckill_project.addresses import (
    check_brokers,
    check_dsn,
    check_networks,
    check_redis_url,
    check_url,
)
from seckill_project.kubernetes import without_injected

BASE_DIR = Path(__file__).resolve().parent.parent
ENV_PREFIX = "SECKILL_"
# Environment variables of ours that are not parameters of a section.
OTHER_VARIABLES = {
    "CONFIG": "path of the configuration file",
    "DEVSTACK": "folder of the embedded services",
    "SECRET_KEY": "Django's secret key",
    "ALLOWED_HOSTS": "host names that the web process answers to, with commas",
    "TRUSTED_ORIGINS": "origins from which forms are taken, with commas",
    "DEBUG": "1 shows Django's debug pages: never in production",
    "ADMIN_PASSWORD": "password that create_admin gives to the first operator",
}


class ConfigError(Exception):
    """A value or a key is wrong. The message is one line for a person: where, what, allowed."""


def parse_stock(value: object) -> object:
    """`1001:10,1002:5`, or a mapping of item to units, as {item: units}; else ValueError."""
    if isinstance(value, str):
        pairs = [pair.strip() for pair in value.split(",") if pair.strip()]
        stock: dict[str, str] = {}
        for pair in pairs:
            item, colon, units = pair.partition(":")
            if not colon or not item.strip().isdigit() or not units.strip().isdigit():
                shown = "it" if _is_address(value) else repr(pair)
                raise ValueError(f"{shown} is not ITEM:UNITS; write 1001:10,1002:5")
            if item.strip() in stock:
                raise ValueError(f"item {item.strip()} is named twice")
            stock[item.strip()] = units.strip()
        return stock
    if isinstance(value, Mapping):
        return dict(value)
    raise ValueError("write items and units: 1001:10,1002:5, or a mapping in YAML")


ItemId = Annotated[int, Field(ge=1, le=MAX_ID)]
Units = Annotated[int, Field(ge=0, le=MAX_UNITS)]
Stock = Annotated[dict[ItemId, Units], NoDecode, BeforeValidator(parse_stock)]
Brokers = Annotated[
    str,
    BeforeValidator(lambda v: ",".join(map(str, v)) if isinstance(v, list) else v),
    AfterValidator(check_brokers),
    Field(description="Kafka brokers, host:port with commas"),
]
Topic = Annotated[
    str,
    Field(pattern=r"^[a-zA-Z0-9._-]{1,200}$", description="Kafka topic of the requests"),
]
RedisUrl = Annotated[
    str,
    Field(
        pattern=r"^(redis|rediss|unix)://",
        repr=False,
        description="Redis or Valkey, redis://[user:password@]host:port/db",
    ),
    AfterValidator(check_redis_url),
]
PgDsn = Annotated[
    str,
    Field(
        pattern=r"^postgres(ql)?://",
        repr=False,
        description="PostgreSQL, postgresql://user:password@host:port/database",
    ),
    AfterValidator(check_dsn),
]
ConnectTimeout = Annotated[
    float,
    Field(ge=0, description="seconds to try for at start before giving up (exit code 3)"),
]

MetricsHost = Annotated[
    str, Field(min_length=1, description="address that /metrics listens on, for Prometheus alone")
]
MetricsPort = Annotated[int, Field(ge=0, le=65535, description="port of /metrics; 0: not served")]

OtlpEndpoint = Annotated[
    str | None,
    Field(
        pattern=r"^https?://",
        repr=False,
        description="OTLP/HTTP collector that traces go to, http://host:4318; absent: no traces",
    ),
    AfterValidator(lambda url: url if url is None else check_url(url)),
]
LogFormat = Annotated[
    Literal["text", "json"], Field(description="how log lines look: text, or json, one object each")
]

DEFAULT_BROKERS = "localhost:9092"
DEFAULT_TOPIC = "seckill_requests"
DEFAULT_REDIS_URL = "redis://localhost:6379/0"
DEFAULT_PG_DSN = "postgresql://postgres@localhost:5432/seckill"


class Section(BaseSettings):
    """A section of the file: frozen, no unknown keys."""

    model_config = SettingsConfigDict(
        env_prefix=ENV_PREFIX, extra="forbid", frozen=True, allow_inf_nan=False
    )
    name: ClassVar[str]

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Only what `load` hands over: it reads the environment that it is given, at its place."""
        return (init_settings,)

    @field_validator("*", mode="before")
    @classmethod
    def _refuse_truth(cls, value: object, info: ValidationInfo) -> object:
        """YAML's `yes` is no number, though Python takes it for 1."""
        field = cls.model_fields[str(info.field_name)]
        if isinstance(value, bool) and field.annotation is not bool:
            raise ValueError("must not be true or false (yes, no, on and off mean these in YAML)")
        return value


class KafkaSection(Section):
    """What every Kafka client needs to know."""

    brokers: Brokers = DEFAULT_BROKERS
    topic: Topic = DEFAULT_TOPIC
    kafka_client: Literal["kafka-python", "confluent-kafka"] = Field(
        "kafka-python", description="Kafka client library"
    )
    security_protocol: Literal["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"] = Field(
        "PLAINTEXT", description="how to speak to Kafka"
    )
    sasl_mechanism: Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"] | None = Field(
        None, description="SASL mechanism, with SASL_PLAINTEXT or SASL_SSL"
    )
    sasl_username: str | None = Field(None, description="SASL user")
    sasl_password: str | None = Field(None, repr=False, description="SASL password")
    ssl_cafile: str | None = Field(
        None, description="file of the CA that signed Kafka's certificate"
    )
    connect_timeout: ConnectTimeout = 60.0


class Server(KafkaSection):
    """`server`: the consumers that decide requests."""

    name: ClassVar[str] = "server"
    stock: Stock = Field(
        default_factory=dict, description="units to put on sale where nothing is loaded"
    )
    timeout: int | None = Field(
        None, ge=1, description="ms after which a request is too old; absent: never"
    )
    consumers: int = Field(1, ge=1, le=256, description="consumer processes")
    status_interval: float = Field(10.0, gt=0, description="seconds between status lines")
    reset_offset: bool = Field(False, description="at start, skip every request now in the topic")
    group_id: str = Field("seckill_server_group", min_length=1, description="Kafka consumer group")
    session_timeout: int = Field(
        10_000, ge=1000, description="ms until the partitions of a dead consumer go to others"
    )
    redis_url: RedisUrl = DEFAULT_REDIS_URL
    pg_dsn: PgDsn = DEFAULT_PG_DSN
    batch_size: int = Field(4000, ge=1, le=20000, description="requests a script call, at most")
    metrics_host: MetricsHost = "127.0.0.1"
    metrics_port: MetricsPort = 0
    log_format: LogFormat = "text"
    otlp_endpoint: OtlpEndpoint = None


class Client(KafkaSection):
    """`client`: the load generator."""

    name: ClassVar[str] = "client"
    user_count: int = Field(10_000, ge=1, description="unique users, one request each")
    rate: float = Field(1000.0, gt=0, description="requests a second, over the whole run")
    delay: float = Field(
        0.0, ge=0, description="ms to wait before each request: at most 1000/delay a second"
    )
    log_format: LogFormat = "text"
    otlp_endpoint: OtlpEndpoint = None
    trace_every: int = Field(
        1000, ge=1, description="one of so many requests is traced, with otlp_endpoint"
    )


class LogWorker(Section):
    """`log_worker`: from the Redis list to PostgreSQL."""

    name: ClassVar[str] = "log_worker"
    redis_url: RedisUrl = DEFAULT_REDIS_URL
    pg_dsn: PgDsn = DEFAULT_PG_DSN
    batch_size: int = Field(10_000, ge=1, le=100_000, description="rows a transaction, at most")
    interval: int = Field(200, ge=1, description="ms to wait when fewer than a batch was there")
    status_interval: float = Field(60.0, gt=0, description="seconds between status lines")
    connect_timeout: ConnectTimeout = 60.0
    metrics_host: MetricsHost = "127.0.0.1"
    metrics_port: MetricsPort = 0
    log_format: LogFormat = "text"
    otlp_endpoint: OtlpEndpoint = None


class ControlApi(Section):
    """`control_api`: REST, admin."""

    name: ClassVar[str] = "control_api"
    redis_url: RedisUrl = DEFAULT_REDIS_URL
    pg_dsn: PgDsn = DEFAULT_PG_DSN
    host: str = Field("127.0.0.1", description="address to listen on")
    port: int = Field(3000, ge=0, le=65535, description="port to listen on; 0 picks a free one")
    metrics_host: MetricsHost = "127.0.0.1"
    metrics_port: MetricsPort = 0
    log_format: LogFormat = "text"
    rate_limit: float = Field(
        100.0,
        ge=0,
        le=1_000_000,
        description="REST calls a second of one key, and of one address; 0: no limit",
    )
    rate_burst: int = Field(
        1000, ge=1, le=1_000_000, description="REST calls that may come at once before it holds"
    )
    connections_per_address: int = Field(
        64, ge=0, le=100_000, description="connections of one address; 0: no limit"
    )
    proxy_networks: Annotated[str, AfterValidator(check_networks)] = Field(
        "127.0.0.0/8,::1",
        description="networks of proxies in front, with commas: their connections are not counted",
    )


# A few hundred bytes of YAML can name a value of gigabytes: what is given is shown in brief.
_brief = reprlib.Repr()
_brief.maxlevel = 3
_brief.maxstring = _brief.maxlong = _brief.maxother = 200

SECTIONS: tuple[type[Section], ...] = (Server, Client, LogWorker, ControlApi)
# Sections that use section server's stores where they name none, as the original does.
AS_THE_SERVER: tuple[type[Section], ...] = (LogWorker, ControlApi)
STORES = ("redis_url", "pg_dsn")
S = TypeVar("S", bound=Section)


def read_config(environ: Mapping[str, str]) -> tuple[Path, dict[str, dict[str, Any]]]:
    """The file in force, SECKILL_CONFIG or config.yaml of the project, and its sections.

    The file that is named has to be there; /dev/null stands for none. Raises ConfigError.
    """
    variable = ENV_PREFIX + "CONFIG"
    named = environ.get(variable)
    path = Path(named or BASE_DIR / "config.yaml")
    if named and not path.exists():
        raise ConfigError(
            f"{variable}: there is no file {path}; name one that is there, or /dev/null for none"
        )
    return path, read_file(path)


def devstack_folder(environ: Mapping[str, str]) -> Path:
    """Where the embedded services of this checkout live: SECKILL_DEVSTACK, or .devstack."""
    return Path(environ.get(ENV_PREFIX + "DEVSTACK") or BASE_DIR / ".devstack")


def load(
    section: type[S],
    flags: Mapping[str, Any] | None = None,
    environ: Mapping[str, str] | None = None,
) -> S:
    """One section, all layers merged and validated. Flags that are None are absent.

    Raises ConfigError, which names the layer, the key and what is allowed.
    """
    environ = without_injected(os.environ if environ is None else environ)
    flags = {key: value for key, value in (flags or {}).items() if value is not None}
    _check_variables(environ)
    path, file = read_config(environ)
    stores = {k: v for k, v in file.get(Server.name, {}).items() if k in STORES}
    layers = [
        ({f"{key}": value for key, value in flags.items()}, lambda k: f"--{k.replace('_', '-')}"),
        (_from_environment(section, environ), lambda k: f"{ENV_PREFIX}{k.upper()}"),
        (file.get(section.name, {}), lambda k: f"{path}: {section.name}.{k}"),
        (stores if section in AS_THE_SERVER else {}, lambda k: f"{path}: {Server.name}.{k}"),
        (_from_embedded(section, environ), lambda k: f"the embedded services' {k}"),
    ]
    merged: dict[str, Any] = {}
    for values, _ in reversed(layers):
        merged.update(values)
    try:
        return section.model_validate(merged)
    except ValidationError as wrong:
        first = wrong.errors()[0]
        key = str(first["loc"][0])
        place = next(label(key) for values, label in layers if key in values)
        given = merged[key]
        brief = _brief.repr(given)
        hidden = _is_secret(section, key) or _is_address(given if type(given) is str else brief)
        shown = "" if hidden else f" (given: {brief})"
        reason = first["msg"].removeprefix("Value error, ")
        field = section.model_fields.get(key)
        meaning = f"; it is the {field.description}" if field and field.description else ""
        raise ConfigError(f"{place}: {reason}{shown}{meaning}") from None


def read_file(path: Path) -> dict[str, dict[str, Any]]:
    """The file's sections as {section: {key: value}}; {} without a file. Raises ConfigError."""
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
        # Without the words that it quotes: a password may begin with `*` or `!`.
        problem = getattr(wrong, "problem", None) or "no valid YAML"
        problem = re.sub(r""" (?:'[^<'][^']+'|"[^"]{2,}")""", "", problem)
        raise ConfigError(f"{path}{line}: {problem}") from None
    if document is None:
        return {}
    known = {section.name: section for section in SECTIONS}
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
        for key in values:
            if key not in known[name].model_fields:
                hint = _hint(str(key), list(known[name].model_fields))
                raise ConfigError(f"{path}: unknown key {name}.{key}{hint}")
        result[name] = {key: value for key, value in values.items() if value is not None}
    return result


def _from_environment(section: type[Section], environ: Mapping[str, str]) -> dict[str, Any]:
    source = EnvSettingsSource(section, env_prefix=ENV_PREFIX)
    source.env_vars = {key.lower(): value for key, value in environ.items()}
    return source()


def _from_embedded(section: type[Section], environ: Mapping[str, str]) -> dict[str, Any]:
    endpoints = read_endpoints(devstack_folder(environ))
    if endpoints is None:
        return {}
    known = {
        "brokers": endpoints.brokers,
        "redis_url": endpoints.redis_url,
        "pg_dsn": endpoints.pg_dsn,
    }
    return {key: value for key, value in known.items() if key in section.model_fields}


def _check_variables(environ: Mapping[str, str]) -> None:
    known = set(OTHER_VARIABLES)
    for section in SECTIONS:
        known.update(key.upper() for key in section.model_fields)
    for variable in environ:
        if variable.startswith(ENV_PREFIX) and variable.removeprefix(ENV_PREFIX) not in known:
            hint = _hint(variable, [ENV_PREFIX + key for key in known])
            raise ConfigError(f"environment: unknown variable {variable}{hint}")


def _is_secret(section: type[Section], key: str) -> bool:
    field = section.model_fields.get(key)
    return field is not None and not field.repr


def _is_address(text: str) -> bool:
    """Whether a value may be an address in the wrong place, with a password in it."""
    return "@" in text or "://" in text


def _hint(word: str, known: list[str]) -> str:
    close = difflib.get_close_matches(word, known, n=1)
    return f"; did you mean {close[0]}?" if close else f"; known: {', '.join(sorted(known))}"

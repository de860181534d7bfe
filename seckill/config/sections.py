"""The sections of the configuration: names, types, limits and defaults of every parameter."""

from collections.abc import Mapping
from typing import Annotated, ClassVar, Literal

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    ValidationInfo,
    field_validator,
)
from pydantic_settings import (
    BaseSettings,
    NoDecode,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
)

from seckill.config.addresses import (
    check_brokers,
    check_dsn,
    check_networks,
    check_redis_url,
    check_url,
    is_address,
)
from seckill.formats.outcomes import MAX_ID, MAX_UNITS

# The prefix of our environment variables.
ENV_PREFIX = "SECKILL_"


def parse_stock(value: object) -> object:
    """`1001:10,1002:5`, or a mapping, as {item: units}. Raises ValueError."""
    if isinstance(value, str):
        pairs = [pair.strip() for pair in value.split(",") if pair.strip()]
        stock: dict[str, str] = {}
        for pair in pairs:
            item, colon, units = pair.partition(":")
            if not colon or not item.strip().isdigit() or not units.strip().isdigit():
                shown = "it" if is_address(value) else repr(pair)
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
    Field(ge=0, description="seconds to wait for services at start before giving up (exit code 3)"),
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
    Literal["text", "json"],
    Field(description="format of log lines: text, or json with one object per line"),
]

DEFAULT_BROKERS = "localhost:9092"
DEFAULT_TOPIC = "seckill_requests"
DEFAULT_REDIS_URL = "redis://localhost:6379/0"
DEFAULT_PG_DSN = "postgresql://postgres@localhost:5432/seckill"


class Section(BaseSettings):
    """A section of the file: frozen, without unknown keys."""

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
        """Only what `load` passes in: it reads the environment itself, in its own order."""
        return (init_settings,)

    @field_validator("*", mode="before")
    @classmethod
    def _refuse_truth(cls, value: object, info: ValidationInfo) -> object:
        """YAML's `yes` is not a number, although Python takes it for 1."""
        field = cls.model_fields[str(info.field_name)]
        if isinstance(value, bool) and field.annotation is not bool:
            raise ValueError("must not be true or false (yes, no, on and off mean these in YAML)")
        return value


class KafkaSection(Section):
    """The settings that every Kafka client needs."""

    brokers: Brokers = DEFAULT_BROKERS
    topic: Topic = DEFAULT_TOPIC
    kafka_client: Literal["kafka-python", "confluent-kafka"] = Field(
        "kafka-python", description="Kafka client library"
    )
    security_protocol: Literal["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"] = Field(
        "PLAINTEXT", description="security protocol for Kafka"
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
        default_factory=dict, description="units to put on sale if nothing is loaded yet"
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
    batch_size: int = Field(4000, ge=1, le=20000, description="requests per script call, at most")
    metrics_host: MetricsHost = "127.0.0.1"
    metrics_port: MetricsPort = 0
    log_format: LogFormat = "text"
    otlp_endpoint: OtlpEndpoint = None


class Client(KafkaSection):
    """`client`: the load generator."""

    name: ClassVar[str] = "client"
    user_count: int = Field(10_000, ge=1, description="unique users, one request each")
    rate: float = Field(1000.0, gt=0, description="requests per second, over the whole run")
    delay: float = Field(
        0.0, ge=0, description="ms to wait before each request: at most 1000/delay per second"
    )
    log_format: LogFormat = "text"
    otlp_endpoint: OtlpEndpoint = None
    trace_every: int = Field(
        1000, ge=1, description="with otlp_endpoint, one request in this many is traced"
    )


class LogWorker(Section):
    """`log_worker`: from the Redis list to PostgreSQL."""

    name: ClassVar[str] = "log_worker"
    redis_url: RedisUrl = DEFAULT_REDIS_URL
    pg_dsn: PgDsn = DEFAULT_PG_DSN
    batch_size: int = Field(10_000, ge=1, le=100_000, description="rows per transaction, at most")
    interval: int = Field(200, ge=1, description="ms to wait after a batch that was not full")
    audit_interval_s: float = Field(
        60.0,
        ge=0,
        le=86_400,
        description="seconds between the audits that log workers run by themselves; 0: none",
    )
    status_interval: float = Field(60.0, gt=0, description="seconds between status lines")
    connect_timeout: ConnectTimeout = 60.0
    metrics_host: MetricsHost = "127.0.0.1"
    metrics_port: MetricsPort = 0
    log_format: LogFormat = "text"
    otlp_endpoint: OtlpEndpoint = None


class ControlApi(Section):
    """`control_api`: the REST API and the admin."""

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
        description="REST calls per second for one key, and for one address; 0: no limit",
    )
    rate_burst: int = Field(
        1000, ge=1, le=1_000_000, description="REST calls that may come in one burst"
    )
    connections_per_address: int = Field(
        64, ge=0, le=100_000, description="connections per address; 0: no limit"
    )
    proxy_networks: Annotated[str, AfterValidator(check_networks)] = Field(
        "127.0.0.0/8,::1",
        description="networks of proxies in front, with commas: their connections are not counted",
    )


SECTIONS: tuple[type[Section], ...] = (Server, Client, LogWorker, ControlApi)
# Sections that use section server's stores if they name none, as in the original system.
AS_THE_SERVER: tuple[type[Section], ...] = (LogWorker, ControlApi)
STORES = ("redis_url", "pg_dsn")

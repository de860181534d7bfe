"""The sections of the configuration: names, types, limits and defaults of every parameter."""

from typing import ClassVar, Literal, Self

from pydantic import Field, ValidationInfo, field_validator, model_validator
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from seckill.config.kinds import (
    Brokers,
    Burst,
    BuyerSecrets,
    ConnectTimeout,
    GroupInstanceId,
    LogFormat,
    MetricsHost,
    MetricsPort,
    Networks,
    OAuthTokenUrl,
    Origins,
    OtlpEndpoint,
    PaymentDigests,
    PayUrl,
    PgDsn,
    PgPassword,
    Rate,
    RedisPassword,
    RedisUrl,
    SaslMechanism,
    ShopAddress,
    Stock,
    TicketSecrets,
    Topic,
    Waiting,
    WebhookSecrets,
    WebhookUrls,
)
from seckill.config.together import wrong_together
from seckill.formats.settle import settle_topic

# The prefix of our environment variables.
ENV_PREFIX = "SECKILL_"
# The unit of each timeout. The names in the file are those of the original program.
UNITS = {"timeout": "ms", "session_timeout": "ms", "connect_timeout": "s"}


def flag_of(parameter: str) -> str:
    """The flag of a parameter. That of a timeout ends with its unit."""
    unit = UNITS.get(parameter)
    return "--" + parameter.replace("_", "-") + (f"-{unit}" if unit else "")


def variable_of(section: "type[Section]", parameter: str) -> str:
    """The environment variable of a parameter: its own, or one for all sections that have it."""
    word = f"{section.name}_{parameter}" if parameter in section.own_variables else parameter
    return ENV_PREFIX + word.upper()


DEFAULT_BROKERS = "localhost:9092"
DEFAULT_TOPIC = "seckill_requests"
DEFAULT_GROUP = "seckill_server_group"
DEFAULT_REDIS_URL = "redis://localhost:6379/0"
DEFAULT_PG_DSN = "postgresql://postgres@localhost:5432/seckill"


class Section(BaseSettings):
    """A section of the file: frozen, without unknown keys."""

    model_config = SettingsConfigDict(
        env_prefix=ENV_PREFIX,
        extra="forbid",
        frozen=True,
        allow_inf_nan=False,
        # Else the library's own error repeats the beginning of all values, passwords too.
        hide_input_in_errors=True,
    )
    name: ClassVar[str]
    # Parameters whose variable has the section's name in it, and sets no other section.
    own_variables: ClassVar[frozenset[str]] = frozenset()

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
    sasl_mechanism: SaslMechanism = None
    sasl_username: str | None = Field(None, description="SASL user")
    sasl_password: str | None = Field(None, repr=False, description="SASL password")
    oauth_token_url: OAuthTokenUrl = None
    oauth_client_id: str | None = Field(None, description="OIDC client, with oauth_token_url")
    oauth_client_secret: str | None = Field(
        None, repr=False, description="secret of oauth_client_id"
    )
    oauth_scope: str | None = Field(None, description="scope that a token is asked for")
    oauth_token_file: str | None = Field(
        None,
        description="file with a token (JWT) that somebody renews, in place of oauth_token_url",
    )
    ssl_cafile: str | None = Field(
        None, description="file of the CA that signed Kafka's certificate"
    )
    ssl_certfile: str | None = Field(None, description="file of this client's certificate (PEM)")
    ssl_keyfile: str | None = Field(
        None, description="file of its key; absent: it is in ssl_certfile too"
    )
    ssl_key_password: str | None = Field(
        None, repr=False, description="password of an encrypted key"
    )
    client_rack: str | None = Field(
        None, min_length=1, description="rack or zone of this client: it reads from brokers there"
    )
    topic_partitions: int = Field(
        4, ge=1, le=10_000, description="partitions of a topic of requests that is made"
    )
    topic_replication: int | None = Field(
        None, ge=1, le=100, description="copies of topics that are made; absent: Kafka's default"
    )
    connect_timeout: ConnectTimeout = 60.0

    @model_validator(mode="after")
    def _check_security(self) -> Self:
        """What belongs together. Else a library fails later, each in words of its own."""
        wrong = wrong_together(self)
        if wrong:
            raise ValueError(wrong)
        return self


class ConsumerSection(KafkaSection):
    """What every process needs that has consumers, in one group, on one topic."""

    consumers: int = Field(1, ge=1, le=256, description="consumer processes")
    status_interval: float = Field(10.0, gt=0, description="seconds between status lines")
    group_id: str = Field(DEFAULT_GROUP, min_length=1, description="Kafka consumer group")
    group_instance_id: GroupInstanceId = None
    session_timeout: int = Field(
        10_000, ge=1000, description="ms until the partitions of a dead consumer go to others"
    )
    redis_url: RedisUrl = DEFAULT_REDIS_URL
    redis_password: RedisPassword = None
    pg_dsn: PgDsn = DEFAULT_PG_DSN
    pg_password: PgPassword = None
    batch_size: int = Field(4000, ge=1, le=20000, description="requests per script call, at most")
    metrics_host: MetricsHost = "127.0.0.1"
    metrics_port: MetricsPort = 0
    log_format: LogFormat = "text"
    otlp_endpoint: OtlpEndpoint = None


class Server(ConsumerSection):
    """`server`: the consumers that decide requests."""

    name: ClassVar[str] = "server"
    stock: Stock = Field(
        default_factory=dict, description="units to put on sale if nothing is loaded yet"
    )
    timeout: int | None = Field(
        None, ge=1, description="ms after which a request is too old; absent: never"
    )
    reset_offset: bool = Field(False, description="at start, skip every request now in the topic")
    redis_replicas_acknowledge: int = Field(
        0,
        ge=0,
        le=8,
        description="replicas of Redis that must have what was decided before it is committed and "
        "more is decided; 0: none is asked",
    )
    redis_acknowledge_ms: int = Field(
        1000, ge=10, le=10_000, description="ms to wait for them, before each next attempt"
    )


class Settler(ConsumerSection):
    """`settler`: the consumers that settle holds, and what lets holds expire."""

    name: ClassVar[str] = "settler"
    # Settler and consumers may run with one environment, and need not be equally many.
    own_variables: ClassVar[frozenset[str]] = frozenset({"consumers", "batch_size"})
    consumers: int = Field(1, ge=1, le=256, description="settler processes")
    group_id: str = Field(
        DEFAULT_GROUP,
        min_length=1,
        description="consumer group of section server; the settlers' group has -settler behind it",
    )
    batch_size: int = Field(
        2000, ge=1, le=20000, description="settlements per script call, at most"
    )
    grace_ms: int = Field(
        1000,
        ge=0,
        le=3_600_000,
        description="ms that a hold lives on after the moment up to which all is settled",
    )
    expired_gives_back: bool = Field(
        False,
        description="whether an expired hold no longer counts against the limit per user; the same "
        "for run_settler, recover and whatever sets a limit",
    )

    def of_settlements(self) -> "Settler":
        """The same, reading the topic of the settlements in the settlers' group."""
        names = {"topic": settle_topic(self.topic), "group_id": f"{self.group_id}-settler"}
        return self.model_copy(update=names)


class Events(KafkaSection):
    """`events`: from stored orders to the topic of events."""

    name: ClassVar[str] = "events"
    # The log worker's is another one.
    own_variables: ClassVar[frozenset[str]] = frozenset({"interval"})
    redis_url: RedisUrl = DEFAULT_REDIS_URL
    redis_password: RedisPassword = None
    pg_dsn: PgDsn = DEFAULT_PG_DSN
    pg_password: PgPassword = None
    interval: int = Field(200, ge=1, description="ms to wait when nothing was to be published")
    status_interval: float = Field(60.0, gt=0, description="seconds between status lines")
    metrics_host: MetricsHost = "127.0.0.1"
    metrics_port: MetricsPort = 0
    log_format: LogFormat = "text"


class Webhooks(KafkaSection):
    """`webhooks`: from the topic of events to the shop's addresses."""

    name: ClassVar[str] = "webhooks"
    own_variables: ClassVar[frozenset[str]] = frozenset({"urls", "secrets"})
    group_id: str = Field(
        DEFAULT_GROUP,
        min_length=1,
        description="consumer group of section server; a webhook's has -webhook-NAME behind it",
    )
    group_instance_id: GroupInstanceId = None
    session_timeout: int = Field(
        10_000, ge=1000, description="ms until the partitions of a dead consumer go to others"
    )
    redis_url: RedisUrl = DEFAULT_REDIS_URL
    redis_password: RedisPassword = None
    urls: WebhookUrls = Field(
        None, repr=False, description="addresses that events are posted to, NAME=URL with commas"
    )
    secrets: WebhookSecrets = Field(
        None,
        repr=False,
        description="secrets that sign, NAME:whsec_BASE64 with commas; a name that comes twice "
        "signs with both",
    )
    post_limit_s: float = Field(10.0, ge=0.1, le=60, description="seconds for an answer to a post")
    give_up_s: float = Field(
        86_400.0, ge=0, description="seconds of attempts until an event becomes a dead letter"
    )
    concurrency: int = Field(16, ge=1, le=1000, description="posts at once to one address")
    status_interval: float = Field(60.0, gt=0, description="seconds between status lines")
    metrics_host: MetricsHost = "127.0.0.1"
    metrics_port: MetricsPort = 0
    log_format: LogFormat = "text"

    def consumer(self, topic: str, webhook: str) -> ConsumerSection:
        """What a consumer of `topic` for this webhook needs."""
        shared = {name: getattr(self, name) for name in KafkaSection.model_fields}
        return ConsumerSection(
            **{
                **shared,
                "topic": topic,
                "group_id": f"{self.group_id}-webhook-{webhook}",
                "group_instance_id": self.group_instance_id,
                "session_timeout": self.session_timeout,
                "redis_url": self.redis_url,
            }
        )


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
    redis_password: RedisPassword = None
    pg_dsn: PgDsn = DEFAULT_PG_DSN
    pg_password: PgPassword = None
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
    redis_password: RedisPassword = None
    pg_dsn: PgDsn = DEFAULT_PG_DSN
    pg_password: PgPassword = None
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
    proxy_networks: Networks = Field(
        "127.0.0.0/8,::1",
        description="networks of proxies in front, with commas: their connections are not counted",
    )


class Door(KafkaSection):
    """`door`: the buyers' door. Limits hold in each of its processes."""

    name: ClassVar[str] = "door"
    # Door and control API may run with one environment, and cannot have one port.
    own_variables: ClassVar[frozenset[str]] = frozenset({"port"})
    kafka_client: Literal["kafka-python", "confluent-kafka"] = Field(
        "confluent-kafka", description="Kafka client library"
    )
    redis_url: RedisUrl = DEFAULT_REDIS_URL
    redis_password: RedisPassword = None
    pg_dsn: PgDsn = DEFAULT_PG_DSN
    pg_password: PgPassword = None
    host: str = Field("127.0.0.1", description="address to listen on")
    port: int = Field(3001, ge=0, le=65535, description="port to listen on; 0 picks a free one")
    processes: int = Field(1, ge=1, le=64, description="door processes on this port")
    ticket_secret: TicketSecrets = Field(
        None,
        repr=False,
        description="secret that signs tickets, 16 characters or more, the same for all doors; or "
        "KID:SECRET,KID:SECRET (kid 0 to 255): the first signs, all are read",
    )
    buyer_keys: BuyerSecrets = Field(
        None,
        repr=False,
        description="HS256 secrets of buyer tokens, KID:SECRET with commas, 32 bytes or more each; "
        "taken as text, not decoded",
    )
    buyer_jwks_file: str | None = Field(
        None,
        description="JWKS file with more keys of buyer tokens, read at start: public Ed25519 keys "
        "(OKP) and HS256 secrets (oct)",
    )
    buyer_audience: str | None = Field(
        None,
        min_length=1,
        description="aud that buyer tokens must have; absent: they must have none",
    )
    buyer_issuer: str | None = Field(
        None, min_length=1, description="iss that buyer tokens must have; absent: any"
    )
    payment_keys: PaymentDigests = Field(
        None,
        repr=False,
        description="keys of the shop's servers that report payments, NAME:SHA256 with commas: the "
        "SHA-256 of each key in hexadecimal",
    )
    payment_secrets: BuyerSecrets = Field(
        None,
        repr=False,
        description="secrets of signed payment reports, NAME:SECRET with commas, 32 bytes or more "
        "each; taken as text",
    )
    pay_url: PayUrl = Field(
        None,
        description="address of the shop's page where a hold is paid, with {ticket} in it; absent: "
        "the buyers' page has no link",
    )
    buyer_cookie: str | None = Field(
        None,
        pattern=r"^[A-Za-z0-9_.-]{1,64}$",
        description="cookie that the shop sets with a buyer's token, for buyers without "
        "JavaScript; absent: they cannot buy",
    )
    token_exchange: ShopAddress = Field(
        None,
        description="address of the shop that the buyers' page asks for a token, with the shop's "
        "cookies; absent: the shop hands it over in the page's address",
    )
    login_url: ShopAddress = Field(
        None,
        description="page of the shop where buyers sign in; {back} in it becomes the address to "
        "come back to",
    )
    cors_origins: Origins = Field(
        "",
        description="origins of pages that may call the door from a browser or send its form, with "
        "commas",
    )
    proxy_networks: Networks = Field(
        "127.0.0.0/8,::1",
        description="networks of proxies in front, with commas: their X-Forwarded-For is believed, "
        "and they are not limited themselves",
    )
    user_rate: Rate = Field(5.0, description="calls per second of one user; 0: no limit")
    user_burst: Burst = Field(20, description="calls of one user that may come in one burst")
    address_rate: Rate = Field(
        200.0, description="calls per second of one address (IPv6: one /64 network); 0: no limit"
    )
    address_burst: Burst = Field(
        1000, description="calls of one address that may come in one burst"
    )
    waiting_per_user: Waiting = Field(
        8, description="calls of one user that may wait for an answer; 0: no limit"
    )
    waiting_per_address: Waiting = Field(
        2000, description="calls of one address that may wait for an answer; 0: no limit"
    )
    metrics_host: MetricsHost = "127.0.0.1"
    metrics_port: MetricsPort = 0
    log_format: LogFormat = "text"
    otlp_endpoint: OtlpEndpoint = None
    trace_every: int = Field(
        1000, ge=1, description="with otlp_endpoint, one request in this many is traced"
    )


SECTIONS: tuple[type[Section], ...] = (
    Server, Client, LogWorker, ControlApi, Door, Settler, Events, Webhooks,
)  # fmt: skip
# Sections that use section server's stores if they name none, as in the original system.
AS_THE_SERVER: tuple[type[Section], ...] = (LogWorker, ControlApi, Door, Settler, Events, Webhooks)
STORES = ("redis_url", "pg_dsn")
# The password of each store: it belongs to the address that is named in the same place.
STORE_PASSWORDS = {"redis_url": "redis_password", "pg_dsn": "pg_password"}
# What is not shown because a password may be in it, and is no secret as a whole.
ADDRESSES = frozenset({*STORES, "urls", "otlp_endpoint"})


def is_hidden(section: type[Section], parameter: str) -> bool:
    """Whether its value is never shown: it is a secret, or an address that may hold one."""
    field = section.model_fields.get(parameter)
    return field is not None and not field.repr


def is_secret(section: type[Section], parameter: str) -> bool:
    """Whether it has no flag: everybody on a machine sees the flags of its processes."""
    return is_hidden(section, parameter) and parameter not in ADDRESSES

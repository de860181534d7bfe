"""The buyers' door."""

from typing import ClassVar, Literal

from pydantic import Field

from seckill.config.kinds import (
    Burst,
    BuyerSecrets,
    LogFormat,
    MetricsHost,
    MetricsPort,
    Networks,
    Origins,
    OtlpEndpoint,
    PaymentDigests,
    PayUrl,
    PgDsn,
    PgPassword,
    Rate,
    RedisPassword,
    RedisUrl,
    ShopAddress,
    TicketSecrets,
    Waiting,
)
from seckill.config.sections.base import DEFAULT_PG_DSN, DEFAULT_REDIS_URL
from seckill.config.sections.kafka import KafkaSection


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

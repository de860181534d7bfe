"""The kinds of values that several sections take: what is allowed, and what it means."""

from collections.abc import Mapping
from typing import Annotated, Literal

from pydantic import AfterValidator, BeforeValidator, Field
from pydantic_settings import NoDecode

from seckill.config.addresses import (
    check_brokers,
    check_dsn,
    check_networks,
    check_origins,
    check_pay_url,
    check_redis_url,
    check_shop_address,
    check_url,
    check_webhook_urls,
    is_address,
)
from seckill.config.keyring import (
    check_buyer_secrets,
    check_payment_digests,
    check_ticket_secrets,
    check_webhook_secrets,
)
from seckill.formats.outcomes import MAX_ID, MAX_UNITS


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
REDIS_SCHEMES = r"^(rediss?(\+(sentinel|cluster))?|unix)://"
RedisUrl = Annotated[
    str,
    Field(
        pattern=REDIS_SCHEMES,
        repr=False,
        description="Redis or Valkey, redis://[user:password@]host:port/db; more: docs/deploy.md",
    ),
    AfterValidator(check_redis_url),
]
PgDsn = Annotated[
    str,
    Field(
        pattern=r"^postgres(ql)?://",
        repr=False,
        description="PostgreSQL, postgresql://user:password@host:port/db; more: docs/deploy.md",
    ),
    AfterValidator(check_dsn),
]
RedisPassword = Annotated[
    str | None,
    Field(min_length=1, repr=False, description="password where redis_url has none"),
]
PgPassword = Annotated[
    str | None,
    Field(min_length=1, repr=False, description="password where pg_dsn has none"),
]
SaslMechanism = Annotated[
    Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512", "OAUTHBEARER"] | None,
    Field(description="SASL mechanism, with SASL_PLAINTEXT or SASL_SSL"),
]
OAuthTokenUrl = Annotated[
    str | None,
    Field(
        pattern=r"^https?://[^@\s]+$",
        description="token endpoint of an OIDC issuer, for client credentials",
    ),
]
GroupInstanceId = Annotated[
    str | None,
    Field(
        pattern=r"^[a-zA-Z0-9._-]{1,200}$",
        description="name of this member that outlives a restart, as a pod's: its partitions wait "
        "for it for session_timeout; several processes have -1, -2 behind it",
    ),
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

Rate = Annotated[float, Field(ge=0, le=1_000_000)]
Burst = Annotated[int, Field(ge=1, le=1_000_000)]
Waiting = Annotated[int, Field(ge=0, le=1_000_000)]
Networks = Annotated[str, AfterValidator(check_networks)]
Origins = Annotated[str, AfterValidator(check_origins)]
ShopAddress = Annotated[
    str | None, AfterValidator(lambda v: v if v is None else check_shop_address(v))
]
TicketSecrets = Annotated[
    str | None, AfterValidator(lambda v: v if v is None else check_ticket_secrets(v))
]
PaymentDigests = Annotated[
    str | None, AfterValidator(lambda v: v if v is None else check_payment_digests(v))
]
WebhookUrls = Annotated[
    str | None, AfterValidator(lambda v: v if v is None else check_webhook_urls(v))
]
WebhookSecrets = Annotated[
    str | None, AfterValidator(lambda v: v if v is None else check_webhook_secrets(v))
]
PayUrl = Annotated[str | None, AfterValidator(lambda v: v if v is None else check_pay_url(v))]
BuyerSecrets = Annotated[
    str | None, AfterValidator(lambda v: v if v is None else check_buyer_secrets(v))
]

"""The workers of a lane: consumer, settler, log worker."""

from typing import ClassVar

from pydantic import Field

from seckill.config.kinds import (
    ConnectTimeout,
    LogFormat,
    MetricsHost,
    MetricsPort,
    OtlpEndpoint,
    PgDsn,
    PgPassword,
    RedisPassword,
    RedisUrl,
    Stock,
)
from seckill.config.sections.base import DEFAULT_PG_DSN, DEFAULT_REDIS_URL, Section
from seckill.config.sections.kafka import DEFAULT_GROUP, ConsumerSection
from seckill.formats.settle import settle_topic


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
        description="whether a hold that run_settler lets expire from now on no longer counts "
        "against the limit per user",
    )

    def of_settlements(self) -> "Settler":
        """The same, reading the topic of the settlements in the settlers' group."""
        names = {"topic": settle_topic(self.topic), "group_id": f"{self.group_id}-settler"}
        return self.model_copy(update=names)


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

"""The control API, with admin and desk."""

from typing import ClassVar

from pydantic import Field

from seckill.config.kinds import (
    LogFormat,
    MetricsHost,
    MetricsPort,
    Networks,
    PgDsn,
    PgPassword,
    RedisPassword,
    RedisUrl,
)
from seckill.config.sections.base import DEFAULT_PG_DSN, DEFAULT_REDIS_URL, Section


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

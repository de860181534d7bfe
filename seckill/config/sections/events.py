"""Events of orders, and the webhooks made of them."""

from typing import ClassVar

from pydantic import Field

from seckill.config.kinds import (
    GroupInstanceId,
    LogFormat,
    MetricsHost,
    MetricsPort,
    PgDsn,
    PgPassword,
    RedisPassword,
    RedisUrl,
    WebhookSecrets,
    WebhookUrls,
)
from seckill.config.sections.base import DEFAULT_PG_DSN, DEFAULT_REDIS_URL
from seckill.config.sections.kafka import DEFAULT_GROUP, ConsumerSection, KafkaSection


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

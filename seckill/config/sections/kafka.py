"""What every Kafka client, and every group of consumers, is told."""

from typing import Literal, Self

from pydantic import Field, model_validator

from seckill.config.kinds import (
    Brokers,
    ConnectTimeout,
    GroupInstanceId,
    LogFormat,
    MetricsHost,
    MetricsPort,
    OAuthTokenUrl,
    OtlpEndpoint,
    PgDsn,
    PgPassword,
    RedisPassword,
    RedisUrl,
    SaslMechanism,
    Topic,
)
from seckill.config.sections.base import DEFAULT_PG_DSN, DEFAULT_REDIS_URL, Section
from seckill.config.together import wrong_together

DEFAULT_BROKERS = "localhost:9092"
DEFAULT_TOPIC = "seckill_requests"
DEFAULT_GROUP = "seckill_server_group"


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

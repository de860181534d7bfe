"""The load generator."""

from typing import ClassVar

from pydantic import Field

from seckill.config.kinds import (
    LogFormat,
    OtlpEndpoint,
)
from seckill.config.sections.kafka import KafkaSection


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
